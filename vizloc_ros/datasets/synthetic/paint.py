"""Common elements of painted textures: noise, stones, cracks, letters. Gray values are float32 from 0 to 255."""

from collections.abc import Sequence

import cv2
import numpy as np

from vizloc_ros.arrays import Float32, UInt8

PIXELS_PER_METER = 48  # of facades and ground: about the resolution of the camera at 7 m


def pixels(meters: float) -> int:
    """Convert meters to whole texels, at least one."""
    return max(1, round(meters * PIXELS_PER_METER))


def finish(canvas: Float32) -> UInt8:
    """Convert the canvas (H, W) to an image without black and white, to leave room for light."""
    return canvas.clip(8, 235).astype(np.uint8)


def noise(rng: np.random.Generator, shape: tuple[int, int], amplitudes: dict[int, float]) -> Float32:
    """Zero-mean noise (H, W), the sum over grain sizes [texels] with an amplitude (standard deviation) each."""
    total = np.zeros(shape, np.float32)
    for grain, amplitude in amplitudes.items():
        coarse = rng.standard_normal((-(-shape[0] // grain) + 1, -(-shape[1] // grain) + 1), dtype=np.float32)
        total += amplitude * np.asarray(cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_LINEAR))
    return total


def stones(
    rng: np.random.Generator, shape: tuple[int, int], stone: tuple[int, int], contrast: float, joint: float
) -> Float32:
    """Rows of stones of (height, width) texels, each with its own gray value; joints are darker by ``joint``."""
    height, width = stone
    y = np.arange(shape[0])
    course = y // height
    shift = rng.integers(0, width, course[-1] + 1)
    x = np.arange(shape[1]) + shift[course][:, None]
    grays = contrast * rng.standard_normal((course[-1] + 1, int(x.max()) // width + 1), dtype=np.float32)
    wall = grays[course[:, None], x // width]
    wall[y % height == 0] = -joint
    wall[x % width == 0] = -joint
    return wall


def cracks(rng: np.random.Generator, canvas: Float32, count: int, step: float, shade: float) -> None:
    """Draw ``count`` random walks with steps of about ``step`` texels."""
    size = np.array(canvas.shape[::-1])
    for _ in range(count):
        steps = rng.normal(0, step, (int(rng.integers(4, 16)), 2)) + rng.normal(0, step, 2)
        line = rng.uniform(0, size) + np.cumsum(steps, axis=0)
        cv2.polylines(canvas, [np.round(line).astype(np.int32)], False, shade, 1, cv2.LINE_AA)


def letters(rng: np.random.Generator, canvas: Float32, gray: float) -> None:
    """Draw a line of random letters across the canvas (a view of a larger one)."""
    height, width = canvas.shape
    unit = height / 6
    for left in np.arange(1.2 * unit, width - 4 * unit, 4 * unit):
        strokes = rng.integers(0, (3, 5), (int(rng.integers(4, 7)), 2)) * unit + (left, unit)
        line = np.round(strokes).astype(np.int32)
        cv2.polylines(canvas, [line], False, gray, max(1, round(unit / 2)), cv2.LINE_AA)


def rectangle(canvas: Float32, box: tuple[int, int, int, int], gray: float) -> Float32:
    """Fill a box (x, y, width, height) [texels], clipped to the canvas, and return the view of it."""
    x, y, width, height = box
    view = canvas[max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)]
    view[:] = gray
    return view


def pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    """Choose one of the options at random."""
    return options[int(rng.integers(len(options)))]
