"""Tracking of a dataset's images in a map, without ROS; the localizer gives the initial pose, and one after a loss.

A recorded drive may look back: poses that wait for the confirmation of their track are given afterwards.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.frozen_images import FrozenImages
from vizloc_ros.datasets.record import Record, of_first_camera
from vizloc_ros.errors import FrozenCameraError
from vizloc_ros.evaluation.convergence_figures import draw_alignments
from vizloc_ros.evaluation.image_results import ImageDetails
from vizloc_ros.evaluation.offline_localization import localize_records
from vizloc_ros.evaluation.recall import evaluate_poses, ground_truth
from vizloc_ros.evaluation.report import require_result_folder, write_results
from vizloc_ros.features.gray_image import gray_image
from vizloc_ros.geometry.covariance import position_and_rotation_std
from vizloc_ros.geometry.quarter_turns import Roll
from vizloc_ros.localization.calibration_check import CalibrationCheck
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.localization.image_localizer import ImageLocalizer
from vizloc_ros.localization.outcome import LocalizedPose
from vizloc_ros.mapping.keyframe_rolls import KeyframeRolls
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.option_tree import OptionTree
from vizloc_ros.parallel import Progress, silent
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.frame_views import SubmapSource
from vizloc_ros.pixloc.motion import KnownPose
from vizloc_ros.pixloc.references import References
from vizloc_ros.pixloc.submap import Submap, SubmapOptions, SubmapSelector
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.pixloc.tracking import Frame, Tracked, TrackerOptions, TrackerState
from vizloc_ros.pixloc.waiting_poses import WaitingPoses
from vizloc_ros.timing import NANOSECONDS, StageTimings


@dataclass
class TrackingRun:
    """Results of all images.

    Attributes:
        tracked: results of the tracker by name, in order of time.
        localizations: number of calls of the localizer.
        timings: times of the tracker by stage.
        late: names of the images whose poses were given afterwards, see ``WaitingPoses``.
    """

    tracked: dict[str, Tracked] = field(default_factory=dict)
    localizations: int = 0
    timings: StageTimings = field(default_factory=StageTimings)
    late: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._instants: dict[int, Sequence[Record]] = {}  # by time, to find those of late poses

    def add(
        self,
        records: Sequence[Record],
        tracked: Tracked,
        confirmed: Sequence[KnownPose] = (),
        camera_pose: Callable[[Rigid3d, Record], Rigid3d] = lambda pose, _: pose,
    ) -> None:
        """Add the result of the images of one instant, and the poses of earlier ones that it has confirmed.

        ``camera_pose`` gives the pose of a record's camera, by that of the tracker: of a rig they differ.
        """
        self.timings.add_all(tracked.timings_ms)
        self._instants[records[0].timestamp_ns] = records
        pose = tracked.map_from_cam
        for record in records:
            own = None if pose is None else camera_pose(pose, record)
            self.tracked[record.name] = replace(tracked, map_from_cam=own)
        for late in confirmed:
            for record in self._instants[late.stamp_ns]:
                own = camera_pose(late.map_from_cam, record)
                waited = self.tracked[record.name]
                self.tracked[record.name] = replace(waited, map_from_cam=own, covariance=late.covariance, reason="")
                self.late.append(record.name)

    @property
    def estimates(self) -> dict[str, Rigid3d]:
        """Poses map_from_cam of the tracked images by name."""
        return {name: t.map_from_cam for name, t in self.tracked.items() if t.map_from_cam is not None}

    @property
    def reasons(self) -> dict[str, str]:
        """Reason of the failure by name, of the other images."""
        return {name: t.reason for name, t in self.tracked.items() if t.map_from_cam is None}

    @property
    def states(self) -> dict[str, str]:
        """State of the tracker after each image, by name."""
        return {name: t.state.value for name, t in self.tracked.items()}


def submaps_of(selector: SubmapSelector) -> SubmapSource:
    """Source of a tracker's reference features that reads the map itself."""
    newest: dict[str, tuple[Submap, References]] = {}  # by camera

    def around(map_from_cam: Rigid3d, camera: str = "") -> References | None:
        submap = selector.around(map_from_cam, camera)
        if submap is None:
            return None
        if camera not in newest or newest[camera][0] is not submap:
            newest[camera] = submap, submap.references.dequantized(unit_features=selector.unit_features)
        return newest[camera][1]

    return around


class OfflineTracker:
    """Tracker of records; while it does not track, the localizer is asked for every one of them.

    As in the nodes, an image that is the one before again gives no pose, and a calibration that does not fit none.
    Localizations before the first pose of a track wait for it.

    Attributes:
        localizations: number of calls of the localizer.
        confirmed: localizations of the images right before the last one, whose pose has confirmed them.
    """

    def __init__(
        self,
        visual_map: VisualMap,
        localizer: HierarchicalLocalizer,
        extractor: PyramidExtractor,
        options: TrackerOptions | None = None,
        submap: SubmapOptions | None = None,
        rolls: Sequence[Roll] = (Roll.NONE,),
        *,
        check_camera: bool = True,
        localize_every: float = math.inf,
    ) -> None:
        """Start without a pose; arguments and errors as of ``track_records``.

        ``localize_every`` is the time after which the localizer is asked, though the tracker tracks [s].
        """
        visual_map.require_references(extractor.model_id)
        selector = SubmapSelector(visual_map, submap, unit_features=extractor.unit_features)
        roll_of = KeyframeRolls(visual_map.keyframe_poses).roll_of
        self.localizations, self.confirmed = 0, tuple[KnownPose, ...]()
        self._map_info = visual_map.info
        self._tracker = Tracker(extractor, submaps_of(selector), options, roll_of, withhold_frozen=check_camera)
        self._localizer, self._corrected = ImageLocalizer(visual_map.extractor, localizer, rolls), localizer.corrected
        self._localize_every, self._localized_ns = localize_every, 0
        self._waiting = WaitingPoses(self._tracker.options.motion)
        self._frozen = FrozenImages() if check_camera else None
        self._calibration = CalibrationCheck() if check_camera else None

    def track(self, record: Record) -> Tracked:
        """Track the next record. Raises ``ImageError`` for an image that cannot be read."""
        image = record.read_image()
        try:
            if self._frozen is not None:
                self._frozen.check(gray_image(image), record.timestamp_ns)
        except FrozenCameraError as error:
            tracked, localized = self._tracker.withhold(record.timestamp_ns, str(error)), None
        else:
            before, was_tracking = self.localizations, self._tracker.is_tracking
            localized = self._localized(record, image)
            tracked = self._tracked(record, image, localized)
            if was_tracking and tracked.map_from_cam is None and self.localizations == before:
                localized = self._localized_alone(record, image)
        doubted = self._tracker.is_doubted
        self.confirmed = self._waiting.after_image(tracked, record.timestamp_ns, localized, is_doubted=doubted)
        return tracked

    def _tracked(self, record: Record, image: UInt8, localized: KnownPose | None) -> Tracked:
        """Track an image, or withhold its pose if the calibration is not to be trusted."""
        check, tracker = self._calibration, self._tracker
        if check is not None and (problem := check.problem or (check.waits if localized is not None else "")):
            tracker.reset()  # its poses are of another calibration, or of the wrong one
            return tracker.withhold(record.timestamp_ns, problem)
        if localized is not None:
            std = localized.position_std, localized.rotation_std
            tracker.offer_prior(localized.map_from_cam, localized.stamp_ns, *std, covariance=localized.covariance)
        correction = self._map_info.intrinsics_correction(record.camera)
        return tracker.track(Frame.of_camera(image, record.camera, record.timestamp_ns, correction))

    def _localized(self, record: Record, image: UInt8) -> KnownPose | None:
        """Localize the image if it is time to, and compare the calibration with it. Return the pose, if that fits."""
        check, tracker = self._calibration, self._tracker
        if check is not None:
            check.begin_image(record.camera)
        is_fine = tracker.state is TrackerState.TRACKING and (check is None or not check.problem)
        if is_fine and (record.timestamp_ns - self._localized_ns) / NANOSECONDS < self._localize_every:
            return None
        remembered = None if tracker.state is TrackerState.TRACKING else record.timestamp_ns
        localized = self._localizer.localize(image, record.camera, stamp_ns=remembered)
        self.localizations += 1
        self._localized_ns = record.timestamp_ns
        pose = localized.outcome.pose
        if check is not None:
            keypoints = self._corrected(localized.features, record.camera).keypoints
            check.check(record.camera, keypoints, pose)
        return None if check is not None and check.problem else _known(pose, record)

    def _localized_alone(self, record: Record, image: UInt8) -> KnownPose | None:
        """Localize an image that is not tracked, to give its pose afterwards; the tracker is not told."""
        self.localizations += 1
        return _known(self._localizer.localize(image, record.camera).outcome.pose, record)


def _known(pose: LocalizedPose | None, record: Record) -> KnownPose | None:
    if pose is None:
        return None
    std = position_and_rotation_std(pose.covariance)
    return KnownPose(pose.map_from_cam, record.timestamp_ns, None, *std, pose.covariance)


def track_records(
    records: Sequence[Record],
    visual_map: VisualMap,
    localizer: HierarchicalLocalizer,
    extractor: PyramidExtractor,
    options: TrackerOptions | None = None,
    submap: SubmapOptions | None = None,
    progress: Progress = silent,
    rolls: Sequence[Roll] = (Roll.NONE,),
    *,
    check_camera: bool = True,
) -> TrackingRun:
    """Track every record, in order of time; ``rolls`` are those of the camera that the localizer tries.

    ``check_camera`` withholds poses of frozen images, and of a calibration that does not fit.

    Raises:
        FeatureError: the map has no reference features of this extractor.
        ImageError: an image cannot be read.
    """
    tracker = OfflineTracker(visual_map, localizer, extractor, options, submap, rolls, check_camera=check_camera)
    run = TrackingRun()
    for record in progress(records, "tracking", len(records)):
        run.add([record], tracker.track(record), tracker.confirmed)
    run.localizations = tracker.localizations
    return run


def evaluate_tracking(
    visual_map: VisualMap,
    records: Sequence[Record],
    out: Path,
    extractor: PyramidExtractor,
    *,
    options: OptionTree | None = None,
    rolls: Sequence[Roll] = (Roll.NONE,),
    localizer_alone: bool = True,
    check_camera: bool = True,
    alignments: Path | None = None,
    seed: int = 0,
    source: Mapping[str, Any] | None = None,
    details: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Track images from the localizer's first pose on, and write report, poses and figures.

    Args:
        visual_map: map to track in.
        records: images to track, in order of time, see ``open_queries``; their poses are in the world of the map's
            dataset. Of several cameras, the first one's are taken.
        out: folder of the files.
        extractor: feature extractor of the map's reference features.
        options: options of localizer, tracker and submaps.
        rolls: rolls of the camera that the localizer tries, the first ones first.
        check_camera: withhold poses of frozen images, and of a calibration that does not fit.
        localizer_alone: also localize every image by itself, for comparison; key ``localizer`` of the report.
        alignments: folder for figures of some alignments; None for no figures.
        seed: seed of the localizer.
        source: arguments of ``open_queries`` that give ``records``, for viewers.
        details: further keys of the report.
        progress: progress display.

    Returns:
        The report, as in ``report.json``.

    Raises:
        FeatureError: the map has no reference features of this extractor.
        ImageError: an image cannot be read.
    """
    require_result_folder(out)
    chosen, records = options or OptionTree(), visual_map.info.place.records_in_map(of_first_camera(records))
    visual_map.require_references(extractor.model_id)
    localizer = HierarchicalLocalizer(visual_map, chosen.retrieval, chosen.pose.model_copy(update={"seed": seed}))
    run = track_records(
        records,
        visual_map,
        localizer,
        extractor,
        chosen.tracker,
        chosen.submap,
        progress,
        rolls,
        check_camera=check_camera,
    )
    report: dict[str, Any] = {
        **p99_errors(records, run.estimates),
        "num_failed": len(run.reasons),
        "num_late": len(run.late),
        "localizations": run.localizations,
        "reasons": run.reasons,
        "timings_ms": run.timings.percentiles(),
        "map_bytes_per_keyframe": visual_map.info.bytes / visual_map.info.keyframes,
    }
    if localizer_alone:
        alone = localize_records(records, visual_map, localizer, progress, rolls=rolls)
        report["localizer"] = {
            **evaluate_poses(alone.estimates, ground_truth(records)).as_dict(),
            **p99_errors(records, alone.estimates),
            "num_failed": len(alone.unlocalized),
            "timings_ms": alone.timings.percentiles(),
        }
    report |= {**(details or {}), "seed": seed}
    known = ImageDetails(source or {}, run.states, run.reasons)
    written = write_results(out, records, run.estimates, visual_map, report, images=known)
    if alignments is not None:
        priors = {n: t.prediction.map_from_cam for n, t in run.tracked.items() if t.prediction is not None}
        draw_alignments(alignments, records, priors, visual_map, extractor, chosen)
    return written


def p99_errors(records: Sequence[Record], estimates: Mapping[str, Rigid3d]) -> dict[str, float | None]:
    """Keys of the report with the 99th percentile of the errors, over the images with an estimate."""
    errors = evaluate_poses(estimates, ground_truth(records)).errors.values()
    translations, rotations = [e.translation_m for e in errors], [e.rotation_deg for e in errors]
    return {
        "p99_translation_m": float(np.percentile(translations, 99)) if errors else None,
        "p99_rotation_deg": float(np.percentile(rotations, 99)) if errors else None,
    }
