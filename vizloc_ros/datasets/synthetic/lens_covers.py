"""Covered lenses: dirt, drops of rain, and parts of the image that something hides; the same for the same seed."""

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np

from vizloc_ros.arrays import Bool, Float32, UInt8
from vizloc_ros.datasets.synthetic.paint import noise

HIDDEN_GRAY = 12  # gray value of a part that something hides
_DIRT, _DROPS = range(20, 22)  # streams of random numbers
_DROP_SECONDS = 2.0  # drops run off and new ones fall


def dirt(image: UInt8, seed: int, seconds: float) -> UInt8:
    """Cover a third of an image with mud: dark blotches with soft edges, which stay where they are."""
    opacity = _blotches(image.shape[:2], seed)
    opacity = opacity[..., None] if image.ndim == 3 else opacity
    return (image * (1 - opacity) + 38 * opacity).round().astype(np.uint8)


def drops(image: UInt8, seed: int, seconds: float) -> UInt8:
    """Put drops on the lens, each with a small blurred image of the view upside down; others every two seconds."""
    x, y, inside = _lenses(image.shape[:2], seed, int(seconds / _DROP_SECONDS))
    blurred = cv2.GaussianBlur(image, (0, 0), image.shape[1] / 160)
    seen = np.asarray(cv2.remap(blurred, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101), np.uint8)
    return np.where(inside[..., None] if image.ndim == 3 else inside, seen, image)


def hidden(visible: tuple[float, float, float, float]) -> Callable[[UInt8, int, float], UInt8]:
    """Cover that leaves a box (left, top, right, bottom) visible, as ratios of the image."""

    def cover(image: UInt8, seed: int, seconds: float) -> UInt8:
        height, width = image.shape[:2]
        left, top, right, bottom = np.round(np.array(visible) * (width, height, width, height)).astype(int)
        covered = np.full_like(image, HIDDEN_GRAY)
        covered[top:bottom, left:right] = image[top:bottom, left:right]
        return covered

    return cover


@lru_cache(maxsize=8)
def _blotches(shape: tuple[int, int], seed: int) -> Float32:
    """(H, W) opacities of the dirt on a lens."""
    grain = max(2, shape[1] // 8)
    field = noise(np.random.default_rng([seed, _DIRT]), shape, {grain: 1.0, max(2, grain // 3): 0.4})
    threshold = np.quantile(field, 2 / 3)
    return ((field - threshold) * 5).clip(0, 1).astype(np.float32)


@lru_cache(maxsize=8)
def _lenses(shape: tuple[int, int], seed: int, epoch: int) -> tuple[Float32, Float32, Bool]:
    """Columns and rows (H, W) of the pixels that are seen through drops, and the (H, W) mask of the drops."""
    height, width = shape
    rng = np.random.default_rng([seed, _DROPS, epoch])
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    seen_x, seen_y, inside = x.copy(), y.copy(), np.zeros(shape, bool)
    for _ in range(40):
        middle, radius = rng.uniform((0, 0), (width, height)), width * rng.uniform(0.02, 0.06)
        drop = np.hypot(x - middle[0], y - middle[1]) < radius
        magnified = 0.35 * width / radius
        seen_x[drop] = (middle[0] - magnified * (x - middle[0]))[drop]
        seen_y[drop] = (middle[1] - magnified * (y - middle[1]))[drop]
        inside |= drop
    return seen_x, seen_y, inside


COVERS: dict[str, Callable[[UInt8, int, float], UInt8]] = {
    "dirt": dirt,
    "drops": drops,
    "upper_half": hidden((0.0, 0.5, 1.0, 1.0)),
    "upper_60": hidden((0.0, 0.6, 1.0, 1.0)),
    "most": hidden((0.5, 0.5, 0.85, 0.93)),  # 85 %
}


def covered(image: UInt8, kind: str, seed: int, seconds: float) -> UInt8:
    """Image of a camera with a covered lens.

    Args:
        image: (H, W) or (H, W, 3) image; not changed.
        kind: key of ``COVERS``.
        seed: seed of the cover, the same for all images of a drive.
        seconds: time since the begin of the drive [s].
    """
    return COVERS[kind](image, seed, seconds)
