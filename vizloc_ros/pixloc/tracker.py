"""Tracker: follows a camera, or a rig, from image to image, and reports when it is lost (not in the PixLoc paper)."""

from collections import deque
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import Float64, evenly
from vizloc_ros.geometry.covariance import position_and_rotation_std, with_map_covariance
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.pixloc.correction import Correction, PoseEstimate
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.frame_views import RememberedFrame, RollSource, SubmapSource, UprightFeatures, pose_at, upright
from vizloc_ros.pixloc.gyroscope_trust import GyroscopeTrust
from vizloc_ros.pixloc.image_aligner import ImageAligner, named
from vizloc_ros.pixloc.late_images import LateImages
from vizloc_ros.pixloc.motion import KnownPose, MotionModel, Prediction
from vizloc_ros.pixloc.odometry_trust import OdometryTrust
from vizloc_ros.pixloc.standstill import Standstill
from vizloc_ros.pixloc.sudden_stop import SuddenStops
from vizloc_ros.pixloc.track_check import TrackCheck
from vizloc_ros.pixloc.tracking import Frame, Tracked, TrackerOptions, TrackerState
from vizloc_ros.timing import NANOSECONDS, Stopwatch

_WIDER = 2.0  # uncertainty of a turn without the gyroscope, as a ratio, from which the image is tried without it, too
_NEAR = 1.0  # m, uncertainty of a prediction from which an alignment is likely to succeed


class Tracker:
    """Tracks one camera, or the cameras of a rig, which have one pose (see ``Frame``). For one thread only.

    Its states:

    ================= ========================================================= =================
    in                on                                                        to
    ================= ========================================================= =================
    ``NOT_LOCALIZED`` a verified pose, found from a prior and confirmed         ``TRACKING``
    ``TRACKING``      ``lost_after`` failed images in a row, or a failed image  ``LOST``
                      ``lost_after_seconds`` after the last pose, or a prior
                      that conflicts with the track
    ``LOST``          a verified pose, found from a prior and confirmed         ``TRACKING``
    any               ``reset``                                                 ``NOT_LOCALIZED``
    ================= ========================================================= =================

    A prior is a pose of the localizer or of a person (``offer_prior``). The track that starts from it is dropped after
    ``lost_after`` failed images, at the latest one more. It is confirmed once ``confirmations`` priors agree with it; a
    person's needs no other. A prior that conflicts with it replaces it, until it is confirmed. From then on, the first
    one withholds its poses, and ``max_conflicts`` in a row that agree with each other replace it. One that agrees
    corrects the poses that are returned, see ``Correction``. Only ``TRACKING`` returns poses, and no late ones, see
    ``LateImages``.
    """

    def __init__(
        self,
        extractor: PyramidExtractor,
        submaps: SubmapSource,
        options: TrackerOptions | None = None,
        roll_of: RollSource = upright,
        *,
        withhold_frozen: bool = True,
    ) -> None:
        """Start without a pose.

        Args:
            extractor: feature extractor of the map's reference features.
            submaps: source of the reference features.
            options: see ``TrackerOptions``.
            roll_of: roll of the camera against the map, such as ``KeyframeRolls.roll_of``; images are aligned upright.
            withhold_frozen: give no pose for images that differ by noise alone at once, see ``SuddenStop``.
        """
        self.options = options or TrackerOptions()
        self.state = TrackerState.NOT_LOCALIZED
        self.aligner = ImageAligner(extractor, submaps, self.options, roll_of)
        self._check, self._correction = TrackCheck(self.options), Correction()
        self._stops = SuddenStops(enabled=withhold_frozen)
        self._motion = MotionModel(self.options.motion)
        self.odometry, self.gyroscope = OdometryTrust(), GyroscopeTrust()
        self._late, self._standstill = LateImages(), Standstill()
        self._history: deque[RememberedFrame] = deque(maxlen=self.options.history)
        self._prior: KnownPose | None = None  # to start from, but not used yet
        self._prior_agrees = 1  # localizations that agree on it
        self._earlier: KnownPose | None = None  # the localizer's that it has replaced: it may agree, too
        self._skipped: KnownPose | None = None  # the one from which no images were caught up with
        self._unchecked: KnownPose | None = None  # of an image that has not been tracked yet
        self._failures = 0  # in a row

    @property
    def is_tracking(self) -> bool:
        """True while poses are returned."""
        return self.state is TrackerState.TRACKING

    @property
    def follows(self) -> bool:
        """True while there is a track that the last image has continued, whether it is confirmed or not."""
        return self._motion.last is not None and self._failures == 0

    @property
    def is_doubted(self) -> bool:
        """True if a localization or an image speaks against the track, or has done so a moment ago."""
        return self._check.is_doubted

    def use(self, options: TrackerOptions) -> None:
        """Use other options from the next image on; the track goes on."""
        self.options = self.aligner.options = self._check.options = options
        self._motion.options = options.motion
        self._history = deque(self._history, maxlen=options.history)

    def reset(self) -> None:
        """Forget everything, as after a jump of the clock."""
        self.state = TrackerState.NOT_LOCALIZED
        self._motion.reset()
        self.odometry.reset()
        self.gyroscope.reset()
        self._late.reset()
        self._standstill.reset()
        self._history.clear()
        self._check.reset()
        self._correction.reset()
        self._stops.reset()
        self._prior, self._earlier, self._skipped, self._unchecked, self._failures = None, None, None, None, 0

    def offer_prior(
        self,
        map_from_cam: Rigid3d,
        stamp_ns: int,
        position_std: float = 0.3,
        rotation_std: float = 0.02,
        *,
        covariance: Float64 | None = None,
        override: bool = False,
        trusted: bool = True,
    ) -> bool:
        """Offer a pose prior of the localizer, or of a person. Return True if the tracker will start from it.

        Priors are compared with a track that there is, see ``TrackCheck``; that of an image that has not been tracked
        yet, after it.

        Args:
            map_from_cam: pose of the camera in the map.
            stamp_ns: time of its image, which may lie some images back.
            position_std: standard deviation of the position [m].
            rotation_std: standard deviation of the rotation [rad].
            covariance: (6, 6) covariance of a localizer's pose [m^2, m rad, rad^2]; it corrects the track.
            override: True to replace the track in any case.
            trusted: for an override, False if localizations must agree with it as with any other.
        """
        frame = next((r.frame for r in self._history if r.frame.stamp_ns == stamp_ns), None)
        moved = (None, None) if frame is None else (frame.odom_from_cam, frame.attitude)
        prior = KnownPose(map_from_cam, stamp_ns, moved[0], position_std, rotation_std, covariance, moved[1])
        if override:
            return self._start_from(prior, self.options.confirmations if trusted else 1)
        if self._motion.last is None or (self._prior is not None and not self._check.is_confirmed):
            return self._start_from(prior)
        if not self._history or stamp_ns > self._history[-1].frame.stamp_ns:
            self._unchecked = prior
            return False
        return self._compare(prior)

    def track(
        self, frame: Frame, features: Mapping[str, UprightFeatures] | None = None, *, patches_first: bool = False
    ) -> Tracked:
        """Track the next image: predict its pose, align, verify, and update the state and the motion model.

        Args:
            frame: images of one instant.
            features: by camera, features of its image, if they were extracted before.
            patches_first: True to align patches alone if that gives a sure pose, in a fraction of the time.

        Raises:
            VizlocError: the image cannot be used; the state and the motion model stay as they were.
        """
        stopwatch = Stopwatch()
        with stopwatch("total"):
            before_ns = self._history[-1].frame.stamp_ns if self._history else 0
            frozen = self._stops.check(frame, self._motion.speed_at(before_ns))
            frame = replace(frame, images=tuple(image for image in frame.images if image.name not in frozen))
            if not frame.images:
                return replace(self.withhold(frame.stamp_ns, named(frozen)), state=TrackerState.FROZEN)
            current = RememberedFrame(frame, dict(features or {}))
            self._history.append(current)
            self._late.note(frame.stamp_ns, frame.odom_from_cam)
            if self._prior is not None:
                with stopwatch("catch_up"):
                    self._catch_up(self._prior, stopwatch)
            prediction = self._predict(frame)
            if prediction is None:
                return Tracked(self.state, None, None, "no pose to start from yet", timings_ms=stopwatch.milliseconds)
            before = self.state, self._failures
            tracked = self.aligner.align(current, prediction, stopwatch, *before, patches_first=patches_first)
            if tracked.map_from_cam is None and (other := self._by_images_alone(frame, prediction)) is not None:
                retried = self.aligner.align(current, other, stopwatch, *before)
                if retried.map_from_cam is not None and not self._turned_too_far(retried, prediction, frame):
                    tracked, prediction = retried, other
                elif self._turn_to(frame) is not None:  # a wrong turn is no sign that the images are of another place
                    doubts = tracked.contradicts and retried.contradicts, tracked.unlike and retried.unlike
                    tracked = replace(tracked, contradicts=doubts[0], unlike=doubts[1])
            if tracked.map_from_cam is not None:
                tracked = replace(tracked, map_from_cam=self._standstill.smooth(tracked.map_from_cam))
            self._update(current, tracked)
            if tracked.map_from_cam is None and self._prior is None and self._skipped is not None:
                self._prior, self._earlier = self._skipped, None  # once more, step by step
            elif self._prior is None and self._earlier is not None and tracked.map_from_cam is not None:
                self._check.confirm(self._earlier.map_from_cam, self._motion.was_at(self._earlier.stamp_ns))
                self._earlier = None
            self._skipped = None
            if self._unchecked is not None:
                unchecked, self._unchecked = self._unchecked, None
                self._compare(unchecked)
            tracked = replace(self._published(tracked, frame.stamp_ns), left_out={**frozen, **tracked.left_out})
        return replace(tracked, state=self.state, prediction=prediction, timings_ms=stopwatch.milliseconds)

    def _published(self, tracked: Tracked, stamp_ns: int) -> Tracked:
        """Result with the pose if the track is confirmed and nothing contradicts it, and the state that follows."""
        if tracked.map_from_cam is None or tracked.covariance is None:
            return tracked
        if withheld := self._late.reason or self._check.withheld(stamp_ns):
            if self.state is TrackerState.TRACKING:
                self.state = TrackerState.LOST
            return replace(tracked, map_from_cam=None, covariance=None, reason=withheld)
        if self._check.doubt:
            return replace(tracked, map_from_cam=None, covariance=None, reason=self._check.doubt)
        self.state, options = TrackerState.TRACKING, self.options
        own = PoseEstimate(tracked.map_from_cam, tracked.covariance)
        corrected = self._correction.corrected(own, options.correction_distance)
        covariance = with_map_covariance(corrected.covariance, options.map_position_std, options.map_rotation_std)
        return replace(tracked, map_from_cam=corrected.map_from_cam, covariance=covariance)

    def withhold(self, stamp_ns: int, reason: str) -> Tracked:
        """Count an image that must not be used as a failed one; too many of them in a row lose the track."""
        if self.state is TrackerState.TRACKING:
            self._count_failure(stamp_ns)
        return Tracked(self.state, None, None, reason)

    def _predict(self, frame: Frame) -> Prediction | None:
        odom_from_cam = None if self.odometry.problem else frame.odom_from_cam
        return self._motion.predict(frame.stamp_ns, odom_from_cam, self._turn_to(frame))

    def _turn_to(self, frame: Frame) -> Rotation3d | None:
        """Rotation of the camera since the last pose by the gyroscope, if that is there and believed."""
        return self.gyroscope.turn_since(self._motion.last, frame.attitude, frame.stamp_ns)

    def _by_images_alone(self, frame: Frame, prediction: Prediction) -> Prediction | None:
        """Return the prediction by the images alone, if odometry or gyroscope may be wrong; None if there is none."""
        by_odometry, turn = frame.odom_from_cam is not None and not self.odometry.problem, self._turn_to(frame)
        if (not by_odometry and turn is None) or (other := self._motion.predict(frame.stamp_ns)) is None:
            return None
        apart, turned = pose_error(other.map_from_cam, prediction.map_from_cam)
        position, rotation = 2 * prediction.position_std, 2 * np.degrees(prediction.rotation_std)
        was_narrow = turn is not None and other.rotation_std > _WIDER * prediction.rotation_std
        return other if was_narrow or apart > position or turned > rotation else None

    def _turned_too_far(self, tracked: Tracked, prediction: Prediction, frame: Frame) -> bool:
        """True for a pose that a proven gyroscope contradicts, right after a tracked image: it may be wrong, too."""
        is_proven = self.gyroscope.is_proven and self._failures == 0 and self._turn_to(frame) is not None
        if tracked.map_from_cam is None or not is_proven:
            return False
        turned = np.radians(pose_error(tracked.map_from_cam, prediction.map_from_cam)[1])
        return bool(turned > self.options.verification.max_deviation * prediction.rotation_std)

    def _update(self, remembered: RememberedFrame, tracked: Tracked) -> None:
        """Update the state and the motion model by the result of an image."""
        frame = remembered.frame
        self._check.note_image(
            tracked=tracked.map_from_cam is not None, contradicts=tracked.contradicts, unlike=tracked.unlike
        )
        if tracked.map_from_cam is None or tracked.covariance is None:
            self._count_failure(frame.stamp_ns)
            return
        remembered.map_from_cam, remembered.covariance = tracked.map_from_cam, tracked.covariance
        std = position_and_rotation_std(tracked.covariance)
        known = KnownPose(tracked.map_from_cam, frame.stamp_ns, frame.odom_from_cam, *std, attitude=frame.attitude)
        self._motion.add(known, self._turn_to(frame))
        self._late.check(known)
        if self._late.is_late:  # sensors, which are of now, cannot be compared with what such images show
            self.odometry.restart()
            self.gyroscope.restart()
        else:
            self.odometry.add(known)
            self.gyroscope.add(known)
        self._failures = 0

    def _count_failure(self, stamp_ns: int) -> None:
        """Count a failed image; after too many, or too long without a pose, drop the track or the prior."""
        self._failures += 1
        last, silent = self._motion.last, 0.0
        if last is not None and self.state is TrackerState.TRACKING:  # else it is the localizer's, some images old
            silent = (stamp_ns - last.stamp_ns) / NANOSECONDS
        if self._failures >= self.options.lost_after or silent >= self.options.lost_after_seconds:
            if self.state is TrackerState.TRACKING:
                self.state = TrackerState.LOST
            self._motion.reset()
            self._failures = 0

    def _start_from(self, prior: KnownPose, agreeing: int = 1) -> bool:
        """Start a new track from a prior with the next image; ``agreeing`` localizations agree on it. Return True."""
        before = self._prior
        is_other = before is not None and before.is_localizers and before.stamp_ns < prior.stamp_ns
        self._earlier = before if is_other and prior.is_localizers and agreeing == 1 else None  # of more, it may be one
        self._prior, self._prior_agrees, self._unchecked = prior, agreeing, None
        return True

    def _compare(self, prior: KnownPose) -> bool:
        """Compare a prior with the track at its time. Return True if the tracker will start from it."""
        own, own_covariance = pose_at(self._history, prior.stamp_ns)
        if own is None:  # nothing to compare with: a track that nobody has confirmed gives way
            return not self._check.is_confirmed and self._start_from(prior)
        agreeing = self._check.compare(prior.map_from_cam, own, prior.stamp_ns)
        if agreeing > 0:
            return self._start_from(prior, agreeing)
        doubted = self._check.is_contradicted or self._late.is_late
        if prior.covariance is not None and own_covariance is not None and not doubted:
            given = PoseEstimate(prior.map_from_cam, prior.covariance)
            self._correction.observe(PoseEstimate(own, own_covariance), given)
        return False

    def _catch_up(self, prior: KnownPose, stopwatch: Stopwatch) -> None:
        """Restart the motion model from a prior of an earlier image, and track the images since, but the newest.

        If there are many, only some are aligned, and none if two localizations tell the motion. The prior waits until
        the landmarks around it have arrived.
        """
        if not self.aligner.views.has_landmarks(self._history[-1].frame, prior.map_from_cam):
            return
        self._prior = self._skipped = None
        self._motion.restart(prior, self._earlier)
        self._check.restart(self._prior_agrees)
        self._correction.reset()
        self.odometry.restart()
        self.gyroscope.restart()
        self._failures = 0
        for remembered in self._history:  # poses of another track do not count
            remembered.map_from_cam = prior.map_from_cam if remembered.frame.stamp_ns == prior.stamp_ns else None
            remembered.covariance = None
        later = [r for r in self._history if r.frame.stamp_ns > prior.stamp_ns][:-1]
        newest = self._predict(self._history[-1].frame)
        if later and self._earlier is not None and newest is not None and newest.position_std <= _NEAR:
            later, self._skipped = [], prior
        if len(later) > self.options.catch_up:
            later = [later[i] for i in evenly(len(later), self.options.catch_up)]
        for remembered in later:
            frame = remembered.frame
            prediction = self._predict(frame)
            if prediction is None:
                return
            tracked = self.aligner.align(remembered, prediction, stopwatch, self.state, self._failures)
            if tracked.map_from_cam is not None:
                self._update(remembered, tracked)
