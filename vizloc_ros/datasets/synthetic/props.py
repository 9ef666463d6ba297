"""Trees, poles and parked cars, made of quads."""

from collections.abc import Iterator

import cv2
import numpy as np

from vizloc_ros.arrays import Float32, Float64, UInt8
from vizloc_ros.datasets.synthetic.paint import finish, letters, noise, rectangle, stones
from vizloc_ros.datasets.synthetic.quads import Quad, Texture, upright

CAR_LENGTH, CAR_WIDTH = 4.2, 1.75  # m
BONNET_HEIGHT, ROOF_HEIGHT = 0.92, 1.46  # m
CAR_PIXELS_PER_METER = 40


def _box(center: Float64, forward: Float64, size: tuple[float, float, float], skin: Texture) -> Iterator[Quad]:
    """Four walls of a box on the ground.

    Args:
        center: (2,) middle of the box [m].
        forward: (2,) unit vector along its length.
        size: (length, width, height) [m].
        skin: texture of each wall.
    """
    ahead, sideways = forward * size[0] / 2, np.array([-forward[1], forward[0]]) * size[1] / 2
    corners = [
        center - ahead - sideways,
        center + ahead - sideways,
        center + ahead + sideways,
        center - ahead + sideways,
    ]
    for k in range(4):
        yield upright(corners[k], corners[(k + 1) % 4], 0.0, size[2], skin)


def _blob(rng: np.random.Generator, size: int, ruggedness: float) -> UInt8:
    """Alpha channel of a round crown with a ragged outline."""
    y, x = np.mgrid[-1 : 1 : 1j * size, -1 : 1 : 1j * size].astype(np.float32)
    radius = np.hypot(x, y) + ruggedness * noise(rng, (size, size), {6: 0.5, 16: 0.5, 40: 0.6})
    return ((0.8 - radius) * 600 + 128).clip(0, 255).astype(np.uint8)


def tree(rng: np.random.Generator, foot: Float64) -> Iterator[Quad]:
    """Tree at a ground point (2,): a trunk, and a crown of three upright quads through its axis."""
    top, radius = rng.uniform(4.6, 6.2), rng.uniform(1.3, 2.0)
    turn = rng.uniform(0, np.pi)
    bark = finish(rng.uniform(60, 100) + noise(rng, (160, 32), {2: 14, 6: 12}))
    girth = rng.uniform(0.18, 0.32)
    yield from _box(foot, np.array([np.cos(turn), np.sin(turn)]), (girth, girth, top - 1.4 * radius), Texture(bark))
    for k in range(3):
        leaves = finish(rng.uniform(70, 105) + noise(rng, (160, 160), {3: 16, 7: 18, 30: 14}))
        crown = Texture(leaves, _blob(rng, 160, 0.13))
        sideways = radius * np.array([np.cos(turn + k * np.pi / 3), np.sin(turn + k * np.pi / 3)])
        yield upright(foot - sideways, foot + sideways, top - 2 * radius, top, crown)


def pole(rng: np.random.Generator, foot: Float64, forward: Float64) -> Iterator[Quad]:
    """Pole with a traffic sign at a ground point (2,), which faces drivers in the direction ``forward`` (2,)."""
    height = rng.uniform(2.4, 4.5)
    paint = finish(rng.uniform(50, 190) + noise(rng, (192, 24), {2: 6, 10: 14}))
    yield from _box(foot, forward, (0.12, 0.12, height), Texture(paint))
    size = int(rng.integers(28, 44))
    board = np.full((size, size), rng.uniform(25, 225), np.float32)
    edge = 235.0 if board[0, 0] < 125 else 30.0
    cv2.rectangle(board, (1, 1), (size - 2, size - 2), edge, 2)
    letters(rng, board[size // 4 : 3 * size // 4], edge)
    right = np.array([forward[1], -forward[0]]) * size / 96
    front = foot - 0.08 * forward
    yield upright(front - right, front + right, height - size / 48, height, Texture(finish(board)))


def car(rng: np.random.Generator, middle: Float64, heading: float) -> Iterator[Quad]:
    """Car parked over a ground point (2,): a body, and a cabin with slanted windshields."""
    forward, left = np.array([np.cos(heading), np.sin(heading)]), np.array([-np.sin(heading), np.cos(heading)])
    paint = rng.uniform(35, 205)

    def at(ahead: float, sideways: float, height: float) -> Float64:
        return np.array([*(middle + ahead * forward + sideways * left), height])

    half_length, half_width = CAR_LENGTH / 2, CAR_WIDTH / 2
    side, end = _car_side(rng, paint), _car_end(rng, paint)
    for k, skin in enumerate((side, end, side, end)):
        corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
        (a, b), (c, d) = corners[k], corners[(k + 1) % 4]
        start, stop = at(a * half_length, b * half_width, 0)[:2], at(c * half_length, d * half_width, 0)[:2]
        yield upright(start, stop, 0.0, BONNET_HEIGHT, skin)
    sheet = Texture(_sheet(rng, paint, (40, 80)))
    deck = at(half_length, half_width, BONNET_HEIGHT)
    yield Quad(
        deck,
        at(half_length, -half_width, BONNET_HEIGHT) - deck,
        at(-half_length, half_width, BONNET_HEIGHT) - deck,
        sheet,
    )

    rear, front, slant, inset = -1.9, 1.1, 0.6, 0.12
    glass = Texture(_screen(rng, paint))
    cabin = Texture(*_cabin_side(rng, paint, slant / (front - rear)))
    width = half_width - inset
    for sideways in (-width, width):
        yield upright(at(rear, sideways, 0)[:2], at(front, sideways, 0)[:2], BONNET_HEIGHT, ROOF_HEIGHT, cabin)
    for foot, head in ((front, front - slant), (rear, rear + slant)):
        corner = at(head, width, ROOF_HEIGHT)
        yield Quad(corner, at(head, -width, ROOF_HEIGHT) - corner, at(foot, width, BONNET_HEIGHT) - corner, glass)
    corner = at(front - slant, width, ROOF_HEIGHT)
    across, back = at(front - slant, -width, ROOF_HEIGHT) - corner, at(rear + slant, width, ROOF_HEIGHT) - corner
    yield Quad(corner, across, back, sheet)


def _sheet(rng: np.random.Generator, paint: float, shape: tuple[int, int]) -> UInt8:
    return finish(paint + noise(rng, shape, {3: 2, 24: 8}))


def _car_side(rng: np.random.Generator, paint: float) -> Texture:
    scale = CAR_PIXELS_PER_METER
    height, length = round(BONNET_HEIGHT * scale), round(CAR_LENGTH * scale)
    canvas = paint + noise(rng, (height, length), {3: 3, 20: 6})
    rectangle(canvas, (0, height - 9, length, 9), 18)  # shadow under the car
    for door in (0.33, 0.55, 0.76):
        rectangle(canvas, (round(door * length), 0, 2, height - 10), paint * 0.5)
    rectangle(canvas, (0, 14, length, 2), paint * 0.75)
    for wheel in (0.2, 0.8):
        hub = (round(wheel * length), height - 13)
        cv2.circle(canvas, hub, 14, 22.0, -1, cv2.LINE_AA)
        cv2.circle(canvas, hub, 8, rng.uniform(110, 190), -1, cv2.LINE_AA)
        for spoke in np.arange(5) * 2 * np.pi / 5 + rng.uniform(0, 1):
            tip = (round(hub[0] + 8 * np.cos(spoke)), round(hub[1] + 8 * np.sin(spoke)))
            cv2.line(canvas, hub, tip, 40.0, 2, cv2.LINE_AA)
    return Texture(finish(canvas))


def _car_end(rng: np.random.Generator, paint: float) -> Texture:
    scale = CAR_PIXELS_PER_METER
    height, width = round(BONNET_HEIGHT * scale), round(CAR_WIDTH * scale)
    canvas = paint + noise(rng, (height, width), {3: 3, 20: 6})
    rectangle(canvas, (0, height - 9, width, 9), 18)
    for x in (3, width - 15):
        rectangle(canvas, (x, 8, 12, 7), rng.uniform(150, 230))
    letters(rng, rectangle(canvas, (width // 2 - 11, 18, 22, 7), 215), 20)
    canvas[7:12, 20:-20] -= stones(rng, (5, width - 40), (2, width), 25, 40)
    return Texture(finish(canvas))


def _screen(rng: np.random.Generator, paint: float) -> UInt8:
    canvas: Float32 = 45 + noise(rng, (32, 64), {4: 4, 24: 14})
    cv2.rectangle(canvas, (0, 0), (63, 31), paint, 3)
    return finish(canvas)


def _cabin_side(rng: np.random.Generator, paint: float, slant: float) -> tuple[UInt8, UInt8]:
    height, length = 32, 160
    canvas = np.full((height, length), paint, np.float32)
    for start, end in ((0.10, 0.48), (0.52, 0.90)):
        pane = rectangle(canvas, (round(start * length), 5, round((end - start) * length), height - 8), 0)
        pane += 50 + noise(rng, pane.shape, {4: 4, 20: 12})
    alpha = np.zeros((height, length), np.uint8)
    trapezium = np.array([(slant, 0), (1 - slant, 0), (1, 1), (0, 1)]) * (length - 1, height - 1)
    cv2.fillConvexPoly(alpha, np.round(trapezium).astype(np.int32), 255)
    return finish(canvas), alpha
