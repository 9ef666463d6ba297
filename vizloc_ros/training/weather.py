"""Weather, sun, lens and compression: changes of (H, W) gray images, 0 to 255, that move no pixel.

Each function draws its strength itself. The result may leave 0 to 255.
"""

import cv2
import numpy as np

from vizloc_ros.arrays import Float32
from vizloc_ros.training.augmentation import Range, log_uniform, motion_blur

_WHITE = 245.0  # gray value of snow


def add_cast_shadow(image: Float32, rng: np.random.Generator) -> Float32:
    """Image with shadows of buildings or trees: polygons with edges that are nearly sharp."""
    height, width = image.shape
    light = np.ones(image.shape, np.float32)
    for _ in range(rng.integers(1, 4)):
        center = rng.uniform(0, [width, height])
        angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 7)))
        radii = rng.uniform(0.15, 0.9, len(angles)) * max(width, height)
        corners = center + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        mask = np.zeros(image.shape, np.float32)
        cv2.fillPoly(mask, [corners.astype(np.int32)], 1.0)
        mask = cv2.GaussianBlur(mask, (0, 0), log_uniform((0.6, 4), rng)).astype(np.float32)
        light *= 1 - np.float32(rng.uniform(0.2, 0.75)) * mask
    return image * light


def change_local_contrast(image: Float32, rng: np.random.Generator) -> Float32:
    """Image whose coarse light and fine detail have other weights, as under an overcast sky or by a tone mapper."""
    radius = log_uniform((0.02, 0.15), rng) * max(image.shape)
    light = cv2.GaussianBlur(image, (0, 0), radius).astype(np.float32)
    mean = image.mean()
    detail = np.float32(log_uniform((0.35, 2.2), rng)) * (image - light)
    return mean + np.float32(rng.uniform(0.1, 1.3)) * (light - mean) + detail


def add_snow(image: Float32, rng: np.random.Generator) -> Float32:
    """Image with snow that lies in soft patches, mostly low in the image, and sometimes with falling flakes."""
    height, width = image.shape
    lying = _patches((height, width), rng) + np.linspace(-0.4, 0.4, height, dtype=np.float32)[:, None]
    cover = np.clip((lying - np.float32(rng.uniform(-0.1, 0.6))) * 6, 0, 1) * np.float32(rng.uniform(0.5, 1))
    fine = image - cv2.GaussianBlur(image, (0, 0), 3).astype(np.float32)
    snowy = image + cover * (np.float32(rng.uniform(0.7, 1)) * np.float32(_WHITE) + 0.3 * fine - image)
    if rng.random() < 0.4:
        flakes = _specks(image.shape, log_uniform((0.0005, 0.006), rng), rng)
        flakes = cv2.GaussianBlur(flakes, (0, 0), rng.uniform(0.6, 1.6)).astype(np.float32)
        snowy = snowy + np.clip(flakes / max(float(flakes.max()), 1e-6), 0, 1) * (np.float32(_WHITE) - snowy)
    return snowy


def add_rain(image: Float32, rng: np.random.Generator) -> Float32:
    """Image through falling rain: parallel bright streaks, and a veil that takes contrast."""
    streaks = _specks(image.shape, log_uniform((0.001, 0.01), rng), rng)
    length = rng.uniform(0.02, 0.12) * max(image.shape)
    streaks = motion_blur(streaks, (length, length + 1e-3), rng)
    streaks *= np.float32(rng.uniform(20, 90) / max(float(streaks.max()), 1e-6))
    return add_veil(image, rng) + streaks


def add_veil(image: Float32, rng: np.random.Generator) -> Float32:
    """Image behind fog or a wet windscreen: less contrast, more so towards the top."""
    height = image.shape[0]
    density = np.float32(rng.uniform(0.1, 0.7)) * np.linspace(1, rng.uniform(0.2, 1), height, dtype=np.float32)[:, None]
    return image + density * (np.float32(rng.uniform(110, 230)) - image)


def add_lens_flare(image: Float32, rng: np.random.Generator) -> Float32:
    """Image with the sun in or near it: a glow, and ghosts on the line through the center of the image."""
    height, width = image.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    sun = rng.uniform([0, 0], [width, 0.6 * height])
    center = np.array([width, height]) / 2
    radius = np.float32(rng.uniform(0.05, 0.35) * width)
    squared = (x - np.float32(sun[0])) ** 2 + (y - np.float32(sun[1])) ** 2
    result = image + np.float32(rng.uniform(60, 400)) / (1 + squared / radius**2)
    for along in rng.uniform(-1, 1.5, rng.integers(0, 5)):
        ghost = center + along * (center - sun)
        disc = np.zeros(image.shape, np.float32)
        cv2.circle(disc, ghost.astype(int).tolist(), int(rng.uniform(0.02, 0.09) * width) + 1, 1.0, -1)
        result = result + np.float32(rng.uniform(5, 50)) * cv2.GaussianBlur(disc, (0, 0), 1.5).astype(np.float32)
    return result


def compress(image: Float32, quality: Range, rng: np.random.Generator) -> Float32:
    """Image after JPEG compression of a random quality within limits, 0 to 100."""
    pixels = np.clip(image, 0, 255).astype(np.uint8)
    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, int(rng.uniform(*quality))])
    return cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE).astype(np.float32)


def _patches(shape: tuple[int, int], rng: np.random.Generator) -> Float32:
    """Smooth random field (H, W), about 0 to 1, of patches of random size."""
    cells = int(rng.integers(2, 10))
    field = rng.random((cells, cells), dtype=np.float32)
    return cv2.resize(field, shape[::-1], interpolation=cv2.INTER_CUBIC).astype(np.float32)


def _specks(shape: tuple[int, int], density: float, rng: np.random.Generator) -> Float32:
    """Random single pixels (H, W) of random brightness, 0 to 1; all others are 0."""
    return np.where(rng.random(shape, dtype=np.float32) < density, rng.random(shape, dtype=np.float32), 0).astype(
        np.float32
    )
