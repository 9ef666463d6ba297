"""Pose of a camera from 2D-3D matches, and its covariance (HF-Net, section 3)."""

from dataclasses import dataclass
from math import ceil, log, log1p

import numpy as np
import pycolmap
from pycolmap import Rigid3d

from vizloc_ros.arrays import Bool, Float64, Int32
from vizloc_ros.geometry.camera import PIXEL_CENTRE, PinholeCamera
from vizloc_ros.geometry.colmap_camera import colmap_camera
from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.localization.pose_refinement import projection_jacobian, refine_absolute_pose

FEWEST_TRIALS = 30  # of RANSAC; pycolmap's 100 take twice as long, and the refinement finds the same inliers
SAMPLE = 3  # matches that fix a pose
_SHARP_RATIO = 0.5  # of the median error and the RMS, up to which matches are as independent as in sharp images
_BLURRED_RATIO = 0.75  # of these, from which the image is blurred: on map frames up to 0.71 by day and night, then 0.81


@dataclass(frozen=True)
class Matches:
    """Matches of m keypoints of a query with landmarks.

    Attributes:
        keypoints: (m,) indices of the query's keypoints.
        pixels: (m, 2) their pixels [px].
        landmark_ids: (m,) ids of the landmarks.
        positions: (m, 3) their positions in the map frame [m].
    """

    keypoints: Int32
    pixels: Float64
    landmark_ids: Int32
    positions: Float64

    def __len__(self) -> int:
        return len(self.keypoints)

    def chosen(self, mask: Bool) -> "Matches":
        """Matches for which an (m,) mask is true."""
        return Matches(self.keypoints[mask], self.pixels[mask], self.landmark_ids[mask], self.positions[mask])


@dataclass(frozen=True)
class AbsolutePose:
    """Pose of a camera and the (N,) mask of its inliers."""

    cam_from_map: Rigid3d
    inliers: Bool


def estimate_absolute_pose(
    pixels: Float64,
    positions: Float64,
    camera: PinholeCamera,
    *,
    max_error: float,
    max_trials: int,
    seed: int,
    needed: float = 0.0,
) -> AbsolutePose | None:
    """Pose of a camera from 2D-3D matches: PnP with RANSAC, then refinement on the inliers.

    Args:
        pixels: (N, 2) pixels of the keypoints; (0, 0) is the center of the top-left pixel.
        positions: (N, 3) landmark positions in the map frame [m].
        camera: camera of the query.
        max_error: maximum reprojection error of an inlier [px].
        max_trials: maximum number of RANSAC trials.
        seed: seed of RANSAC; the same matches and seed give the same pose.
        needed: number of inliers below which the pose is of no use. RANSAC ends where it would end with so many.

    Returns:
        The pose, or None if RANSAC finds none.
    """
    estimation = pycolmap.AbsolutePoseEstimationOptions()
    estimation.ransac.max_error = max_error
    if needed > 0:
        trials = trials_to_find(needed / max(len(pixels), 1), 1 - estimation.ransac.confidence)
        max_trials = min(max_trials, ceil(estimation.ransac.dyn_num_trials_multiplier * trials))
    estimation.ransac.min_num_trials = min(FEWEST_TRIALS, max_trials)
    estimation.ransac.max_num_trials = max_trials
    estimation.ransac.random_seed = seed
    answer = pycolmap.estimate_absolute_pose(pixels + PIXEL_CENTRE, positions, colmap_camera(camera), estimation)
    if answer is None:
        return None
    inliers = np.asarray(answer["inlier_mask"])
    cam_from_map = refine_absolute_pose(answer["cam_from_world"], pixels[inliers], positions[inliers], camera)
    # RANSAC's mask belongs to the pose before the refinement.
    return AbsolutePose(cam_from_map, reprojection_errors(cam_from_map, pixels, positions, camera) <= max_error)


def trials_to_find(ratio: float, missed: float) -> float:
    """Trials of RANSAC after which a pose with this inlier ratio is missed with a probability of ``missed``."""
    return log(missed) / log1p(-min(ratio**SAMPLE, 0.999))


def reprojection_errors(cam_from_map: Rigid3d, pixels: Float64, positions: Float64, camera: PinholeCamera) -> Float64:
    """Distances (N,) of (N, 2) pixels from the projections of (N, 3) positions [px], infinite behind the camera."""
    projected, in_front = camera.pixels_of(transform_points(cam_from_map, positions))
    return np.where(in_front, np.linalg.norm(projected - pixels, axis=1), np.inf)


def reprojection_jacobian(map_from_cam: Rigid3d, positions: Float64, camera: PinholeCamera) -> Float64:
    """(N, 2, 6) Jacobian of the pixels of (N, 3) positions in the map [m] by the errors of the camera's pose.

    The six errors are position p [m] and rotation phi [rad] in the map frame. Seen from the camera, a landmark moves by
    ``-R^T p`` and turns about the camera by ``-R^T phi``.
    """
    points = transform_points(map_from_cam.inverse(), positions).T
    by_motion = projection_jacobian(points[:2] / points[2], 1.0 / points[2], camera)
    by_pose = by_motion.transpose(2, 0, 1).reshape(-1, 3) @ -map_from_cam.rotation.matrix().T
    return by_pose.reshape(-1, 2, 6)


def correlation_factor(errors: Float64) -> float:
    """Factor on the covariance of a pose by how alike the errors of its matches are, from their sizes (N,) [px].

    Sharp images have many precise matches and a tail of others: the median error is 0.3 to 0.5 of the RMS. In a blurred
    image keypoints slide along the blur, many of them together, and no precise ones are left; the median is 0.8 of the
    RMS or more, as of normally distributed errors. They are worth fewer independent matches.
    """
    return max(1.0, (_median_ratio(errors) / _SHARP_RATIO) ** 4)


def are_blurred(errors: Float64, radius: float) -> bool:
    """Tell whether an image is blurred: the errors (N,) of its inliers are above a radius [px] and much alike."""
    return bool(np.sqrt(np.square(errors).mean()) > radius) and _median_ratio(errors) > _BLURRED_RATIO


def _median_ratio(errors: Float64) -> float:
    """Median of (N,) errors as a ratio of their RMS; 0 if there are none."""
    rms = float(np.sqrt(np.square(errors).mean()))
    if not rms > 0:
        return 0.0
    in_order, count = np.sort(errors), len(errors)  # NumPy's median takes four times as long for so few
    return 0.5 * float(in_order[(count - 1) // 2] + in_order[count // 2]) / rms


def pose_covariance(
    map_from_cam: Rigid3d, positions: Float64, pixels: Float64, camera: PinholeCamera, pixel_sigma: float
) -> tuple[Float64, float]:
    """(6, 6) covariance of a pose from its inliers [m^2, rad^2], and their RMS reprojection error [px].

    Args:
        map_from_cam: refined pose of the camera in the map.
        positions: (N, 3) positions of the inlier landmarks in the map frame, N >= 4 [m].
        pixels: (N, 2) pixels of their keypoints.
        camera: camera of the query.
        pixel_sigma: minimum standard deviation of a pixel coordinate [px].

    Raises:
        numpy.linalg.LinAlgError: the landmarks do not constrain all six degrees of freedom.
    """
    projected, _ = camera.pixels_of(transform_points(map_from_cam.inverse(), positions))
    squared = float(((projected - pixels) ** 2).sum())
    variance = max(squared / max(2 * len(positions) - 6, 1), pixel_sigma**2)
    jacobian = reprojection_jacobian(map_from_cam, positions, camera).reshape(-1, 6)
    covariance = variance * np.linalg.inv(jacobian.T @ jacobian)
    if not np.isfinite(covariance).all():
        raise np.linalg.LinAlgError("the covariance is not finite")
    return 0.5 * (covariance + covariance.T), float(np.sqrt(squared / len(positions)))
