"""Alignment of the images of one instant, with as much effort as their pose needs (PixLoc, section 3.2)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.pixloc.correction import PoseEstimate
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.frame_views import FrameViews, RememberedFrame, RollSource, SubmapSource, upright
from vizloc_ros.pixloc.motion import Prediction
from vizloc_ros.pixloc.optimizer.aligned_view import View
from vizloc_ros.pixloc.optimizer.alignment import align, align_patches
from vizloc_ros.pixloc.optimizer.pose_optimizer import Alignment
from vizloc_ros.pixloc.search import coarsest_needed, initial_poses_around
from vizloc_ros.pixloc.tracking import Tracked, TrackerOptions, TrackerState
from vizloc_ros.pixloc.verification import Verification, agreement_ratio, do_contradict, is_unlike, unlike_views, verify
from vizloc_ros.timing import Stopwatch

_MAX_CONTRADICTION = 3.0  # of a view, by its covariance with its scale; below 1 where mounts and stamps are exact
_ACCURATE = 0.5  # m; standard deviation of a prediction, up to which coarse levels that lead away from it are undone
_FINALISTS = 2  # of the other initial poses, that go on to the finest level
_SPREAD = (1.0, 2.0)  # limits of the factor on other initial poses, which is the std of the predicted position [m]
_RETRY_EVERY = 3  # failed images in a row: retries for each of them would cost the next images


@dataclass(frozen=True)
class _Query:
    """Query images of one instant with everything that their alignment needs.

    Attributes:
        views: by camera, its image with the landmarks in the predicted view; one or more.
        left_out: reason for each other camera.
        prediction: predicted pose of the rig.
        stopwatch: durations of this instant.
        state: state of the tracker before it.
        failures: failed instants in a row before it.
    """

    views: Mapping[str, View]
    left_out: Mapping[str, str]
    prediction: Prediction
    stopwatch: Stopwatch
    state: TrackerState
    failures: int

    def without(self, reasons: Mapping[str, str]) -> "_Query":
        """Query without some cameras."""
        views = {name: view for name, view in self.views.items() if name not in reasons}
        return replace(self, views=views, left_out={**self.left_out, **reasons})


@dataclass(frozen=True)
class _Attempt:
    """The best alignment of the query images so far.

    Attributes:
        query: the images that were aligned.
        alignment: alignment with the most inliers.
        verification: result of its verification.
        num_initial_poses: number of initial poses tried so far.
        scatter: (6, 6) mean square of how far the poses of the cameras alone are from it [m^2, m rad, rad^2].
    """

    query: _Query
    alignment: Alignment
    verification: Verification
    num_initial_poses: int = 1
    scatter: Float64 = field(default_factory=lambda: np.zeros((6, 6)))


class ImageAligner:
    """Aligns images from predicted poses, and verifies the result. For one thread, but for ``views.extract``.

    Attributes:
        options: options of the tracker.
        views: source of the views that are aligned.
    """

    def __init__(
        self,
        extractor: PyramidExtractor,
        submaps: SubmapSource,
        options: TrackerOptions,
        roll_of: RollSource = upright,
    ) -> None:
        """Keep the sources; see ``Tracker``."""
        self.options = options
        self.views = FrameViews(extractor, submaps, roll_of)
        self._learned = extractor.learned

    def align(
        self,
        remembered: RememberedFrame,
        prediction: Prediction,
        stopwatch: Stopwatch,
        state: TrackerState,
        failures: int = 0,
        *,
        patches_first: bool = False,
    ) -> Tracked:
        """Align the images of one instant; those of cameras that are rolled against the map as if they were upright.

        Cameras whose images do not look as in the map are left out if others do. The covariance of the result is that
        against the map, without the map's own.

        Args:
            remembered: frame; its features are kept there.
            prediction: predicted pose of the rig.
            stopwatch: durations by stage.
            state: state of the tracker before the frame, which the result has, too.
            failures: failed frames in a row before it.
            patches_first: True to save the features of a frame whose patches alone give a pose that is sure, but of the
                first one of a track, or after a failed one.
        """
        if patches_first and state is TrackerState.TRACKING and not failures:
            by_patches = self._by_patches(remembered, prediction, stopwatch, state)
            if by_patches is not None:
                return by_patches
        of_frame = self.views.of(remembered, prediction, self.options, stopwatch)
        if not of_frame.views:
            return Tracked(state, None, None, named(of_frame.left_out))
        query = _Query(of_frame.views, of_frame.left_out, of_frame.prediction, stopwatch, state, failures)
        return self._align_upright(query).turned_back(of_frame.roll)

    def _by_patches(
        self, remembered: RememberedFrame, prediction: Prediction, stopwatch: Stopwatch, state: TrackerState
    ) -> Tracked | None:
        """Return the pose of a frame by its patches alone, if that is sure.

        The patches of all its images must be there, and look as in the map.
        """
        if not self.options.alignment.fine.enabled:
            return None
        of_frame = self.views.of(remembered, prediction, self.options, stopwatch, patches_alone=True)
        views, predicted = list(of_frame.views.values()), of_frame.prediction
        if of_frame.left_out or any(view.patches is None for view in views):
            return None
        with stopwatch("align"):
            alignment = align_patches(views, predicted.map_from_cam.inverse(), self.options.alignment)
        if alignment is None:
            return None
        query = _Query(of_frame.views, {}, predicted, stopwatch, state, 0)
        attempt = _Attempt(query, alignment, self._verify(query, alignment))
        if attempt.verification.reason or attempt.verification.ambiguous:
            return None
        return replace(self._tracked(attempt), by_patches=True).turned_back(of_frame.roll)

    def _align_upright(self, query: _Query) -> Tracked:
        """Align upright images, with more effort while their pose is ambiguous or has failed.

        From the predicted pose on the levels that it needs, then on all levels, then from other initial poses.
        """
        coarsest = max(coarsest_needed(view, query.prediction) for view in query.views.values())
        attempt = self._align_from_prediction(query, coarsest)
        if coarsest < len(self._learned.dampings) - 1 and self._is_worth_retrying(attempt):
            retried = self._align_from_prediction(attempt.query)
            attempt = replace(retried, num_initial_poses=attempt.num_initial_poses + retried.num_initial_poses)
        if self._is_worth_retrying(attempt):
            attempt = self._align_from_other_initial_poses(attempt)
        return self._tracked(attempt)

    def _align_from_prediction(self, query: _Query, coarsest: int | None = None) -> _Attempt:
        """Align from the predicted pose, without the cameras that do not look as in the map, if some do.

        If none does, or if they contradict each other, each is aligned alone, see ``_compared``.
        """
        attempt = self._attempt(query, coarsest)
        unlike = self._unlike_views(attempt)
        if 0 < len(unlike) < len(query.views):
            return self._align_from_prediction(query.without(unlike), coarsest)
        if unlike or do_contradict(attempt.alignment, self._max_contradiction):
            return self._compared(attempt, coarsest)
        return attempt

    def _attempt(self, query: _Query, coarsest: int | None) -> _Attempt:
        accurate = query.prediction.position_std <= _ACCURATE
        (alignment,) = self._align_from(query, [query.prediction.map_from_cam], coarsest, accurate=accurate)
        return _Attempt(query, alignment, self._verify(query, alignment))

    def _verify(self, query: _Query, alignment: Alignment) -> Verification:
        return verify(alignment, query.prediction, self.options.verification, self._max_contradiction)

    def _compared(self, attempt: _Attempt, coarsest: int | None) -> _Attempt:
        """Attempt of several cameras after each has been aligned alone.

        If one of them alone is verified, its pose counts. If more are, and their poses are the same but for some
        centimeters, their poses on the vehicle are not exact: the pose of all counts, less certain. Else there is none.
        """
        query, options = attempt.query, self.options.verification
        alone = []
        for camera in query.views:
            others = {name: f"only {camera} alone is verified" for name in query.views if name != camera}
            alone.append(self._attempt(query.without(others), coarsest))
        verified = [each for each in alone if not each.verification.reason]
        if len(verified) == 1:
            return verified[0]
        if not verified or self._unlike_views(attempt):
            return attempt
        own = [each.alignment for each in verified]
        distances = [pose_error(one.map_from_cam, other.map_from_cam) for one, other in combinations(own, 2)]
        distance, angle = (max(values) for values in zip(*distances, strict=True))
        if distance > options.agreement_distance or angle > options.agreement_angle:
            names = " and ".join(camera for each in verified for camera in each.query.views)
            reason = (
                f"{names} alone give poses {distance:.2f} m and {angle:.1f} deg apart: if always, the pose of a camera "
                "on the vehicle is wrong, or its images are late"
            )
            return replace(attempt, verification=Verification(reason, is_settled=True))
        joint = PoseEstimate(attempt.alignment.map_from_cam, attempt.alignment.covariance)
        errors = np.array([joint.offset_to(PoseEstimate(each.map_from_cam, each.covariance)) for each in own])
        verification = verify(attempt.alignment, query.prediction, options)
        return replace(attempt, verification=verification, scatter=errors.T @ errors / len(errors))

    @property
    def _max_contradiction(self) -> float:
        return _MAX_CONTRADICTION * self.options.covariance_scale

    def _unlike_views(self, attempt: _Attempt) -> dict[str, str]:
        """Reason for each camera of a rig that does not look as in the map at the aligned pose."""
        names = list(attempt.query.views)
        unlike = unlike_views(attempt.alignment, self.options.verification)
        return {names[index]: reason for index, reason in unlike.items()}

    def _align_from_other_initial_poses(self, attempt: _Attempt) -> _Attempt:
        """Align from initial poses around the prediction, and choose the best of all alignments.

        If it is ambiguous, enough of the others must have ended at the same pose.
        """
        query, options = attempt.query, self.options.verification
        spread = float(np.clip(query.prediction.position_std, *_SPREAD))
        others = self._align_from(query, initial_poses_around(query.prediction.map_from_cam, spread))
        ended = [each for each in (attempt.alignment, *others) if not each.failure] or [attempt.alignment]
        best = max(ended, key=lambda alignment: alignment.inlier_ratio)
        verification = self._verify(query, best)
        agreement = agreement_ratio([other for other in ended if other is not best], best, options)
        if verification.ambiguous and agreement < options.agreement:
            verification = Verification(f"ambiguous: only {agreement:.0%} of other initial poses end at the same pose")
        return _Attempt(query, best, verification, attempt.num_initial_poses + len(others))

    def _align_from(
        self, query: _Query, poses: Sequence[Rigid3d], coarsest: int | None = None, *, accurate: bool = False
    ) -> list[Alignment]:
        """Align from each initial pose of the rig, from level ``coarsest`` on; from the last one by default."""
        with query.stopwatch("align"):
            return align(
                list(query.views.values()),
                [map_from_cam.inverse() for map_from_cam in poses],
                self._learned,
                self.options.alignment,
                coarsest=coarsest,
                finalists=_FINALISTS,
                accurate=accurate,
                retry=query.state is TrackerState.TRACKING,  # hypotheses of a guess, which are many, fail fast
            )

    def _is_worth_retrying(self, attempt: _Attempt) -> bool:
        """Return True for an ambiguous pose, and for every third failed image in a row, from the first on.

        While tracking, an image with hardly any inliers is not worth it: it does not show what is in the map.
        """
        if not attempt.verification.reason:
            return attempt.verification.ambiguous
        if attempt.verification.is_settled:
            return False
        query, unlike = attempt.query, is_unlike(attempt.alignment, self.options.verification)
        return query.failures % _RETRY_EVERY == 0 and not (unlike and query.state is TrackerState.TRACKING)

    def _tracked(self, attempt: _Attempt) -> Tracked:
        """Return the result of the last attempt: a pose with its covariance, or the reason why there is none."""
        query, alignment, verification = attempt.query, attempt.alignment, attempt.verification
        outcome = Tracked(
            query.state,
            None,
            None,
            verification.reason,
            alignment,
            num_initial_poses=attempt.num_initial_poses,
            left_out=dict(query.left_out),
        )
        if verification.reason:
            unlike = is_unlike(alignment, self.options.verification)
            return replace(outcome, contradicts=verification.contradicts, unlike=unlike)
        return replace(
            outcome,
            map_from_cam=alignment.map_from_cam,
            covariance=self.options.covariance_scale * alignment.covariance + attempt.scatter,
            prediction=query.prediction,
            cameras=tuple(query.views),
        )


def named(reasons: Mapping[str, str]) -> str:
    """Text of the reasons by camera; that of the only camera has no name."""
    return "; ".join(f"{camera}: {reason}" if camera else reason for camera, reason in reasons.items())
