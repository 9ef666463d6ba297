"""Tracker: follows the camera from image to image, and reports when it is lost (not in the PixLoc paper)."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64, evenly
from vizloc_ros.geometry.covariance import position_and_rotation_std, with_map_covariance
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.geometry.quarter_turns import Roll
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.motion import KnownPose, MotionModel, Prediction
from vizloc_ros.pixloc.odometry_trust import OdometryTrust
from vizloc_ros.pixloc.optimizer.alignment import Alignment, align
from vizloc_ros.pixloc.pyramid import FeaturePyramid
from vizloc_ros.pixloc.references import References
from vizloc_ros.pixloc.search import coarsest_needed, initial_poses_around
from vizloc_ros.pixloc.submap import in_view
from vizloc_ros.pixloc.tracking import Frame, Tracked, TrackerOptions, TrackerState
from vizloc_ros.pixloc.verification import Verification, agreement_ratio, verify
from vizloc_ros.timing import NANOSECONDS, Stopwatch

_FINALISTS = 2  # of the other initial poses, that go on to the finest level
_SPREAD = (1.0, 2.0)  # limits of the factor on other initial poses, which is the std of the predicted position [m]
_RETRY_EVERY = 3  # failed images in a row: retries for each of them would cost the next images


SubmapSource = Callable[[Rigid3d], References | None]
"""Function that returns the reference features around a pose map_from_cam, or None if there are none (yet)."""
RollSource = Callable[[Rigid3d], Roll]
"""Function that returns the roll of a camera at a pose map_from_cam against the map's images."""


def _upright(_map_from_cam: Rigid3d) -> Roll:
    return Roll.NONE


@dataclass
class _Remembered:
    """A frame of the recent past.

    Attributes:
        frame: image with its camera and time.
        pyramid: features of the upright image, once they were extracted.
        roll: roll of the camera for which they were extracted.
        map_from_cam: accepted pose, if there is one.
    """

    frame: Frame
    pyramid: FeaturePyramid | None = None
    roll: Roll = Roll.NONE
    map_from_cam: Rigid3d | None = None


@dataclass(frozen=True)
class _Query:
    """A query image with everything that its alignment needs.

    Attributes:
        frame: image with its camera.
        pyramid: features of the image.
        references: reference features of the landmarks in the predicted view.
        prediction: predicted pose.
        stopwatch: durations of this call of ``Tracker.track``.
    """

    frame: Frame
    pyramid: FeaturePyramid
    references: References
    prediction: Prediction
    stopwatch: Stopwatch


@dataclass(frozen=True)
class _Attempt:
    """The best alignment of a query image so far.

    Attributes:
        alignment: alignment with the most inliers.
        verification: result of its verification.
        num_initial_poses: number of initial poses tried so far.
    """

    alignment: Alignment
    verification: Verification
    num_initial_poses: int


class Tracker:
    """Tracks one camera. Must be used by one thread only.

    Its states:

    ================= ========================================================= =================
    in                on                                                        to
    ================= ========================================================= =================
    ``NOT_LOCALIZED`` a verified pose, found from a prior                       ``TRACKING``
    ``TRACKING``      ``lost_after`` failed images in a row, or a failed image  ``LOST``
                      ``lost_after_seconds`` after the last pose
    ``LOST``          a verified pose, found from a prior                       ``TRACKING``
    any               ``reset``                                                 ``NOT_LOCALIZED``
    ================= ========================================================= =================

    A prior is a pose of the localizer or of a person (``offer_prior``). In ``NOT_LOCALIZED`` and ``LOST`` every prior
    is tried, and dropped after ``lost_after`` failed images. In ``TRACKING`` a prior replaces the track only if it
    overrides, or if it is the last of ``max_conflicts`` conflicting ones in a row; the state stays ``TRACKING``.
    """

    def __init__(
        self,
        extractor: PyramidExtractor,
        submaps: SubmapSource,
        options: TrackerOptions | None = None,
        roll_of: RollSource = _upright,
    ) -> None:
        """Start without a pose.

        Args:
            extractor: feature extractor of the map's reference features.
            submaps: source of the reference features.
            options: see ``TrackerOptions``.
            roll_of: roll of the camera against the map, such as ``KeyframeRolls.roll_of``; images are aligned upright.
        """
        self.options = options or TrackerOptions()
        self.state = TrackerState.NOT_LOCALIZED
        self._extractor, self._submaps, self._roll_of = extractor, submaps, roll_of
        self._motion, self.odometry = MotionModel(self.options.motion), OdometryTrust()
        self._history: deque[_Remembered] = deque(maxlen=self.options.history)
        self._prior: KnownPose | None = None  # accepted, but not used yet
        self._failures, self._conflicts = 0, 0  # in a row

    def reset(self) -> None:
        """Forget everything, as after a jump of the clock."""
        self.state = TrackerState.NOT_LOCALIZED
        self._motion.reset()
        self.odometry.reset()
        self._history.clear()
        self._prior, self._failures, self._conflicts = None, 0, 0

    def offer_prior(
        self,
        map_from_cam: Rigid3d,
        stamp_ns: int,
        position_std: float = 0.3,
        rotation_std: float = 0.02,
        *,
        override: bool = False,
    ) -> bool:
        """Offer a pose prior of the localizer, or of a person. Return True if the tracker will start from it.

        While tracking, priors are only compared with the track: conflicting ones in a row replace it.

        Args:
            map_from_cam: pose of the camera in the map.
            stamp_ns: time of its image, which may lie some images back.
            position_std: standard deviation of the position [m].
            rotation_std: standard deviation of the rotation [rad].
            override: True to replace the track in any case.
        """
        if self.state is TrackerState.TRACKING and not override and not self._conflicts_with(map_from_cam, stamp_ns):
            return False
        self._prior = KnownPose(map_from_cam, stamp_ns, self._odometry_at(stamp_ns), position_std, rotation_std)
        return True

    def track(self, frame: Frame) -> Tracked:
        """Track the next image: predict its pose, align, verify, and update the state and the motion model.

        Raises:
            VizlocError: the image cannot be used; the state and the motion model stay as they were.
        """
        stopwatch = Stopwatch()
        with stopwatch("total"):
            current = _Remembered(frame)
            self._history.append(current)
            if self._prior is not None:
                with stopwatch("catch_up"):
                    self._catch_up(self._prior, stopwatch)
            prediction = self._predict(frame)
            if prediction is None:
                return Tracked(self.state, None, None, "no pose to start from yet", timings_ms=stopwatch.milliseconds)
            tracked = self._align(current, prediction, stopwatch)
            if tracked.map_from_cam is None and (other := self._without_odometry(frame, prediction)) is not None:
                retried = self._align(current, other, stopwatch)
                if retried.map_from_cam is not None:
                    tracked, prediction = retried, other
            self._update(current, tracked)
        return replace(tracked, state=self.state, prediction=prediction, timings_ms=stopwatch.milliseconds)

    def withhold(self, stamp_ns: int, reason: str) -> Tracked:
        """Count an image that must not be used as a failed one; too many of them in a row lose the track."""
        if self.state is TrackerState.TRACKING:
            self._count_failure(stamp_ns)
        return Tracked(self.state, None, None, reason)

    def _predict(self, frame: Frame) -> Prediction | None:
        return self._motion.predict(frame.stamp_ns, None if self.odometry.problem else frame.odom_from_cam)

    def _without_odometry(self, frame: Frame, prediction: Prediction) -> Prediction | None:
        """Return the prediction by the images alone, if the odometry contradicts it; None if there is no other."""
        if frame.odom_from_cam is None or self.odometry.problem:
            return None
        other = self._motion.predict(frame.stamp_ns)
        if other is None:
            return None
        apart, turned = pose_error(other.map_from_cam, prediction.map_from_cam)
        odometry_error = 2 * prediction.position_std, 2 * np.degrees(prediction.rotation_std)
        return other if apart > odometry_error[0] or turned > odometry_error[1] else None

    def _align(self, remembered: _Remembered, prediction: Prediction, stopwatch: Stopwatch) -> Tracked:
        """Align one image; that of a camera that is rolled against the map as if the camera were upright."""
        roll = self._roll_of(prediction.map_from_cam)
        upright = prediction if roll is Roll.NONE else prediction.moved(roll.inverse.upright_from_cam)
        return self._align_upright(remembered, roll, upright, stopwatch).turned_back(roll)

    def _align_upright(
        self, remembered: _Remembered, roll: Roll, prediction: Prediction, stopwatch: Stopwatch
    ) -> Tracked:
        """Align one upright image, with more effort while its pose is ambiguous or has failed.

        From the predicted pose on the levels that it needs, then on all levels, then from other initial poses.
        """
        frame, options = remembered.frame.upright(roll), self.options
        submap = self._submaps(prediction.map_from_cam)
        if submap is None:
            return Tracked(self.state, None, None, "the map has no landmarks around the predicted pose")
        cam_from_map = prediction.map_from_cam.inverse()
        references = in_view(submap, cam_from_map, frame.camera, frame.correction, options.max_landmarks)
        if len(references) < options.alignment.min_landmarks:
            reason = f"only {len(references)} landmarks where the camera is predicted to look"
            return Tracked(self.state, None, None, reason)
        pyramid = self._pyramid(remembered, roll, frame, stopwatch)
        query = _Query(frame, pyramid, references, prediction, stopwatch)

        coarsest = coarsest_needed(query.pyramid, references, frame.camera, prediction)
        attempt = self._align_from_prediction(query, coarsest)
        if coarsest < len(query.pyramid) - 1 and self._is_worth_retrying(attempt):
            attempt = self._retry_all_levels(query, attempt)
        if self._is_worth_retrying(attempt):
            attempt = self._align_from_other_initial_poses(query, attempt)
        return self._tracked(query, attempt)

    def _align_from_prediction(self, query: _Query, coarsest: int | None = None) -> _Attempt:
        (alignment,) = self._align_from(query, [query.prediction.map_from_cam], coarsest)
        return _Attempt(alignment, verify(alignment, query.prediction, self.options.verification), num_initial_poses=1)

    def _retry_all_levels(self, query: _Query, attempt: _Attempt) -> _Attempt:
        retried = self._align_from_prediction(query)
        return replace(retried, num_initial_poses=attempt.num_initial_poses + retried.num_initial_poses)

    def _align_from_other_initial_poses(self, query: _Query, attempt: _Attempt) -> _Attempt:
        """Align from initial poses around the prediction, and choose the best of all alignments.

        If it is ambiguous, enough of the others must have ended at the same pose.
        """
        prediction, options = query.prediction, self.options.verification
        spread = float(np.clip(prediction.position_std, *_SPREAD))
        others = self._align_from(query, initial_poses_around(prediction.map_from_cam, spread))
        ended = [each for each in (attempt.alignment, *others) if not each.failure] or [attempt.alignment]
        best = max(ended, key=lambda alignment: alignment.inlier_ratio)
        verification = verify(best, prediction, options)
        agreement = agreement_ratio([other for other in ended if other is not best], best, options)
        if verification.ambiguous and agreement < options.agreement:
            verification = Verification(f"ambiguous: only {agreement:.0%} of other initial poses end at the same pose")
        return _Attempt(best, verification, attempt.num_initial_poses + len(others))

    def _align_from(self, query: _Query, poses: Sequence[Rigid3d], coarsest: int | None = None) -> list[Alignment]:
        """Align from each initial pose map_from_cam, from level ``coarsest`` on; from the last one by default."""
        with query.stopwatch("align"):
            return align(
                query.pyramid,
                query.references,
                query.frame.camera,
                [map_from_cam.inverse() for map_from_cam in poses],
                self._extractor.learned,
                self.options.alignment,
                query.frame.correction,
                coarsest=coarsest,
                finalists=_FINALISTS,
            )

    def _is_worth_retrying(self, attempt: _Attempt) -> bool:
        """Return True for an ambiguous pose, and for every third failed image in a row, from the first on.

        While tracking, an image with hardly any inliers is not worth it: it does not show what is in the map.
        """
        if not attempt.verification.reason:
            return attempt.verification.ambiguous
        hopeless = attempt.alignment.inlier_ratio < self.options.verification.min_inlier_ratio / 2
        return self._failures % _RETRY_EVERY == 0 and not (hopeless and self.state is TrackerState.TRACKING)

    def _tracked(self, query: _Query, attempt: _Attempt) -> Tracked:
        """Return the result of the last attempt: a pose with its covariance, or the reason why there is none."""
        alignment, reason = attempt.alignment, attempt.verification.reason
        if reason:
            return Tracked(self.state, None, None, reason, alignment, num_initial_poses=attempt.num_initial_poses)
        map_from_cam, covariance = alignment.cam_from_map.inverse(), self._covariance(alignment)
        return Tracked(self.state, map_from_cam, covariance, "", alignment, query.prediction, attempt.num_initial_poses)

    def _covariance(self, alignment: Alignment) -> Float64:
        options = self.options
        return with_map_covariance(
            options.covariance_scale * alignment.covariance, options.map_position_std, options.map_rotation_std
        )

    def _pyramid(self, remembered: _Remembered, roll: Roll, upright: Frame, stopwatch: Stopwatch) -> FeaturePyramid:
        """Return the features of an upright image; extracted once, also if it is aligned again to catch up."""
        if remembered.pyramid is None or remembered.roll is not roll:
            with stopwatch("features"):
                remembered.pyramid, remembered.roll = self._extractor.extract(upright.image), roll
        return remembered.pyramid

    def _update(self, remembered: _Remembered, tracked: Tracked) -> None:
        """Update the state and the motion model by the result of an image."""
        frame = remembered.frame
        if tracked.map_from_cam is None or tracked.covariance is None:
            self._count_failure(frame.stamp_ns)
            return
        remembered.map_from_cam = tracked.map_from_cam
        std = position_and_rotation_std(tracked.covariance)
        known = KnownPose(tracked.map_from_cam, frame.stamp_ns, frame.odom_from_cam, *std)
        self._motion.add(known)
        self.odometry.add(known)
        self.state, self._failures = TrackerState.TRACKING, 0

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

    def _catch_up(self, prior: KnownPose, stopwatch: Stopwatch) -> None:
        """Restart the motion model from a prior of an earlier image, and track the images since, but the newest.

        If there are many, only some are aligned. The prior waits until the landmarks around it have arrived.
        """
        if self._submaps(prior.map_from_cam) is None:
            return
        self._prior = None
        self._motion.restart(prior)
        self.odometry.restart()
        self._failures, self._conflicts = 0, 0
        later = [r for r in self._history if r.frame.stamp_ns > prior.stamp_ns][:-1]
        if len(later) > self.options.catch_up:
            later = [later[i] for i in evenly(len(later), self.options.catch_up)]
        for remembered in later:
            frame = remembered.frame
            prediction = self._predict(frame)
            if prediction is None:
                return
            tracked = self._align(remembered, prediction, stopwatch)
            if tracked.map_from_cam is not None:
                self._update(remembered, tracked)

    def _conflicts_with(self, map_from_cam: Rigid3d, stamp_ns: int) -> bool:
        """Return True if enough priors in a row, this one included, were far from the track at their times."""
        own = next((r.map_from_cam for r in self._history if r.frame.stamp_ns == stamp_ns), None)
        if own is None:
            return False
        distance, angle = pose_error(map_from_cam, own)
        conflicting = distance > self.options.conflict_distance or angle > self.options.conflict_angle
        self._conflicts = self._conflicts + 1 if conflicting else 0
        return self._conflicts >= self.options.max_conflicts

    def _odometry_at(self, stamp_ns: int) -> Rigid3d | None:
        return next((r.frame.odom_from_cam for r in self._history if r.frame.stamp_ns == stamp_ns), None)
