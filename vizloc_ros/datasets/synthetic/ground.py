"""Texture of the ground of the whole block, one image: asphalt, markings, curbs and paving."""

import cv2
import numpy as np

from vizloc_ros.arrays import Float32, Float64, Int32, UInt8
from vizloc_ros.datasets.synthetic.paint import PIXELS_PER_METER, cracks, finish, noise, pixels, stones
from vizloc_ros.datasets.synthetic.route import HALF_LENGTH, HALF_WIDTH, LOOP_LENGTH, beside_route

FACADE = 7.0  # m from the middle of the street
CURB = 4.6  # m from the middle
PARKING = 2.6  # m from the middle; the parking lane begins here
HALF_SIZE = np.array([HALF_LENGTH + FACADE, HALF_WIDTH + FACADE])  # m; half the size of the whole ground


def _texels(points: Float64) -> Int32:
    """(N, 2) texels of (N, 2) ground points [m]; the rows of the image run from north to south."""
    scaled = (points * [1, -1] + HALF_SIZE) * PIXELS_PER_METER - 0.5
    return np.round(scaled).astype(np.int32)


def _line(left: float, start: float = 0.0, end: float = LOOP_LENGTH) -> Int32:
    """Texels of the line ``left`` meters to the left of the middle of the street."""
    distances = np.linspace(start, end, max(2, int((end - start) / 0.25)))
    return _texels(np.array([beside_route(distance, left)[0] for distance in distances]))


def paint_ground(rng: np.random.Generator) -> UInt8:
    """Paint the ground within the outer facades, north up."""
    width, height = (2 * HALF_SIZE * PIXELS_PER_METER).round().astype(int)
    canvas = _paving(rng, (int(height), int(width)))
    road = np.zeros(canvas.shape, np.uint8)
    cv2.fillPoly(road, [_line(-CURB), _line(CURB)], 255)
    asphalt = _asphalt(rng, (int(height), int(width)))
    np.copyto(canvas, asphalt, where=road > 0)
    for left in (-CURB, CURB):
        cv2.polylines(canvas, [_line(left)], True, 195.0, pixels(0.15), cv2.LINE_AA)
        cv2.polylines(canvas, [_line(left * 0.975)], True, 60.0, pixels(0.06), cv2.LINE_AA)
    _markings(rng, canvas)
    canvas *= 1 + noise(rng, canvas.shape, {60: 0.06, 5: 0.05})
    return finish(canvas)


def _paving(rng: np.random.Generator, shape: tuple[int, int]) -> Float32:
    slabs = stones(rng, shape, (pixels(0.4), pixels(0.6)), 12, 35)
    return 145 + slabs + noise(rng, shape, {2: 6, 30: 8})


def _asphalt(rng: np.random.Generator, shape: tuple[int, int]) -> Float32:
    asphalt = 92 + noise(rng, shape, {2: 9, 4: 7, 14: 5, 90: 9})
    for _ in range(160):  # patched trenches and oil stains
        x, y = (int(v) for v in rng.integers(0, shape[::-1]))
        size = rng.uniform(0.3, 2.2, 2)
        view = asphalt[y : y + pixels(size[0]), x : x + pixels(size[1])]
        view += rng.uniform(-28, 22)
    for _ in range(260):
        center = tuple(int(v) for v in rng.integers(0, shape[::-1]))
        cv2.circle(asphalt, center, pixels(rng.uniform(0.05, 0.25)), rng.uniform(45, 150), -1, cv2.LINE_AA)
    cracks(rng, asphalt, 420, 12, 45)
    return asphalt


def _markings(rng: np.random.Generator, canvas: Float32) -> None:
    white = 205.0
    for start in np.arange(0, LOOP_LENGTH - 2, 4.5):
        cv2.polylines(canvas, [_line(0.0, start, start + 1.8)], False, white, pixels(0.12), cv2.LINE_AA)
    for left in (-PARKING, PARKING):
        for start in np.arange(0, LOOP_LENGTH - 0.5, 1.0):
            cv2.polylines(canvas, [_line(left, start, start + 0.5)], False, white, pixels(0.1), cv2.LINE_AA)
    for _ in range(4):  # zebra crossings
        at = rng.uniform(0, LOOP_LENGTH)
        for left in np.arange(-4.2, 4.3, 0.9):
            cv2.polylines(canvas, [_line(left, at, at + 2.6)], False, white, pixels(0.42), cv2.LINE_AA)
    for _ in range(36):  # manholes and gratings
        center = _texels(beside_route(rng.uniform(0, LOOP_LENGTH), rng.uniform(-4, 4))[0][None])[0]
        middle = (int(center[0]), int(center[1]))
        radius = pixels(rng.uniform(0.22, 0.36))
        cv2.circle(canvas, middle, radius, 55.0, -1, cv2.LINE_AA)
        for ring in range(3, radius, 5):
            cv2.circle(canvas, middle, ring, rng.uniform(70, 170), 1, cv2.LINE_AA)
