"""Tracking of a dataset of several cameras as a rig, without ROS: one track, by the images of all cameras."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pycolmap import Rigid3d

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.frozen_images import FrozenImages
from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import FrozenCameraError
from vizloc_ros.evaluation.image_results import ImageDetails
from vizloc_ros.evaluation.offline_tracking import TrackingRun, p99_errors, submaps_of
from vizloc_ros.evaluation.report import require_result_folder, write_results
from vizloc_ros.evaluation.rig_localization import instants_of, mount_of
from vizloc_ros.features.gray_image import gray_image
from vizloc_ros.geometry.covariance import move_to_base, position_and_rotation_std
from vizloc_ros.localization.rig_localizer import RigImage, RigLocalizer
from vizloc_ros.mapping.keyframe_rolls import KeyframeRolls
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.option_tree import OptionTree
from vizloc_ros.parallel import Progress, silent
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.image_aligner import named
from vizloc_ros.pixloc.motion import KnownPose
from vizloc_ros.pixloc.submap import SubmapSelector
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.pixloc.tracking import CameraImage, Frame, Tracked, TrackerState
from vizloc_ros.pixloc.waiting_poses import WaitingPoses


class OfflineRigTracker:
    """Tracker of the images of a rig; while it does not track, its localizer is asked at every instant.

    The frame of the rig is that of one of its cameras.

    Attributes:
        localizations: number of calls of the localizer.
        confirmed: localizations of the instants right before the last one, whose pose has confirmed them.
    """

    def __init__(
        self,
        visual_map: VisualMap,
        extractor: PyramidExtractor,
        base_from_rig: Rigid3d,
        options: OptionTree | None = None,
        *,
        check_camera: bool = True,
    ) -> None:
        """Start without a pose.

        Args:
            visual_map: map to track in.
            extractor: feature extractor of the map's reference features.
            base_from_rig: pose of the rig's frame on the vehicle.
            options: options of localizer, tracker and submaps.
            check_camera: leave out images that are the one before again.

        Raises:
            FeatureError: the map has no reference features of this extractor.
        """
        visual_map.require_references(extractor.model_id)
        chosen = options or OptionTree()
        selector = SubmapSelector(visual_map, chosen.submap, unit_features=extractor.unit_features)
        roll_of = KeyframeRolls(visual_map.keyframe_poses).roll_of
        self.localizations, self.confirmed = 0, tuple[KnownPose, ...]()
        self._map_info, self._base_from_rig = visual_map.info, base_from_rig
        self._localizer = RigLocalizer(visual_map, chosen)
        self._tracker = Tracker(extractor, submaps_of(selector), chosen.tracker, roll_of, withhold_frozen=check_camera)
        self._waiting = WaitingPoses(chosen.tracker.motion)
        self._check_camera = check_camera
        self._frozen: dict[str, FrozenImages] = {}  # by camera

    def track(self, instant: Sequence[Record]) -> Tracked:
        """Track the images of the next instant. Raises ``ImageError`` for an image that cannot be read."""
        stamp_ns, tracker = instant[0].timestamp_ns, self._tracker
        images = {record.mounting.camera: record.read_image() for record in instant}
        frozen = self._frozen_cameras(images, stamp_ns)
        used = [record for record in instant if record.mounting.camera not in frozen]
        localized = None
        if not used:
            tracked = tracker.withhold(stamp_ns, named(frozen))
        else:
            if tracker.state is not TrackerState.TRACKING:
                localized = self._localized(used, images)
            tracked = tracker.track(Frame(tuple(self._image(record, images) for record in used), stamp_ns))
            tracked = replace(tracked, left_out={**frozen, **tracked.left_out})
        self.confirmed = self._waiting.after_image(tracked, stamp_ns, localized, is_doubted=tracker.is_doubted)
        return tracked

    def map_from_cam(self, map_from_rig: Rigid3d, record: Record) -> Rigid3d:
        """Pose of the camera of a record, by that of the rig."""
        return map_from_rig * self._base_from_rig.inverse() * mount_of(record)

    def _frozen_cameras(self, images: Mapping[str, UInt8], stamp_ns: int) -> dict[str, str]:
        """Reason for each camera whose image is the one before again."""
        reasons: dict[str, str] = {}
        for camera, image in images.items() if self._check_camera else ():
            try:
                self._frozen.setdefault(camera, FrozenImages()).check(gray_image(image), stamp_ns)
            except FrozenCameraError as error:
                reasons[camera] = str(error)
        return reasons

    def _localized(self, instant: Sequence[Record], images: Mapping[str, UInt8]) -> KnownPose | None:
        """Localize an instant, and offer the pose to the tracker. Return the pose."""
        self.localizations += 1
        given = [
            RigImage(record.mounting.camera, images[record.mounting.camera], record.camera, mount_of(record))
            for record in instant
        ]
        if (pose := self._localizer.localize(given).pose) is None:
            return None
        covariance = move_to_base(pose.covariance, pose.map_from_rig, self._base_from_rig)
        std = position_and_rotation_std(covariance)
        map_from_rig, stamp_ns = pose.map_from_rig * self._base_from_rig, instant[0].timestamp_ns
        self._tracker.offer_prior(map_from_rig, stamp_ns, *std, covariance=covariance)
        return KnownPose(map_from_rig, stamp_ns, None, *std, covariance)

    def _image(self, record: Record, images: Mapping[str, UInt8]) -> CameraImage:
        camera = record.mounting.camera
        cam_from_rig = mount_of(record).inverse() * self._base_from_rig
        correction = self._map_info.intrinsics_correction(record.camera)
        return CameraImage(images[camera], record.camera, correction, camera, cam_from_rig)


def evaluate_rig_tracking(
    visual_map: VisualMap,
    records: Sequence[Record],
    out: Path,
    extractor: PyramidExtractor,
    *,
    tolerance: float,
    options: OptionTree | None = None,
    check_camera: bool = True,
    seed: int = 0,
    source: Mapping[str, Any] | None = None,
    details: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Track the images of all cameras together, and write report, poses and figures.

    Every image gets the pose of its camera that follows from the pose of the vehicle.

    Args:
        visual_map: map to track in.
        records: images of all cameras, see ``open_queries``; their poses are in the world of the map's dataset.
        out: folder of the files.
        extractor: feature extractor of the map's reference features.
        tolerance: maximum difference of the times of one instant [s].
        options: options of localizer, tracker and submaps.
        check_camera: leave out frozen images.
        seed: seed of the localizer.
        source: arguments of ``open_queries`` that give ``records``, for viewers.
        details: further keys of the report.
        progress: progress display.

    Returns:
        The report, as in ``report.json``.

    Raises:
        DatasetError: a camera's pose on the vehicle is not known.
        FeatureError: the map has no reference features of this extractor.
        ImageError: an image cannot be read.
    """
    mounts = [mount_of(record) for record in records]
    require_result_folder(out)
    chosen, records = options or OptionTree(), visual_map.info.place.records_in_map(records)
    chosen = chosen.model_copy(update={"pose": chosen.pose.model_copy(update={"seed": seed})})
    tracker = OfflineRigTracker(visual_map, extractor, mounts[0], chosen, check_camera=check_camera)
    run, instants = TrackingRun(), instants_of(records, tolerance)
    for instant in progress(instants, "tracking", len(instants)):
        run.add(instant, tracker.track(instant), tracker.confirmed, tracker.map_from_cam)
    of_instants = [run.tracked[instant[0].name] for instant in instants]
    cameras = Counter(camera for each in of_instants if each.map_from_cam is not None for camera in each.cameras)
    report: dict[str, Any] = {
        **p99_errors(records, run.estimates),
        "num_instants": len(instants),
        "num_failed": len(run.reasons),
        "num_late": len(run.late),
        "localizations": tracker.localizations,
        "tracked_by": dict(cameras.most_common()),
        "reasons": run.reasons,
        "timings_ms": run.timings.percentiles(),
        "map_bytes_per_keyframe": visual_map.info.bytes / visual_map.info.keyframes,
        **(details or {}),
        "seed": seed,
    }
    known = ImageDetails(source or {}, run.states, run.reasons)
    return write_results(out, records, run.estimates, visual_map, report, images=known)
