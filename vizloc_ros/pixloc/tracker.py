"""Follows the camera from image to image, and says so when it does not know where it is."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.motion import KnownPose, MotionModel, Prediction
from vizloc_ros.pixloc.optimizer.alignment import Alignment, align
from vizloc_ros.pixloc.pyramid import FeaturePyramid
from vizloc_ros.pixloc.references import References
from vizloc_ros.pixloc.search import coarsest_needed, starts_around
from vizloc_ros.pixloc.submap import in_view
from vizloc_ros.pixloc.tracking import Frame, Tracked, TrackerOptions, TrackerState
from vizloc_ros.pixloc.verification import Verification, agreeing, verify
from vizloc_ros.timing import Stopwatch

_FINALISTS = 2  # of further starts, that go on to the finest level
_SPREAD = (1.0, 2.0)  # m: how far ahead and behind further starts lie, as far as the prediction may be off
_RETRY_EVERY = 3  # images in a row that fail; trying further starts for each would lose the next ones


SubmapSource = Callable[[Rigid3d], References | None]
"""Gives the landmarks around a pose map_from_cam, or None where there are none (yet)."""


@dataclass
class _Remembered:
    """A frame of the past, its features if they were made, and its pose if it was tracked."""

    frame: Frame
    pyramid: FeaturePyramid | None = None
    map_from_cam: Rigid3d | None = None


class Tracker:
    """Tracks one camera. For one thread."""

    def __init__(
        self, extractor: PyramidExtractor, submaps: SubmapSource, options: TrackerOptions | None = None
    ) -> None:
        self.options = options or TrackerOptions()
        self.state = TrackerState.NOT_LOCALIZED
        self._extractor, self._submaps = extractor, submaps
        self._motion = MotionModel(self.options.motion)
        self._history: deque[_Remembered] = deque(maxlen=self.options.history)
        self._pending: KnownPose | None = None
        self._failures, self._conflicts = 0, 0

    def reset(self) -> None:
        """Forgets everything, as after a jump of the clock."""
        self.state = TrackerState.NOT_LOCALIZED
        self._motion.reset()
        self._history.clear()
        self._pending, self._failures, self._conflicts = None, 0, 0

    def offer_prior(
        self,
        map_from_cam: Rigid3d,
        stamp_ns: int,
        position_std: float = 0.3,
        rotation_std: float = 0.02,
        *,
        override: bool = False,
    ) -> bool:
        """Takes a pose of the localizer, or of a person who knows; says whether it will be used.

        While tracking, it only serves to contradict: poses far from the tracker's own at that time make it give way.

        Args:
            map_from_cam: the pose.
            stamp_ns: of its image; may lie some images back.
            position_std: [m].
            rotation_std: [rad].
            override: whether it is to be used in any case.
        """
        if self.state is TrackerState.TRACKING and not override and not self._conflicts_with(map_from_cam, stamp_ns):
            return False
        self._pending = KnownPose(map_from_cam, stamp_ns, self._odometry_at(stamp_ns), position_std, rotation_std)
        return True

    def track(self, frame: Frame) -> Tracked:
        """Aligns the next image. Raises ``VizlocError`` for an image that cannot be used, and stays as it was."""
        stopwatch = Stopwatch()
        with stopwatch("total"):
            remembered = _Remembered(frame)
            self._history.append(remembered)
            if self._pending is not None:
                with stopwatch("catch_up"):
                    self._catch_up(stopwatch)
            prediction = self._motion.predict(frame.stamp_ns, frame.odom_from_cam)
            if prediction is None:
                return Tracked(self.state, None, None, "no pose to start from yet", timings_ms=stopwatch.milliseconds)
            tracked = self._align(remembered, prediction, stopwatch)
            self._conclude(remembered, tracked)
        return replace(tracked, state=self.state, prediction=prediction, timings_ms=stopwatch.milliseconds)

    def _align(self, remembered: _Remembered, prediction: Prediction, stopwatch: Stopwatch) -> Tracked:
        """One image from one prediction, and from further starts when in doubt."""
        frame, options = remembered.frame, self.options
        references = self._submaps(prediction.map_from_cam)
        if references is None:
            return _untracked(self.state, "the map has no landmarks around the predicted pose")
        cam_from_map = prediction.map_from_cam.inverse()
        chosen = in_view(references, cam_from_map, frame.camera, frame.correction, options.max_landmarks)
        if len(chosen) < options.alignment.min_landmarks:
            return _untracked(self.state, f"only {len(chosen)} landmarks where the camera is predicted to look")
        pyramid = self._pyramid(remembered, stopwatch)

        coarsest = coarsest_needed(pyramid, chosen, frame.camera, prediction)

        def from_starts(starts: Sequence[Rigid3d], coarsest: int | None = None) -> list[Alignment]:
            with stopwatch("align"):
                return align(
                    pyramid,
                    chosen,
                    frame.camera,
                    starts,
                    self._extractor.learned,
                    options.alignment,
                    frame.correction,
                    coarsest=coarsest,
                    finalists=_FINALISTS,
                )

        (best,) = from_starts([cam_from_map], coarsest)
        verification = verify(best, prediction, options.verification)
        tried = 1
        if coarsest < len(pyramid) - 1 and self._is_worth_retrying(verification, best):
            (best,) = from_starts([cam_from_map])
            verification = verify(best, prediction, options.verification)
            tried += 1
        if self._is_worth_retrying(verification, best):
            spread = float(np.clip(prediction.position_std, *_SPREAD))
            others = from_starts([start.inverse() for start in starts_around(prediction.map_from_cam, spread)])
            tried += len(others)
            ended = [each for each in (best, *others) if not each.failure] or [best]
            best = max(ended, key=lambda alignment: alignment.inlier_ratio)
            verification = verify(best, prediction, options.verification)
            share = agreeing([other for other in ended if other is not best], best, options.verification)
            if not verification.reason and verification.ambiguous and share < options.verification.agreement:
                return _untracked(
                    self.state, f"in doubt: only {share:.0%} of other starts end at the same pose", best, tried
                )
        if verification.reason:
            return _untracked(self.state, verification.reason, best, tried)
        return Tracked(self.state, best.cam_from_map.inverse(), self._covariance(best), "", best, prediction, tried)

    def _pyramid(self, remembered: _Remembered, stopwatch: Stopwatch) -> FeaturePyramid:
        """Made once for each image, also where it is aligned again to catch up."""
        if remembered.pyramid is None:
            with stopwatch("features"):
                remembered.pyramid = self._extractor.extract(remembered.frame.image)
        return remembered.pyramid

    def _is_worth_retrying(self, verification: Verification, alignment: Alignment) -> bool:
        """What is in doubt. What failed not for every image, nor while tracking where nothing looks as in the map."""
        if not verification.reason:
            return verification.ambiguous
        hopeless = alignment.inlier_ratio < self.options.verification.min_inlier_ratio / 2
        return self._failures % _RETRY_EVERY == 0 and not (hopeless and self.state is TrackerState.TRACKING)

    def _conclude(self, remembered: _Remembered, tracked: Tracked) -> None:
        """What an alignment means for the state and the motion."""
        frame = remembered.frame
        if tracked.map_from_cam is not None and tracked.covariance is not None:
            remembered.map_from_cam = tracked.map_from_cam
            deviations = np.sqrt(np.diag(tracked.covariance))
            self._motion.add(
                KnownPose(
                    tracked.map_from_cam,
                    frame.stamp_ns,
                    frame.odom_from_cam,
                    float(np.linalg.norm(deviations[:3])),
                    float(np.linalg.norm(deviations[3:])),
                )
            )
            self.state, self._failures = TrackerState.TRACKING, 0
            return
        self._failures += 1
        last, silent = self._motion.last, 0.0
        if last is not None and self.state is TrackerState.TRACKING:  # else it is the localizer's, some images old
            silent = (frame.stamp_ns - last.stamp_ns) / 1e9
        if self._failures >= self.options.lost_after or silent >= self.options.lost_after_seconds:
            if self.state is TrackerState.TRACKING:
                self.state = TrackerState.LOST
            self._motion.reset()
            self._failures = 0

    def _catch_up(self, stopwatch: Stopwatch) -> None:
        """Carries a pose of an earlier image to the one before the newest, through the images between."""
        known = self._pending
        if known is None or self._submaps(known.map_from_cam) is None:
            return  # until the landmarks around it have come
        self._pending = None
        self._motion.restart(known)
        self._failures, self._conflicts = 0, 0
        later = [r for r in self._history if r.frame.stamp_ns > known.stamp_ns][:-1]
        if len(later) > self.options.catch_up:
            chosen = np.linspace(0, len(later) - 1, self.options.catch_up).round().astype(int)
            later = [later[i] for i in chosen]
        for remembered in later:
            frame = remembered.frame
            prediction = self._motion.predict(frame.stamp_ns, frame.odom_from_cam)
            if prediction is None:
                return
            tracked = self._align(remembered, prediction, stopwatch)
            if tracked.map_from_cam is not None:
                self._conclude(remembered, tracked)

    def _conflicts_with(self, map_from_cam: Rigid3d, stamp_ns: int) -> bool:
        """Whether enough priors in a row were far from where the tracker was at their time."""
        own = next((r.map_from_cam for r in self._history if r.frame.stamp_ns == stamp_ns), None)
        if own is None:
            return False
        distance, angle = pose_error(map_from_cam, own)
        apart = distance > self.options.conflict_distance or angle > self.options.conflict_angle
        self._conflicts = self._conflicts + 1 if apart else 0
        return self._conflicts >= self.options.max_conflicts

    def _odometry_at(self, stamp_ns: int) -> Rigid3d | None:
        return next((r.frame.odom_from_cam for r in self._history if r.frame.stamp_ns == stamp_ns), None)

    def _covariance(self, alignment: Alignment) -> Float64:
        options = self.options
        floor = [options.map_position_std**2] * 3 + [np.radians(options.map_rotation_std) ** 2] * 3
        return options.covariance_scale * alignment.covariance + np.diag(floor)


def _untracked(state: TrackerState, reason: str, alignment: Alignment | None = None, starts: int = 0) -> Tracked:
    return Tracked(state, None, None, reason, alignment, None, starts)
