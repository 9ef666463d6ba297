"""Alignment of one image of a drive, with as much effort as its pose needs (PixLoc, section 3.2)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64, UInt8
from vizloc_ros.geometry.quarter_turns import Roll
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.motion import Prediction
from vizloc_ros.pixloc.optimizer.alignment import align
from vizloc_ros.pixloc.optimizer.pose_optimizer import Alignment
from vizloc_ros.pixloc.pyramid import FeaturePyramid
from vizloc_ros.pixloc.references import References
from vizloc_ros.pixloc.search import coarsest_needed, initial_poses_around
from vizloc_ros.pixloc.submap import in_view
from vizloc_ros.pixloc.tracking import Frame, Tracked, TrackerOptions, TrackerState
from vizloc_ros.pixloc.verification import Verification, agreement_ratio, is_unlike, verify
from vizloc_ros.timing import Stopwatch

_FINALISTS = 2  # of the other initial poses, that go on to the finest level
_SPREAD = (1.0, 2.0)  # limits of the factor on other initial poses, which is the std of the predicted position [m]
_RETRY_EVERY = 3  # failed images in a row: retries for each of them would cost the next images


SubmapSource = Callable[[Rigid3d], References | None]
"""Function that returns the reference features around a pose map_from_cam, or None if there are none (yet)."""
RollSource = Callable[[Rigid3d], Roll]
"""Function that returns the roll of a camera at a pose map_from_cam against the map's images."""


def upright(_map_from_cam: Rigid3d) -> Roll:
    """``RollSource`` of a camera that is as the map's."""
    return Roll.NONE


@dataclass(frozen=True)
class UprightFeatures:
    """Features of an image that was turned upright.

    Attributes:
        pyramid: the features.
        roll: roll of the camera for which they were extracted.
    """

    pyramid: FeaturePyramid
    roll: Roll


@dataclass
class RememberedFrame:
    """A frame of the recent past.

    Attributes:
        frame: image with its camera and time.
        features: features of the upright image, once they were extracted.
        map_from_cam: accepted pose, if there is one.
        covariance: (6, 6) covariance of its alignment [m^2, m rad, rad^2], if it was aligned.
    """

    frame: Frame
    features: UprightFeatures | None = None
    map_from_cam: Rigid3d | None = None
    covariance: Float64 | None = None


@dataclass(frozen=True)
class _Query:
    """A query image with everything that its alignment needs.

    Attributes:
        frame: image with its camera.
        pyramid: features of the image.
        references: reference features of the landmarks in the predicted view.
        prediction: predicted pose.
        stopwatch: durations of this image.
        state: state of the tracker before the image.
        failures: failed images in a row before it.
    """

    frame: Frame
    pyramid: FeaturePyramid
    references: References
    prediction: Prediction
    stopwatch: Stopwatch
    state: TrackerState
    failures: int


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


class ImageAligner:
    """Aligns images from predicted poses, and verifies the result. Must be used by one thread only."""

    def __init__(
        self,
        extractor: PyramidExtractor,
        submaps: SubmapSource,
        options: TrackerOptions,
        roll_of: RollSource = upright,
    ) -> None:
        """Keep the sources; see ``Tracker``."""
        self.options = options
        self.submaps = submaps
        self._extractor, self._roll_of = extractor, roll_of
        self._roll = Roll.NONE  # of the last image

    def align(
        self,
        remembered: RememberedFrame,
        prediction: Prediction,
        stopwatch: Stopwatch,
        state: TrackerState,
        failures: int = 0,
    ) -> Tracked:
        """Align one image; that of a camera that is rolled against the map as if the camera were upright.

        The covariance of the result is that against the map, without the map's own.

        Args:
            remembered: frame; its features are kept there.
            prediction: predicted pose of its camera.
            stopwatch: durations by stage.
            state: state of the tracker before the image, which the result has, too.
            failures: failed images in a row before it.
        """
        roll = self._roll = self._roll_of(prediction.map_from_cam)
        frame = remembered.frame.upright(roll)
        predicted = prediction if roll is Roll.NONE else prediction.moved(roll.inverse.upright_from_cam)
        submap = self.submaps(predicted.map_from_cam)
        if submap is None:
            return Tracked(state, None, None, "the map has no landmarks around the predicted pose")
        cam_from_map = predicted.map_from_cam.inverse()
        references = in_view(submap, cam_from_map, frame.camera, frame.correction, self.options.max_landmarks)
        if len(references) < self.options.alignment.min_landmarks:
            reason = f"only {len(references)} landmarks where the camera is predicted to look"
            return Tracked(state, None, None, reason)
        pyramid = self._pyramid(remembered, roll, frame, stopwatch)
        query = _Query(frame, pyramid, references, predicted, stopwatch, state, failures)
        return self._align_upright(query).turned_back(roll)

    def _align_upright(self, query: _Query) -> Tracked:
        """Align one upright image, with more effort while its pose is ambiguous or has failed.

        From the predicted pose on the levels that it needs, then on all levels, then from other initial poses.
        """
        coarsest = coarsest_needed(query.pyramid, query.references, query.frame.camera, query.prediction)
        attempt = self._align_from_prediction(query, coarsest)
        if coarsest < len(query.pyramid) - 1 and self._is_worth_retrying(query, attempt):
            attempt = self._retry_all_levels(query, attempt)
        if self._is_worth_retrying(query, attempt):
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

    def _is_worth_retrying(self, query: _Query, attempt: _Attempt) -> bool:
        """Return True for an ambiguous pose, and for every third failed image in a row, from the first on.

        While tracking, an image with hardly any inliers is not worth it: it does not show what is in the map.
        """
        if not attempt.verification.reason:
            return attempt.verification.ambiguous
        unlike = is_unlike(attempt.alignment, self.options.verification)
        return query.failures % _RETRY_EVERY == 0 and not (unlike and query.state is TrackerState.TRACKING)

    def _tracked(self, query: _Query, attempt: _Attempt) -> Tracked:
        """Return the result of the last attempt: a pose with its covariance, or the reason why there is none."""
        alignment, verification = attempt.alignment, attempt.verification
        if verification.reason:
            return Tracked(
                query.state,
                None,
                None,
                verification.reason,
                alignment,
                num_initial_poses=attempt.num_initial_poses,
                contradicts=verification.contradicts,
                unlike=is_unlike(alignment, self.options.verification),
            )
        return Tracked(
            query.state,
            alignment.cam_from_map.inverse(),
            self.options.covariance_scale * alignment.covariance,
            "",
            alignment,
            query.prediction,
            attempt.num_initial_poses,
        )

    def extract(self, image: UInt8) -> UprightFeatures:
        """Extract the features of an (H, W) image whose camera is rolled as for the last one. For any thread."""
        roll = self._roll
        return UprightFeatures(self._extractor.extract(roll.turn_image(image)), roll)

    def _pyramid(
        self, remembered: RememberedFrame, roll: Roll, upright_frame: Frame, stopwatch: Stopwatch
    ) -> FeaturePyramid:
        """Return the features of an upright image; extracted once, also if it is aligned again to catch up."""
        if remembered.features is None or remembered.features.roll is not roll:
            with stopwatch("features"):
                remembered.features = UprightFeatures(self._extractor.extract(upright_frame.image), roll)
        return remembered.features.pyramid
