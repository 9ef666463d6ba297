"""Offset between the clocks of poses and images: that at which the rotations of both agree.

Points are tracked from each image to the next one. They give the rotation of the camera between both, whatever its way.
The offset is that at which the trajectory rotates the same, over all pairs of images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from pycolmap import Rigid3d
from scipy.spatial.transform import Rotation

from vizloc_ros.arrays import Float64, UInt8
from vizloc_ros.bags.bag_camera import BagCamera
from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import BagError, CameraError, ImageError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.timing import NANOSECONDS

LARGEST = 0.5  # s; offsets that are looked for, in both directions
_STEP = 0.02  # s; between the offsets that are tried first
_PAIRS, _FEWEST_PAIRS = 300, 10  # of images: those where the rotation changes most tell the offset
_LONGEST_PAIR = 0.5  # s; tracks are lost in longer ones
_LARGEST_STD = 0.01  # s
_SIDE = 640  # px; more does not make it better
_POINTS, _FEWEST_POINTS = 400, 30
_RETURN_PX, _EPIPOLAR_PX = 0.5, 0.7


@dataclass(frozen=True)
class ClockOffset:
    """Offset between clocks.

    Attributes:
        seconds: time by which poses are stamped later than images of the same moment [s].
        std: its standard deviation [s].
        pairs: number of pairs of images that it comes from.
    """

    seconds: float
    std: float
    pairs: int

    @property
    def description(self) -> str:
        """Text for the user."""
        side = "later" if self.seconds >= 0 else "earlier"
        return (
            f"time_offset={self.seconds:.3f}: poses are stamped {1000 * abs(self.seconds):.0f} ms {side} than images "
            f"(standard deviation {1000 * self.std:.1f} ms, from {self.pairs} pairs of images)"
        )


def estimate_offset(camera: BagCamera) -> ClockOffset:
    """Estimate the offset of a camera with poses, up to half a second.

    Raises:
        BagError: there are too few images with poses, or the vehicle rotates too evenly to tell the offset.
    """
    pairs = _telling_pairs(camera)
    found: list[tuple[Record, Record, Float64]] = []
    last: tuple[int, UInt8, PinholeCamera] | None = None
    for before, after in pairs:
        try:
            first = last if last is not None and last[0] == before.timestamp_ns else _small_image(before)
            last = _small_image(after)
        except (CameraError, ImageError):
            last = None
            continue
        rotation = rotation_between(first[1], last[1], first[2])
        if rotation is not None and first[2] == last[2]:
            found.append((before, after, rotation))
    if len(found) < _FEWEST_PAIRS:
        raise BagError(
            f"{camera.bag}: {len(found)} pairs of images have poses {LARGEST:g} s around them and points in common, "
            f"too few to tell the --time-offset (at least {_FEWEST_PAIRS}): give it in seconds"
        )
    seen = np.array([rotation for _, _, rotation in found])

    def residuals(offset: float) -> Float64:
        turned = _turned(camera.pose_at, [(before, after) for before, after, _ in found], offset)
        differences: Float64 = seen - turned
        return differences

    offset, std = _best(residuals)
    if std > _LARGEST_STD or abs(offset) > LARGEST - _STEP:
        raise BagError(
            f"{camera.bag}: the --time-offset cannot be told (standard deviation {std:.3f} s at {offset:.3f} s): the "
            "camera hardly turns, or evenly, or its poses do not turn as it does. Drive curves, or give it in seconds"
        )
    return ClockOffset(offset, std, len(found))


def _best(residuals: Callable[[float], Float64]) -> tuple[float, float]:
    """Offset with the smallest residuals, and its standard deviation [s].

    Args:
        residuals: function of an offset [s] that returns (N, 3) differences of rotations [rad].
    """
    from scipy.optimize import minimize_scalar  # slow to import, and hardly any command needs it

    coarse = np.arange(-LARGEST, LARGEST + _STEP / 2, _STEP)
    start = float(coarse[int(np.argmin([np.linalg.norm(residuals(offset), axis=1).mean() for offset in coarse]))])
    scale = max(1.5 * float(np.median(np.linalg.norm(residuals(start), axis=1))), 1e-5)

    def cost(offset: float) -> float:
        return float(
            np.log1p(np.sum(np.square(residuals(offset) / scale), axis=1)).sum()
        )  # Cauchy's: outliers count less

    bounds = (start - 1.5 * _STEP, start + 1.5 * _STEP)
    best = float(minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": 1e-4}).x)
    at_best = residuals(best)
    slopes = (residuals(best + _STEP) - residuals(best - _STEP)) / (2 * _STEP)
    weights = 1 / (1 + np.sum(np.square(at_best / scale), axis=1))
    information = float(weights @ np.sum(np.square(slopes), axis=1))
    variance = float(weights @ np.sum(np.square(at_best), axis=1)) / (3 * float(weights.sum()))
    return best, float(np.sqrt(variance / information)) if information > 0 else float("inf")


def _telling_pairs(camera: BagCamera) -> list[tuple[Record, Record]]:
    """Pairs of images in order of time, those where the rotation of the trajectory changes most."""
    pairs = [
        (before, after)
        for before, after in pairwise(camera.records())
        if after.timestamp_ns - before.timestamp_ns <= _LONGEST_PAIR * NANOSECONDS
    ]
    offsets = np.linspace(-LARGEST, LARGEST, 9)
    pairs = [pair for pair in pairs if _has_poses(camera.pose_at, pair, offsets)]
    if not pairs:
        return []
    rates = np.array([_turned(camera.pose_at, pairs, float(offset)) for offset in offsets])
    durations = np.array([after.timestamp_ns - before.timestamp_ns for before, after in pairs]) / NANOSECONDS
    changes = np.linalg.norm(np.ptp(rates, axis=0), axis=1) / durations
    return [pairs[index] for index in sorted(np.argsort(-changes)[:_PAIRS])]


def _has_poses(pose_at: Callable[[int], Rigid3d | None], pair: tuple[Record, Record], offsets: Float64) -> bool:
    ends = (pair[0].timestamp_ns, -LARGEST - _STEP), (pair[1].timestamp_ns, LARGEST + _STEP)
    inside = [(record.timestamp_ns, float(offset)) for record in pair for offset in offsets]
    return all(pose_at(stamp + round(offset * NANOSECONDS)) is not None for stamp, offset in (*ends, *inside))


def _turned(pose_at: Callable[[int], Rigid3d | None], pairs: Sequence[tuple[Record, Record]], offset: float) -> Float64:
    """(N, 3) rotation vectors [rad] of the later camera from the earlier one, of a trajectory with this offset [s].

    Pairs without poses do not rotate.
    """
    shift = round(offset * NANOSECONDS)
    vectors = np.zeros((len(pairs), 3))
    for index, (before, after) in enumerate(pairs):
        first, second = pose_at(before.timestamp_ns + shift), pose_at(after.timestamp_ns + shift)
        if first is not None and second is not None:
            vectors[index] = Rotation.from_quat(np.asarray((second.inverse() * first).rotation.quat)).as_rotvec()
    return vectors


def _small_image(record: Record) -> tuple[int, UInt8, PinholeCamera]:
    """Time, gray image of at most ``_SIDE`` pixels, and its camera."""
    image, camera = record.read_image(), record.camera
    shrink = min(1.0, _SIDE / max(camera.size))
    small = camera.scaled(round(camera.width * shrink), round(camera.height * shrink))
    if shrink < 1:
        image = np.asarray(cv2.resize(image, small.size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return record.timestamp_ns, image, small


def rotation_between(before: UInt8, after: UInt8, camera: PinholeCamera) -> Float64 | None:
    """Rotation vector (3,) [rad] of the later camera from the earlier one; None if too few points can be tracked.

    Args:
        before: (H, W) gray image.
        after: (H, W) gray image, a moment later.
        camera: camera of both.
    """
    corners = cv2.goodFeaturesToTrack(before, _POINTS, 0.01, 8)
    if corners is None or len(corners) < _FEWEST_POINTS:
        return None
    window = {"winSize": (21, 21), "maxLevel": 4}
    tracked, forth, _ = cv2.calcOpticalFlowPyrLK(before, after, corners, None, **window)
    returned, back, _ = cv2.calcOpticalFlowPyrLK(after, before, tracked, None, **window)
    is_good = (forth.ravel() == 1) & (back.ravel() == 1)
    is_good &= np.linalg.norm((returned - corners).reshape(-1, 2), axis=1) < _RETURN_PX
    first, second = (
        corners.reshape(-1, 2)[is_good].astype(np.float64),
        tracked.reshape(-1, 2)[is_good].astype(np.float64),
    )
    if len(first) < _FEWEST_POINTS:
        return None
    cv2.setRNGSeed(0)
    essential, inliers = cv2.findEssentialMat(
        first, second, camera.matrix, method=cv2.RANSAC, prob=0.999, threshold=_EPIPOLAR_PX
    )
    if essential is None or essential.shape != (3, 3):
        return None
    count, rotation, _, _ = cv2.recoverPose(essential, first, second, camera.matrix, mask=inliers)
    if count < _FEWEST_POINTS:
        return None
    vector: Float64 = Rotation.from_matrix(rotation).as_rotvec()
    return vector
