"""The pose of a query among places: matching, PnP with RANSAC, verification (HF-Net, sections 3 and 5.2).

The localizer runs this half of the localization, and the map server ``places``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pycolmap
from pycolmap import Rigid3d

from vizloc_ros.arrays import Bool, Float64, Int8, Int32
from vizloc_ros.features.types import Features, dequantize
from vizloc_ros.geometry.camera import PIXEL_CENTRE, PinholeCamera
from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.localization.localization_options import PoseOptions
from vizloc_ros.localization.places import Place
from vizloc_ros.mapping.triangulation import colmap_camera
from vizloc_ros.timing import Stopwatch


def match_to_place(descriptors: Int8, place: Place, ratio: float) -> tuple[Int32, Int32]:
    """Nearest observation of every query keypoint, if it is distinctive.

    One matrix product of (N, D) by (D, M) gives all distances ``2 - 2 similarity``. A match is accepted if the nearest
    is clearly nearer than the second, ``d1^2 <= ratio^2 d2^2``, or if both are observations of the same landmark. Of
    several keypoints that match one landmark the most similar stays, so that no landmark counts twice.

    Returns:
        (m,) query keypoints and (m,) rows of the place.
    """
    if len(descriptors) == 0 or len(place.landmarks) < 2:
        return np.zeros(0, np.int32), np.zeros(0, np.int32)
    similarity = dequantize(descriptors) @ dequantize(place.descriptors).T
    rows = np.arange(len(descriptors))
    nearest = similarity.argmax(axis=1)
    best = similarity[rows, nearest]
    similarity[rows, nearest] = -np.inf
    second = similarity.argmax(axis=1)
    same = place.landmarks[nearest] == place.landmarks[second]
    distinct = (1 - best) <= ratio**2 * (1 - similarity[rows, second])
    query = np.flatnonzero(same | distinct)
    query = query[np.argsort(-best[query], kind="stable")]
    _, first = np.unique(place.landmarks[nearest[query]], return_index=True)
    query = query[np.sort(first)]
    return query.astype(np.int32), nearest[query].astype(np.int32)


@dataclass(frozen=True)
class AbsolutePose:
    """A pose and the (N,) mask of the matches that agree with it."""

    cam_from_map: Rigid3d
    inliers: Bool


def estimate_absolute_pose(
    pixels: Float64, points: Float64, camera: PinholeCamera, *, max_error: float, max_trials: int, seed: int
) -> AbsolutePose | None:
    """Pose of a camera that sees (N, 3) points [m, world] at (N, 2) pixels, robust against wrong matches.

    Args:
        pixels: (0, 0) at the centre of the top-left pixel.
        points: of the same length.
        camera: the pinhole camera.
        max_error: largest reprojection error of an inlier [px].
        max_trials: of RANSAC.
        seed: the same matches and seed give the same pose.

    Returns:
        None when no pose has support.
    """
    estimation = pycolmap.AbsolutePoseEstimationOptions()
    estimation.ransac.max_error = max_error
    estimation.ransac.max_num_trials = max_trials
    estimation.ransac.random_seed = seed
    answer = pycolmap.estimate_and_refine_absolute_pose(
        pixels + PIXEL_CENTRE, points, colmap_camera(camera), estimation, pycolmap.AbsolutePoseRefinementOptions()
    )
    if answer is None:
        return None
    cam_from_map = answer["cam_from_world"]
    # RANSAC's own mask is of the pose before the refinement.
    points_cam = transform_points(cam_from_map, points)
    errors = np.linalg.norm(camera.project(points_cam)[0] - pixels, axis=1)
    return AbsolutePose(cam_from_map, (errors <= max_error) & (points_cam[:, 2] > 0))


def reprojection_jacobian(map_from_cam: Rigid3d, points: Float64, camera: PinholeCamera) -> Float64:
    """Derivative (N, 2, 6) of the pixels of (N, 3) world points by the six errors of the camera's pose.

    With ``x_cam = R^T (X - p)``: ``d x_cam / dp = -R^T`` and ``d x_cam / dphi = R^T [X - p]x``.
    """
    rotation = map_from_cam.rotation.matrix()
    by_point = camera.projection_jacobian(transform_points(map_from_cam.inverse(), points)) @ rotation.T
    lever = points - map_from_cam.translation
    by_rotation = np.cross(by_point, lever[:, None, :])
    return np.concatenate([-by_point, by_rotation], axis=2)


def pose_covariance(
    map_from_cam: Rigid3d, points: Float64, pixels: Float64, camera: PinholeCamera, pixel_sigma: float
) -> tuple[Float64, float]:
    """(6, 6) covariance of a pose from its inliers, and their RMS reprojection error [px].

    Args:
        map_from_cam: the pose at the optimum.
        points: (N, 3) inlier landmarks, N >= 4 [m].
        pixels: (N, 2) where they were seen.
        camera: the camera.
        pixel_sigma: the standard deviation of a pixel coordinate is taken to be at least this.

    Raises:
        numpy.linalg.LinAlgError: the landmarks do not fix the pose.
    """
    projected, _ = camera.project(transform_points(map_from_cam.inverse(), points))
    squared = float(((projected - pixels) ** 2).sum())
    variance = max(squared / max(2 * len(points) - 6, 1), pixel_sigma**2)
    jacobian = reprojection_jacobian(map_from_cam, points, camera).reshape(-1, 6)
    covariance = variance * np.linalg.inv(jacobian.T @ jacobian)
    return 0.5 * (covariance + covariance.T), float(np.sqrt(squared / len(points)))


@dataclass(frozen=True)
class LocalizedPose:
    """A pose that passed verification.

    Attributes:
        map_from_cam: pose of the camera's optical frame in the map.
        covariance: (6, 6) [x y z, rotation about fixed x y z] in the map frame [m^2, rad^2].
        keypoints: (n,) inlier keypoints of the query.
        landmarks: (n,) the landmarks that they see.
        points: (n, 3) their positions [m].
        rejected: (m - n,) keypoints whose matches do not agree with the pose.
        reprojection_rms: [px].
        place: index of the place in the candidates.
    """

    map_from_cam: Rigid3d
    covariance: Float64
    keypoints: Int32
    landmarks: Int32
    points: Float64
    rejected: Int32
    reprojection_rms: float
    place: int


@dataclass(frozen=True)
class Localization:
    """The outcome for one query: a pose, or the reason why there is none."""

    pose: LocalizedPose | None
    reason: str
    matches: int
    inliers: int
    timings_ms: dict[str, float] = field(default_factory=dict)


class PoseSolver:
    """Finds and verifies the pose of a query among places."""

    def __init__(self, options: PoseOptions | None = None) -> None:
        self.options = options or PoseOptions()

    def solve(
        self, features: Features, places: Sequence[Place], camera: PinholeCamera, stopwatch: Stopwatch | None = None
    ) -> Localization:
        """Tries place after place, best first, and returns the first pose that is sure, or the best of all.

        HF-Net takes the first that verifies. Facades that look alike verify too, with few inliers among many matches.
        The best keypoints are tried alone first: mostly they are enough, and matching costs as many times less.

        Never returns a pose that did not verify: without one, the reason of the place that came closest is given.
        """
        stopwatch = stopwatch or Stopwatch()
        if len(features) < self.options.min_inliers:
            needed = self.options.min_inliers
            return _failure(f"only {len(features)} keypoints in the image, {needed} are needed", stopwatch)
        if not places:
            return _failure("no place was retrieved", stopwatch)
        options, first = self.options, self.options.places == "first"
        if first and len(features) > options.first_keypoints:
            few = features.best(options.first_keypoints)
            for outcome in self._outcomes(few, places, camera, stopwatch):
                if self._is_confident(outcome):
                    if outcome.inliers >= options.enough_inliers:
                        return outcome
                    break
        outcomes = []
        for outcome in self._outcomes(features, places, camera, stopwatch):
            outcomes.append(outcome)
            if first and self._is_confident(outcome):
                break
        return max(outcomes, key=_rank)

    def _outcomes(
        self, features: Features, places: Sequence[Place], camera: PinholeCamera, stopwatch: Stopwatch
    ) -> Iterator[Localization]:
        for index, place in enumerate(places):
            yield self._solve_in_place(index, features, place, camera, stopwatch)

    def _is_confident(self, outcome: Localization) -> bool:
        return outcome.pose is not None and outcome.inliers >= self.options.confident_inlier_ratio * outcome.matches

    def _solve_in_place(
        self, index: int, features: Features, place: Place, camera: PinholeCamera, stopwatch: Stopwatch
    ) -> Localization:
        options = self.options
        with stopwatch("match"):
            keypoints, rows = match_to_place(features.descriptors, place, options.ratio)
        matches = len(keypoints)
        if matches < options.min_inliers:
            return _failure(f"only {matches} matches, {options.min_inliers} are needed", stopwatch, matches)
        pixels = features.keypoints[keypoints].astype(np.float64)
        points = place.positions[rows].astype(np.float64)
        with stopwatch("pose"):
            estimate = estimate_absolute_pose(
                pixels,
                points,
                camera,
                max_error=options.max_reprojection_error,
                max_trials=options.max_trials,
                seed=options.seed,
            )
        if estimate is None:
            return _failure(f"no pose is supported by the {matches} matches", stopwatch, matches)
        inlier, map_from_cam = estimate.inliers, estimate.cam_from_map.inverse()
        inliers = int(inlier.sum())
        if inliers < options.min_inliers:
            return _failure(f"only {inliers} inliers, {options.min_inliers} are needed", stopwatch, matches, inliers)
        if inliers < options.min_inlier_ratio * matches:
            return _failure(
                f"only {inliers} of {matches} matches are inliers, {options.min_inlier_ratio:.0%} are needed",
                stopwatch,
                matches,
                inliers,
            )
        try:
            covariance, rms = pose_covariance(map_from_cam, points[inlier], pixels[inlier], camera, options.pixel_sigma)
            covariance = options.covariance_scale * covariance + options.map_covariance
            std = position_std(covariance)
        except np.linalg.LinAlgError:
            return _failure(f"the {inliers} inliers do not fix the pose", stopwatch, matches, inliers)
        if not std <= options.max_position_std:
            return _failure(
                f"the position is uncertain by {std:.2g} m, at most {options.max_position_std:g} m is accepted",
                stopwatch,
                matches,
                inliers,
            )
        pose = LocalizedPose(
            map_from_cam,
            covariance,
            keypoints[inlier],
            place.landmarks[rows[inlier]],
            points[inlier],
            keypoints[~inlier],
            rms,
            index,
        )
        return Localization(pose, "", matches, inliers, stopwatch.milliseconds)


def position_std(covariance: Float64) -> float:
    """Standard deviation [m] of a position in its most uncertain direction, of a (6, 6) covariance."""
    return float(np.sqrt(np.linalg.eigvalsh(covariance[:3, :3])[-1]))


def _failure(reason: str, stopwatch: Stopwatch, matches: int = 0, inliers: int = 0) -> Localization:
    return Localization(None, reason, matches, inliers, stopwatch.milliseconds)


def _rank(outcome: Localization) -> tuple[bool, int, int]:
    return outcome.pose is not None, outcome.inliers, outcome.matches
