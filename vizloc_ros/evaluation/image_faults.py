"""Changes of single images as broken or misused cameras make them."""

from collections.abc import Callable

import cv2
import numpy as np

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.interlacing import is_interlaced
from vizloc_ros.datasets.jpeg_damage import is_shifted
from vizloc_ros.datasets.row_shifts import has_shifted_rows
from vizloc_ros.errors import ImageError
from vizloc_ros.features.gray_image import gray_image

Change = Callable[[UInt8, np.random.Generator], UInt8]  # of an image, with random numbers of its own


def bytes_flipped(image: UInt8, rng: np.random.Generator) -> UInt8:
    """Flip ten bytes of the image's JPEG, behind its header. Raises ``ImageError`` as the nodes, if that shows."""
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].copy()
    data[rng.integers(min(700, len(data) // 2), len(data), 10)] ^= rng.integers(1, 256, 10, dtype=np.uint8)
    decoded = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE if image.ndim == 2 else cv2.IMREAD_COLOR)
    if decoded is None:
        raise ImageError("the JPEG cannot be decoded")
    if is_shifted(gray_image(np.asarray(decoded, np.uint8))):
        raise ImageError("the JPEG is damaged: a part of the image is shifted")
    return np.asarray(decoded, np.uint8)


def truncated(image: UInt8, rng: np.random.Generator) -> UInt8:
    """Keep a random part of the rows, 30 to 70 %; the others are black: the transfer ended early."""
    cut = image.copy()
    cut[int(image.shape[0] * rng.uniform(0.3, 0.7)) :] = 0
    return cut


def out_of_sync(image: UInt8, rng: np.random.Generator) -> UInt8:
    """Roll the rows by a random number: the start of the frame was missed."""
    return np.roll(image, int(rng.integers(image.shape[0] // 5, 4 * image.shape[0] // 5)), axis=0)


def row_jitter(image: UInt8, rng: np.random.Generator) -> UInt8:
    """Shift groups of eight rows by up to 3 % of the width. Raises ``ImageError`` as the nodes, if that shows."""
    most = max(1, image.shape[1] * 3 // 100)
    shifted = image.copy()
    for top in range(0, image.shape[0], 8):
        shifted[top : top + 8] = np.roll(image[top : top + 8], int(rng.integers(-most, most + 1)), axis=1)
    if has_shifted_rows(gray_image(shifted)):
        raise ImageError("rows of the image are shifted sideways against each other")
    return shifted


def rolling_shutter(image: UInt8, rng: np.random.Generator) -> UInt8:
    """Shear the image by 8 % of its width from top to bottom, as a slow shutter does in a turn."""
    height, width = image.shape[:2]
    shear = np.array([[1, 0.08 * width / height, -0.04 * width], [0, 1, 0]], np.float64)
    return np.asarray(cv2.warpAffine(image, shear, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def zoomed(factor: float, x: float = 0.5, y: float = 0.5) -> Change:
    """Crop around (x, y), ratios of the image, and scale to its size: a zoom, or a lens that nobody calibrated."""

    def zoom(image: UInt8, rng: np.random.Generator) -> UInt8:
        height, width = image.shape[:2]
        left, top = x * (width - 1), y * (height - 1)
        matrix = np.array([[factor, 0, left * (1 - factor)], [0, factor, top * (1 - factor)]])
        return np.asarray(cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)

    return zoom


def watermark(image: UInt8, rng: np.random.Generator) -> UInt8:
    """Write a large text across the image, and a time below it."""
    marked, scale = image.copy(), image.shape[1] / 320
    for text, size, row in (("DASHCAM 4K", 1.6, 0.55), ("2026-01-01 12:00:00  GPS 49.01 N 8.40 E", 0.45, 0.95)):
        origin = (int(0.06 * image.shape[1]), int(row * image.shape[0]))
        cv2.putText(
            marked, text, origin, cv2.FONT_HERSHEY_DUPLEX, size * scale, (255,) * 3, round(2 * scale), cv2.LINE_AA
        )
    return marked


def dashboard(image: UInt8, rng: np.random.Generator) -> UInt8:
    """Cover the lower 35 % with a textured dashboard, and a corner with a mirror: the same in all images."""
    height, width = image.shape[:2]
    fixed = np.random.default_rng(3)
    panels = fixed.integers(30, 220, (9, 16), dtype=np.uint8)
    texture = np.asarray(cv2.resize(panels, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)
    texture = np.where(fixed.random((height, width)) < 0.03, 230, texture).astype(np.uint8)
    covered = image.copy()
    for part in (np.s_[int(0.65 * height) :], np.s_[: height // 5, 2 * width // 3 :]):
        covered[part] = texture[part] if image.ndim == 2 else texture[part][..., None]
    return covered


def snow(image: UInt8, rng: np.random.Generator) -> UInt8:
    """Strew white flakes of 1 to 5 px over the image, others in every image."""
    snowy = image.copy()
    for _ in range(400):
        middle = (int(rng.integers(image.shape[1])), int(rng.integers(image.shape[0])))
        radius = int(rng.integers(1, max(2, image.shape[1] // 120)))
        cv2.circle(snowy, middle, radius, (235,) * 3, -1, cv2.LINE_AA)
    return snowy


def glare(image: UInt8, rng: np.random.Generator) -> UInt8:
    """Add a low sun: a disc that is white, with a wide halo."""
    height, width = image.shape[:2]
    y, x = np.ogrid[:height, :width]
    distance = np.hypot(x - 0.55 * width, y - 0.35 * height) / width
    light = 400 / (1 + (distance / 0.12) ** 2)
    return (image + (light if image.ndim == 2 else light[..., None])).clip(0, 255).astype(np.uint8)


def channels_swapped(image: UInt8, rng: np.random.Generator) -> UInt8:
    """Give the image colors, and swap red and blue."""
    gray = image if image.ndim == 2 else image.mean(axis=2)
    colors = np.stack([0.6 * gray + 30, gray, 255 * (gray / 255.0) ** 1.6], axis=2)
    return colors[..., ::-1].clip(0, 255).astype(np.uint8)


def bayer(image: UInt8, rng: np.random.Generator) -> UInt8:
    """Leave the image as the pattern of the sensor: neighboring pixels differ by the color of their filters."""
    y, x = np.indices(image.shape[:2])
    gains = np.where((y + x) % 2, 1.0, np.where(y % 2, 0.45, 0.7))
    return (image * (gains if image.ndim == 2 else gains[..., None])).astype(np.uint8)


def out_of_focus(image: UInt8, rng: np.random.Generator) -> UInt8:
    """Blur the image by 1.5 % of its width in all directions."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 0.015 * image.shape[1]), np.uint8)


def low_resolution(image: UInt8, rng: np.random.Generator) -> UInt8:
    """Shrink the image eightfold and enlarge it again."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (max(1, width // 8), max(1, height // 8)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def brightness(factor: float, offset: float = 0.0) -> Change:
    """Scale and shift the gray values, which saturate: a wrong exposure."""
    return lambda image, rng: (image * factor + offset).clip(0, 255).astype(np.uint8)


def wiper(image: UInt8, seconds: float) -> UInt8:
    """Sweep a dark blade across the image, once a second."""
    height, width = image.shape[:2]
    angle = np.radians(-70 + 140 * abs(2 * (seconds % 1.0) - 1))
    foot = np.array([0.5 * width, 1.25 * height])
    tip = foot + 1.6 * height * np.array([np.sin(angle), -np.cos(angle)])
    wiped = image.copy()
    ends = [tuple(int(v) for v in end) for end in (foot, tip)]
    cv2.line(wiped, ends[0], ends[1], (8,) * 3, max(2, width // 14), cv2.LINE_AA)
    return wiped


def interlaced(image: UInt8, earlier: UInt8) -> UInt8:
    """Take every second row from an earlier image. Raises ``ImageError`` as the nodes, if that shows."""
    both = image.copy()
    both[1::2] = earlier[1::2]
    if is_interlaced(gray_image(both)):
        raise ImageError("every second row of the image is of another moment")
    return both


def torn(image: UInt8, earlier: UInt8) -> UInt8:
    """Take the lower half from an earlier image."""
    both = image.copy()
    both[image.shape[0] // 2 :] = earlier[image.shape[0] // 2 :]
    return both


def reflected(image: UInt8, other: UInt8) -> UInt8:
    """Mix an image and another one: the reflection in a window."""
    return (0.5 * image + 0.5 * other).round().astype(np.uint8)


def poster(image: UInt8, earlier: UInt8) -> UInt8:
    """Show an earlier image in the middle of this one, 70 % of its width: a screen, or a mirror."""
    height, width = image.shape[:2]
    shown, box = image.copy(), np.s_[height * 15 // 100 : height * 85 // 100, width * 15 // 100 : width * 85 // 100]
    size = shown[box].shape[1::-1]
    shown[box] = cv2.resize(earlier, size, interpolation=cv2.INTER_AREA)
    return shown
