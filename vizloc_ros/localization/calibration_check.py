"""Check of a calibration against the map: focal length and principal point that the localizer's inliers fit best.

A calibration that is off by some percent still gives poses, which are wrong by meters: too short a focal length places
the camera too near. A motion of the camera explains most of the error, so one image tells of gross ones only. Small
ones need many images of different places that agree.
"""

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import Bool, Float64
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera, shift_jacobian
from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.localization.outcome import LocalizedPose
from vizloc_ros.localization.pose_refinement import projection_jacobian

_LOSS_PX = 1.5  # scale of the Cauchy loss
_STEPS = 15
_SMALL_STEP = 1e-5  # of the pose [m, rad], the focal length and the principal point [px]
_FEWEST_MATCHES = 40
_MAX_STD = 0.01  # of an estimate, as a ratio of the focal length; weaker ones tell nothing
_CORRELATION = 2.0  # factor on its standard deviation: errors of matches are correlated
_APART = 0.5  # m between the cameras of two estimates: images of a camera at rest share their errors
_ESTIMATES, _FEWEST_ESTIMATES = 40, 10
_MAX_DEVIATION = 0.01  # of the focal length
_CONFIRMATIONS = 5  # estimates that must agree with a calibration that has changed
_MIN_ERROR = 0.001  # of the median: errors that all estimates share
_DRIFT = 0.002  # of the width; cameras that focus by themselves send slightly different values
_SIGMAS = 4.0  # of the median, by which a deviation must exceed zero
_SINGLE_SIGMAS = 3.0  # of a single estimate, by which it must exceed the deviation that is allowed
_MAX_SINGLE_DEVIATION = 0.0125  # of the focal length, in one image: a map is not everywhere as exact as in the mean
_SCALE = np.array([1.0, 1.0, 1.0, 3.0])  # of what is allowed: a rolling shutter shears the images in every turn
_MAJORITY_OF = 3  # estimates
_CALM = 3  # estimates that must confirm a calibration after the last one that did not agree with it
_CONFIRMING_STD = 0.004  # of the focal length, in one image; all clear images of training worlds were below
_CONFIRMING_DEVIATION = 0.5 * _MAX_SINGLE_DEVIATION  # and a standard deviation
_UNSUSPICIOUS, _MOST_POSES = 3, 10  # poses after which it is believed unconfirmed: some views never tell
_UNKNOWN = "no image tells yet whether the calibration fits: waits for one with near and far things"


@dataclass(frozen=True)
class IntrinsicsFit:
    """Calibration that fits the inliers of one image, relative to that of the camera.

    Attributes:
        deviation: (4,) errors of the focal length, cx and cy, as ratios of the focal length; shear, columns per row.
        std: (4,) standard deviations of these.
    """

    deviation: Float64
    std: Float64


def fit_intrinsics(
    cam_from_map: Rigid3d, pixels: Float64, positions: Float64, camera: PinholeCamera
) -> IntrinsicsFit | None:
    """Fit pose, focal length, principal point and shear to the inliers of an image.

    Args:
        cam_from_map: verified pose.
        pixels: (N, 2) pixels of the keypoints.
        positions: (N, 3) landmark positions in the map frame [m].
        camera: camera of the image.

    Returns:
        The fit; None if the inliers do not fix it.
    """
    in_front = transform_points(cam_from_map, positions)[:, 2] > 0
    pixels, positions = pixels[in_front], positions[in_front]
    if len(positions) < _FEWEST_MATCHES:
        return None
    pose, intrinsics = cam_from_map, np.zeros(4)  # relative focal length, cx [px], cy [px], shear
    for _ in range(_STEPS):
        points = transform_points(pose, positions).T
        if not (points[2] > 0).all():
            return None
        rays = (points[:2] / points[2]).T
        at = rays * [camera.fx, camera.fy] + [camera.cx, camera.cy]
        by_shear = (at[:, 1] - camera.cy)[:, None] * [1.0, 0.0]
        by_intrinsics = np.concatenate([shift_jacobian(at, camera)[:, :, :3], by_shear[:, :, None]], axis=2)
        errors = at + IntrinsicsCorrection(*intrinsics[:3]).shift(at, camera) + intrinsics[3] * by_shear - pixels
        by_column, by_row = projection_jacobian(rays.T, 1 / points[2], camera)
        by_pose = (1 + intrinsics[0]) * np.stack([by_column.T, by_row.T], axis=1)
        jacobian = np.concatenate([by_pose, by_intrinsics], axis=2)
        squared = np.square(errors).sum(axis=1)
        weights = 1 / (1 + squared / _LOSS_PX**2)
        normal = np.einsum("n,nki,nkj->ij", weights, jacobian, jacobian)
        gradient = np.einsum("n,nki,nk->i", weights, jacobian, errors)
        try:
            step = np.linalg.solve(normal + 1e-9 * np.diag(np.diag(normal)), -gradient)
        except np.linalg.LinAlgError:
            return None
        pose = Rigid3d(Rotation3d(step[3:6]), step[:3]) * pose
        intrinsics = intrinsics + step[6:]
        if np.abs(step).max() < _SMALL_STEP:
            break
        if not np.isfinite(intrinsics).all() or abs(intrinsics[0]) > 0.5:
            return None
    variance = (weights * squared).sum() / max(2 * weights.sum() - 10, 1)
    ratio = np.array([1.0, 1 / camera.fx, 1 / camera.fy, 1.0])
    std = np.sqrt(np.maximum(np.diag(variance * np.linalg.inv(normal))[6:], 0.0)) * ratio
    return IntrinsicsFit(intrinsics * ratio, _CORRELATION * std)


class CalibrationCheck:
    """Comparison of one camera's calibration with those that fit its images, over many images. For one thread.

    Attributes:
        problem: reason why poses are not to be trusted; empty while the calibration fits, or nothing is known yet.
    """

    def __init__(self) -> None:
        self.problem = ""
        self._camera: PinholeCamera | None = None
        self._unconfirmed = False
        self._is_known, self._poses, self._unsuspicious = False, 0, 0  # whether an image has confirmed the calibration
        self._fits: deque[IntrinsicsFit] = deque(maxlen=_ESTIMATES)
        self._last_center: Float64 | None = None

    def check(self, camera: PinholeCamera, keypoints: NDArray[np.floating], pose: LocalizedPose | None) -> str:
        """Take the next image, in order of time, and return the reason why its pose is not to be trusted, or empty.

        Args:
            camera: its camera.
            keypoints: (K, 2) keypoints that the pose was found with [px].
            pose: its verified pose; None without one.
        """
        self.begin_image(camera)
        if pose is not None:
            self.add(pose.map_from_cam, keypoints[pose.keypoints].astype(np.float64), pose.positions)
            self._poses += 1
            self._is_known |= self._poses >= _MOST_POSES or self._unsuspicious >= _UNSUSPICIOUS
        return self.problem or (self.waits if pose is not None else "")

    @property
    def waits(self) -> str:
        """Reason why poses wait, though nothing speaks against the calibration: no image tells yet; empty for none."""
        return "" if self.problem or self._is_known else _UNKNOWN

    def begin_image(self, camera: PinholeCamera) -> None:
        """Note the camera of the next image. One that has changed must be confirmed by images before it is trusted."""
        if self._camera is not None and not camera.is_near(self._camera, _DRIFT * self._camera.width):
            self._fits.clear()
            self._unconfirmed = True
            self.problem = "the calibration has changed: no pose until images confirm it"
        self._camera = camera

    def add(self, map_from_cam: Rigid3d, pixels: Float64, positions: Float64) -> None:
        """Take the inliers of a verified pose of the image: (N, 2) pixels and (N, 3) landmark positions [m, map]."""
        center = np.asarray(map_from_cam.translation)
        apart = self._last_center is None or np.linalg.norm(center - self._last_center) >= _APART
        if self._camera is None or not (apart or self.problem):
            return
        fit = fit_intrinsics(map_from_cam.inverse(), pixels, positions, self._camera)
        if fit is None:
            self._unsuspicious += len(positions) < _FEWEST_MATCHES
        else:
            self._unsuspicious += bool((np.abs(fit.deviation) <= _SCALE * _MAX_SINGLE_DEVIATION).all())
            self._is_known |= _confirms(fit)
        if fit is None or not (_is_exact(fit) or _beyond(fit, _MAX_SINGLE_DEVIATION).any()):
            return
        self._last_center = center
        self._fits.append(fit)
        self._judge(self._camera)

    def _judge(self, camera: PinholeCamera) -> None:
        """Set ``problem`` from the newest estimate, from the majority of the last ones, or from the median of all."""
        deviations = np.array([fit.deviation for fit in self._fits])
        newest = _beyond(self._fits[-1], _MAX_SINGLE_DEVIATION)
        if newest.any():
            self._report(camera, deviations[-1], newest)
            return
        beyond = np.array([_beyond(fit, _MAX_DEVIATION) for fit in list(self._fits)[-_FEWEST_ESTIMATES:]])
        off = np.asarray(beyond.any(axis=1))
        persists = off.mean() >= 0.5 or not self._is_calm(off)
        if persists if self.problem else len(off) >= _MAJORITY_OF and off.mean() > 0.5:
            self._report(camera, np.median(deviations[-len(off) :][off], axis=0), np.asarray(beyond[off].any(axis=0)))
            return
        count = len(deviations)
        if count < (_CONFIRMATIONS if self._unconfirmed else _FEWEST_ESTIMATES):
            self.problem = self.problem if self._unconfirmed else ""
            return
        median = np.median(deviations, axis=0)
        spread = 1.4826 * np.median(np.abs(deviations - median), axis=0)
        error = _SIGMAS * np.maximum(1.2533 * spread / np.sqrt(count), _MIN_ERROR)
        wrong = (np.abs(median) > _SCALE * _MAX_DEVIATION) & (np.abs(median) > error)
        if wrong.any():
            self._report(camera, median, wrong)
        else:
            self.problem, self._unconfirmed = "", False

    def _is_calm(self, off: Bool) -> bool:
        """Tell whether enough images confirm the calibration since the last of the estimates ``off``.

        Others tell little: the inliers of a wrong pose are those that fit the wrong calibration.
        """
        if not off.any():
            return True
        since = list(self._fits)[len(self._fits) - int(np.argmax(off[::-1])) :]
        return sum(map(_confirms, since)) >= _CALM

    def _report(self, camera: PinholeCamera, deviation: Float64, wrong: Bool) -> None:
        fitting = (
            camera.fx * (1 + deviation[0]),
            camera.cx + deviation[1] * camera.fx,
            camera.cy + deviation[2] * camera.fy,
        )
        named = ("fx", "cx", "cy"), (camera.fx, camera.cx, camera.cy), fitting, wrong[:3]
        parts = [
            f"it says {name} {value:.1f} px, where the images fit {fits:.1f} px"
            for name, value, fits, is_wrong in zip(*named, strict=True)
            if is_wrong
        ]
        if wrong[3]:
            parts.append(f"the images are sheared by {deviation[3]:.0%}, as by a slow shutter in a turn")
        self.problem = f"the calibration does not fit the map: {', '.join(parts)}: calibrate the camera again"


def _is_exact(fit: IntrinsicsFit) -> bool:
    return bool(fit.std[0] <= max(_MAX_STD, abs(fit.deviation[0]) / _SIGMAS))


def _confirms(fit: IntrinsicsFit) -> bool:
    """Tell whether an estimate is exact, and far enough from what is allowed, to confirm a calibration alone."""
    near = np.abs(fit.deviation) <= _SCALE * _CONFIRMING_DEVIATION + fit.std
    return bool(fit.std[0] <= _CONFIRMING_STD and near.all())


def _beyond(fit: IntrinsicsFit, allowed: float) -> Bool:
    """Mask (4,) of the values that the estimate of one image alone proves to be off by more than is allowed."""
    limit = _SCALE * allowed + _SINGLE_SIGMAS * np.maximum(fit.std, _MIN_ERROR)
    return np.asarray(np.abs(fit.deviation) > limit)
