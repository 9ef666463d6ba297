"""Extension of a map by a further session of images: localized in it if they have no poses, built, and merged."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import MapError
from vizloc_ros.evaluation.offline_localization import localize_records
from vizloc_ros.features.learned_extractor import LearnedExtractor
from vizloc_ros.geometry.similarity import Similarity
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.localization.session_alignment import align_by_matches
from vizloc_ros.mapping.build_report import BuildReport
from vizloc_ros.mapping.builder import BuildOptions, build_map
from vizloc_ros.mapping.map_merge import MergeReport, merge_maps
from vizloc_ros.mapping.map_writer import replacing_map
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.parallel import Progress, silent
from vizloc_ros.pixloc.distinct_views import num_views
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.reference_builder import add_references


@dataclass(frozen=True)
class PosedSession:
    """Images of a session with poses in the world of a map.

    Attributes:
        records: images that have a pose.
        localized: number of images whose pose is from the map.
        left_out: names of the images that were not localized.
    """

    records: list[Record]
    localized: int
    left_out: list[str]

    def with_records(self, records: Sequence[Record]) -> "PosedSession":
        """Session of some of its images."""
        return replace(self, records=list(records))


def posed_in_map(
    visual_map: VisualMap, records: Sequence[Record], relocalize: bool = False, progress: Progress = silent
) -> PosedSession:
    """Give images a pose in the world of a map.

    Args:
        visual_map: the map.
        records: the images. Their poses, if they have some, are in the world of the map's dataset.
        relocalize: whether known poses are ignored. Those of a metric dataset mean nothing in a map without a scale.
        progress: progress display.

    Raises:
        ImageError: an image cannot be read.
    """
    relocalize = relocalize or visual_map.info.scale == "unknown"
    unposed = [record for record in records if relocalize or record.world_from_cam is None]
    if not unposed:
        return PosedSession(list(records), 0, [])
    queries = [replace(record, world_from_cam=None) for record in unposed]
    run = localize_records(queries, visual_map, HierarchicalLocalizer(visual_map), progress)
    found = visual_map.info.place.poses_in_world(run.estimates)
    names = {record.name for record in unposed}
    posed = [
        replace(record, world_from_cam=found[record.name]) if record.name in names else record
        for record in records
        if record.name in found or record.name not in names
    ]
    return PosedSession(posed, len(found), [record.name for record in unposed if record.name not in found])


def extend_map(
    visual_map: VisualMap,
    session: PosedSession,
    out: Path,
    *,
    dataset: str,
    options: BuildOptions | None = None,
    tracker: PyramidExtractor | None = None,
    progress: Progress = silent,
) -> tuple[BuildReport, MergeReport]:
    """Add a session to a map.

    Args:
        visual_map: the map.
        session: keyframes of the session.
        out: folder of the result, which may be that of the map.
        dataset: name of the session's dataset.
        options: options of the session's build.
        tracker: extractor of the map's references for the tracker; None leaves them out.
        progress: progress display.

    Raises:
        DatasetError, ImageError: as ``build_map``.
        OutputError: another process writes the result, or it cannot be written.
        MapError: likewise, or the images show the poses to be wrong, or the result cannot be written.
    """
    if not session.records:
        raise MapError(
            f"{dataset}: none of its {len(session.left_out)} images was localized in {visual_map.folder}: give a "
            "dataset with poses in the map's world"
        )
    with replacing_map(out) as new:
        path, extractor = new.with_name("session"), LearnedExtractor(visual_map.extractor)
        report = build_map(session.records, extractor, path, dataset=dataset, options=options, progress=progress)
        if tracker is not None:
            add_references(path, session.records, tracker, progress, views=num_views(visual_map))
        added = VisualMap.open(path)
        place = visual_map.info.place.world_from_map_pose.inverse() * added.info.place.world_from_map_pose
        known = Similarity(1.0, place)
        if not session.localized:
            align_by_matches(visual_map, added, known, progress, name=dataset)
        return report, merge_maps(visual_map, added, known, new, progress)
