"""Tracks the images of a dataset without ROS, with the localizer to begin with and whenever the tracker is lost."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.datasets.record import Record
from vizloc_ros.evaluation.recall import RecallReport
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.parallel import Progress, silent
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.references import References
from vizloc_ros.pixloc.submap import Submap, SubmapOptions, SubmapSelector
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.pixloc.tracking import Frame, Tracked, TrackerOptions, TrackerState
from vizloc_ros.timing import StageTimings

Watch = Callable[[Record, Tracked], None]


@dataclass
class TrackingRun:
    """What became of every image.

    Attributes:
        tracked: by name, in order of time.
        localizations: how often the localizer was asked.
        timings: of the tracker, by stage.
    """

    tracked: dict[str, Tracked] = field(default_factory=dict)
    localizations: int = 0
    timings: StageTimings = field(default_factory=StageTimings)

    @property
    def estimates(self) -> dict[str, Rigid3d]:
        """map_from_cam of the images that were tracked."""
        return {name: t.map_from_cam for name, t in self.tracked.items() if t.map_from_cam is not None}

    @property
    def reasons(self) -> dict[str, str]:
        """Why the others were not."""
        return {name: t.reason for name, t in self.tracked.items() if t.map_from_cam is None}


def submaps_of(selector: SubmapSelector) -> Callable[[Rigid3d], References | None]:
    """A tracker's source of landmarks that has the whole map at hand."""
    last: tuple[Submap, References] | None = None

    def around(map_from_cam: Rigid3d) -> References | None:
        nonlocal last
        submap = selector.around(map_from_cam)
        if submap is None:
            return None
        if last is None or last[0] is not submap:
            last = submap, submap.references.dequantized(unit_features=selector.unit_features)
        return last[1]

    return around


def track_records(
    records: Sequence[Record],
    visual_map: VisualMap,
    localizer: HierarchicalLocalizer,
    extractor: PyramidExtractor,
    options: TrackerOptions | None = None,
    submap: SubmapOptions | None = None,
    progress: Progress = silent,
    watch: Watch | None = None,
) -> TrackingRun:
    """Tracks every record, in order of time.

    Raises:
        FeatureError: the map has no references of this extractor.
        ImageError: an image cannot be read.
    """
    visual_map.require_references(extractor.model_id)
    selector = SubmapSelector(visual_map, submap, unit_features=extractor.unit_features)
    tracker = Tracker(extractor, submaps_of(selector), options)
    run = TrackingRun()
    for record in progress(records, "tracking", len(records)):
        image = record.read_image()
        if tracker.state is not TrackerState.TRACKING:
            features = visual_map.extractor.extract(image)
            pose = localizer.localize(features, record.camera).pose
            run.localizations += 1
            if pose is not None:
                deviations = np.sqrt(np.diag(pose.covariance))
                std = (float(np.linalg.norm(deviations[:3])), float(np.linalg.norm(deviations[3:])))
                tracker.offer_prior(pose.map_from_cam, record.timestamp_ns, *std)
        correction = visual_map.info.intrinsics_correction(record.camera)
        tracked = tracker.track(Frame(image, record.camera, record.timestamp_ns, correction))
        run.timings.add_all(tracked.timings_ms)
        run.tracked[record.name] = tracked
        if watch is not None:
            watch(record, tracked)
    return run


def percentile_of_errors(recall: RecallReport, percent: float) -> dict[str, float | None]:
    """A percentile of the errors in position and rotation, of the images with an estimate."""
    translations = [error.translation_m for error in recall.errors.values()]
    rotations = [error.rotation_deg for error in recall.errors.values()]
    name = f"p{percent:g}"
    return {
        f"{name}_translation_m": float(np.percentile(translations, percent)) if translations else None,
        f"{name}_rotation_deg": float(np.percentile(rotations, percent)) if rotations else None,
    }
