"""Fast retrieval in maps of hundreds of thousands of keyframes, with FAISS (the optional package ``faiss-cpu``).

The index holds one bit for each element of a descriptor: product quantization with four bits for four elements, after a
random rotation that spreads the variance evenly. Comparisons of a query with such codes run in SIMD registers, so all
keyframes are compared. The most similar ones are then compared exactly, with the descriptors of the map.
"""

import importlib
import re
from pathlib import Path
from typing import Any

import numpy as np

from vizloc_ros.arrays import Float32, Int64
from vizloc_ros.errors import InputError, MapError
from vizloc_ros.localization.retrieval import best_first, require_query
from vizloc_ros.parallel import Progress, silent

INDEX_FILE = "global_index.faiss"
_GROUP, _BITS = 4, 4  # elements that are coded together, and bits of a code
_NUM_TRAINING = 1 << 14  # keyframes that the code is learned from
_CHUNK = 1 << 15  # keyframes that are copied into memory at a time


class FaissIndex:
    """Search in an index that ``write_index`` wrote; a ``GlobalSearch``."""

    def __init__(self, path: Path, global_descriptors: Float32, shortlist: int) -> None:
        """Read the index into memory.

        Args:
            path: index file of the descriptors.
            global_descriptors: (K, G) global descriptors of the map; they may stay memory-mapped.
            shortlist: number of keyframes that are compared exactly.

        Raises:
            InputError: FAISS is not installed.
            MapError: the file is missing, damaged, or belongs to other descriptors; the text names it.
        """
        faiss = import_faiss("set the parameter 'search' to exact")
        again = f"run 'vizloc map index {path.parent}' again"
        try:
            self._index = faiss.read_index(str(path))
        except (RuntimeError, MemoryError) as error:
            raise MapError(f"{path}: cannot be read ({_brief(error)}): {again}") from error
        if (found := (self._index.ntotal, self._index.d)) != global_descriptors.shape:
            raise MapError(
                f"{path}: holds {found[0]} descriptors of {found[1]} elements, but the map has "
                f"{global_descriptors.shape[0]} of {global_descriptors.shape[1]}: the file is of another map; {again}"
            )
        if (
            not isinstance(self._index, faiss.IndexPreTransform)
            or self._index.metric_type != faiss.METRIC_INNER_PRODUCT
        ):
            raise MapError(f"{path}: is another kind of index than this version writes: {again}")
        self._descriptors = global_descriptors
        self._shortlist = shortlist

    def search(self, query: Float32, k: int) -> tuple[Int64, Float32]:
        """Return the (k,) most similar keyframes and their exact cosines to the (G,) query, best first.

        A keyframe that is not on the shortlist is not found.

        Raises:
            FeatureError: the query has another length, or is zero or not finite.
        """
        require_query(query, self._descriptors.shape[1])
        keyframes = self._shortlisted(np.ascontiguousarray(query[None], np.float32), max(self._shortlist, k))
        return best_first(keyframes, self._descriptors[keyframes] @ query, k)

    def descriptors_of(self, keyframes: Int64) -> Float32:
        """Global descriptors (k, G) of keyframes."""
        return self._descriptors[keyframes]

    def _shortlisted(self, query: Float32, count: int) -> Int64:
        """At most ``count`` keyframes for a (1, G) query, in ascending order."""
        if count >= self._index.ntotal:
            return np.arange(self._index.ntotal)  # FAISS would omit the least similar ones
        _, found = self._index.search(query, count)
        return np.sort(found[0][found[0] >= 0])


def write_index(global_descriptors: Float32, path: Path, seed: int = 0, progress: Progress = silent) -> None:
    """Build and write the index of (K, G) global descriptors, which may be memory-mapped.

    Raises:
        InputError: FAISS is not installed.
        MapError: the file cannot be written.
    """
    faiss = import_faiss("leave small maps without an index: they need none")
    count, size = global_descriptors.shape
    groups = -(-size // _GROUP)
    rotation = faiss.RandomRotationMatrix(size, groups * _GROUP)
    rotation.init(seed)
    codes = faiss.IndexPQFastScan(groups * _GROUP, groups, _BITS, faiss.METRIC_INNER_PRODUCT)
    codes.pq.cp.seed = seed
    index = faiss.IndexPreTransform(rotation, codes)
    training = np.random.default_rng(seed).integers(0, count, _NUM_TRAINING)  # with repetition in a small map
    index.train(np.ascontiguousarray(global_descriptors[np.sort(training)]))
    for start in progress(range(0, count, _CHUNK), "indexing keyframes", -(-count // _CHUNK)):
        index.add(np.ascontiguousarray(global_descriptors[start : start + _CHUNK]))
    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:
        raise MapError(f"{path}: cannot be written: {_brief(error)}") from error


def import_faiss(otherwise: str) -> Any:
    """Import FAISS, which only large maps need.

    Args:
        otherwise: advice for users who do not want to install it.

    Raises:
        InputError: FAISS is not installed.
    """
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        raise InputError(f"FAISS is not installed ({error}): pip install faiss-cpu, or {otherwise}") from error


def _brief(error: Exception) -> str:
    """Message of FAISS without its prefix, the function and line of the source."""
    return re.sub(r"^Error in .*?:\d+: (Error: '.*?' failed: )?", "", str(error)) or type(error).__name__
