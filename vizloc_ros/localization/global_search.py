"""Choice of the retrieval in a map: exact, or with the FAISS index in its folder."""

import logging
from typing import Protocol

from vizloc_ros.arrays import Float32, Int64
from vizloc_ros.errors import InputError, MapError
from vizloc_ros.localization.faiss_index import INDEX_FILE, FaissIndex, import_faiss
from vizloc_ros.localization.localization_options import RetrievalOptions
from vizloc_ros.localization.retrieval import GlobalIndex
from vizloc_ros.mapping.map_format import FileInfo
from vizloc_ros.mapping.visual_map import VisualMap

EXACT_UP_TO = 100_000  # keyframes; "auto" searches smaller maps exactly, even if there is an index
_LOG = logging.getLogger(__name__)


class GlobalSearch(Protocol):
    """Search for the keyframes that are most similar to a query."""

    def search(self, query: Float32, k: int) -> tuple[Int64, Float32]:
        """Return the (k,) most similar keyframes and their cosines to the (G,) query, best first.

        Raises:
            FeatureError: the query has another length, or is zero or not finite.
        """
        ...

    def descriptors_of(self, keyframes: Int64) -> Float32:
        """Return the global descriptors (k, G) of keyframes."""
        ...


def open_search(visual_map: VisualMap, options: RetrievalOptions) -> GlobalSearch:
    """Open the search that the options select.

    Raises:
        InputError: ``search`` is faiss, but the map has no index, or FAISS is not installed.
        MapError: the index is not the one that map.yaml names.
    """
    if options.search == "exact" or (options.search == "auto" and not _index_pays(visual_map)):
        return GlobalIndex(visual_map.global_descriptors)
    path, expected = visual_map.folder / INDEX_FILE, visual_map.info.files.get(INDEX_FILE)
    again = f"run 'vizloc map index {visual_map.folder}' again"
    if expected is None:
        raise InputError(
            f"parameter 'search' is faiss, but the map {visual_map.folder} has no index: "
            f"run 'vizloc map index {visual_map.folder}', or set it to auto or exact"
        )
    import_faiss("set the parameter 'search' to exact")
    # FAISS trusts the sizes that a file names: one that is damaged may end the process instead of raising an error.
    if not path.is_file():
        raise MapError(f"{path}: missing: {again}")
    if FileInfo.of(path) != expected:
        raise MapError(f"{path}: is not the file that map.yaml names: cut off, corrupt or of another map: {again}")
    return FaissIndex(path, visual_map.global_descriptors, options.shortlist)


def _index_pays(visual_map: VisualMap) -> bool:
    """Return true if the map is large and its index can be used; log a warning if a large map lacks a usable index."""
    if visual_map.info.keyframes <= EXACT_UP_TO:
        return False
    try:
        import_faiss("set the parameter 'search' to exact")
        missing = "" if INDEX_FILE in visual_map.info.files else f"run 'vizloc map index {visual_map.folder}'"
    except InputError as error:
        missing = str(error)
    if missing:
        _LOG.warning(
            "%s: its %d keyframes are searched one by one, which is slow: %s",
            visual_map.folder,
            visual_map.info.keyframes,
            missing,
        )
    return not missing
