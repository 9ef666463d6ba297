"""Scene of a corridor around a block of rooms: equal doors, wall tiles, floor tiles and lamps, and few notices.

Nothing of it is in the street, so it serves to calibrate and to test what must hold in another world.
"""

from collections.abc import Iterator
from functools import lru_cache

import cv2
import numpy as np

from vizloc_ros.arrays import Float32, UInt8
from vizloc_ros.datasets.synthetic.paint import (
    PIXELS_PER_METER,
    cracks,
    finish,
    letters,
    noise,
    pixels,
    rectangle,
)
from vizloc_ros.datasets.synthetic.quads import Quad, Scene, Texture, upright
from vizloc_ros.datasets.synthetic.route import HALF_LENGTH, HALF_WIDTH, LOOP_LENGTH, beside_route

HALF_CORRIDOR = 2.0  # m from the middle to a wall
CEILING = 2.9  # m
MAX_OFFSET = 0.7  # m; the camera stays away from the walls
_PANEL = LOOP_LENGTH / 132  # m, about 1.2
_TILE = 0.6  # m, of floor and ceiling
_WALLS, _FLOOR, _CEILING = range(30, 33)  # streams of random numbers


@lru_cache(maxsize=2)
def build_corridor(seed: int) -> Scene:
    """Build the scene, the same in both laps; takes a second, and is cached."""
    return Scene(
        (
            *_plane(_floor(np.random.default_rng([seed, _FLOOR])), 0.0),
            *_plane(_ceiling(np.random.default_rng([seed, _CEILING])), CEILING),
            *_walls(np.random.default_rng([seed, _WALLS])),
        )
    )


def _half_size() -> np.ndarray:
    return np.array([HALF_LENGTH + HALF_CORRIDOR, HALF_WIDTH + HALF_CORRIDOR])


def _plane(image: UInt8, height: float) -> Iterator[Quad]:
    """Tiles of a horizontal plane over the whole block, without those that no lap sees."""
    half = _half_size()
    corner = np.array([-half[0], half[1], height])
    whole = Quad(corner, np.array([2 * half[0], 0, 0]), np.array([0, -2 * half[1], 0]), Texture(image))
    inner = np.array([HALF_LENGTH, HALF_WIDTH]) - 5.5  # within the inner wall, also where it turns
    for tile in whole.tiles(2.4):
        far_corner = np.abs(np.stack([tile.origin, tile.origin + tile.right + tile.down])[:, :2]).max(axis=0)
        if (far_corner > inner).any():
            yield tile


def _canvas(gray: float) -> Float32:
    width, height = (2 * _half_size() * PIXELS_PER_METER).round().astype(int)
    return np.full((int(height), int(width)), gray, np.float32)


def _floor(rng: np.random.Generator) -> UInt8:
    """Paint equal tiles in two grays, with a little wear."""
    canvas, tile = _canvas(150), pixels(_TILE)
    y, x = np.ogrid[: canvas.shape[0], : canvas.shape[1]]
    canvas += np.where((x // tile + y // tile) % 2, 14, -14)
    canvas[(y % tile < 2).ravel()] -= 45
    canvas[:, (x % tile < 2).ravel()] -= 45
    canvas *= 1 + noise(rng, (canvas.shape[0], canvas.shape[1]), {3: 0.02, 40: 0.03})
    cracks(rng, canvas, 25, 7, 90)
    return finish(canvas)


def _ceiling(rng: np.random.Generator) -> UInt8:
    """Paint equal panels with holes, and a lamp in every fourth."""
    canvas, tile = _canvas(175), pixels(_TILE)
    panel = np.zeros((tile, tile), np.float32)
    for hole in np.random.default_rng(0).integers(3, tile - 3, (40, 2)):
        panel[tuple(hole)] = -60
    panel[:2], panel[:, :2] = -70, -70
    rows, columns = -(-canvas.shape[0] // tile), -(-canvas.shape[1] // tile)
    canvas += np.tile(panel, (rows, columns))[: canvas.shape[0], : canvas.shape[1]]
    for row in range(0, rows, 4):
        for column in range(0, columns, 4):
            rectangle(canvas, (column * tile + 3, row * tile + 3, tile - 5, tile - 5), 235)
    canvas += noise(rng, (canvas.shape[0], canvas.shape[1]), {30: 3})
    return finish(canvas)


def _walls(rng: np.random.Generator) -> Iterator[Quad]:
    """Both walls, of panels along the route: plain, with the one kind of door in every fifth, or with a notice."""
    plain = [Texture(finish(_panel(rng))) for _ in range(3)]
    door = [Texture(finish(_door(_panel(rng)))) for _ in range(2)]
    for left in (-HALF_CORRIDOR, HALF_CORRIDOR):
        for number in range(round(LOOP_LENGTH / _PANEL)):
            start, _ = beside_route(number * _PANEL, left)
            end, _ = beside_route((number + 1) * _PANEL, left)
            if left < 0:
                start, end = end, start  # the rows of the texture run from left to right as seen from the corridor
            skin = door[number % 2] if number % 5 == 2 else plain[number % 3]
            if number % 5 == 2 and rng.random() < 0.3:
                skin = Texture(_plate(rng, _door(_panel(rng))))
            elif number % 5 != 2 and rng.random() < 0.12:
                skin = Texture(_notice(rng, _panel(rng)))
            yield upright(start, end, 0.0, CEILING, skin)


def _panel(rng: np.random.Generator) -> Float32:
    """Paint plaster above and glazed tiles below, with a handrail between."""
    shape = (pixels(CEILING), pixels(_PANEL))
    canvas = np.full(shape, 178, np.float32) + noise(rng, shape, {2: 2, 20: 3})
    tiled, size = canvas[pixels(1.7) :], pixels(0.2)
    tiled -= 25
    tiled[::size], tiled[:, ::size] = 95, 95
    rail = rectangle(canvas, (0, pixels(1.75), shape[1], pixels(0.14)), 105)
    rail[:2], rail[-2:] = 200, 55
    rectangle(canvas, (0, shape[0] - pixels(0.12), shape[1], pixels(0.12)), 70)
    return canvas


def _door(canvas: Float32) -> Float32:
    """Paint the one kind of door."""
    width = canvas.shape[1] - pixels(0.2)
    leaf = rectangle(canvas, (pixels(0.1), pixels(0.8), width, canvas.shape[0] - pixels(0.8)), 120)
    leaf[:4], leaf[:, :4], leaf[:, -4:] = 55, 55, 55
    window = rectangle(leaf, (leaf.shape[1] // 2 - pixels(0.12), pixels(0.3), pixels(0.24), pixels(0.6)), 60)
    window[:2], window[-2:], window[:, :2], window[:, -2:] = 210, 210, 210, 210
    cv2.circle(leaf, (leaf.shape[1] - pixels(0.14), leaf.shape[0] // 2), pixels(0.05), 220.0, -1, cv2.LINE_AA)
    rectangle(leaf, (0, leaf.shape[0] - pixels(0.3), leaf.shape[1], pixels(0.3)), 165)
    return canvas


def _plate(rng: np.random.Generator, canvas: Float32) -> UInt8:
    plate = rectangle(canvas, (canvas.shape[1] // 3, pixels(0.55), pixels(0.4), pixels(0.2)), 225)
    letters(rng, plate, 30)
    return finish(canvas)


def _notice(rng: np.random.Generator, canvas: Float32) -> UInt8:
    size = pixels(rng.uniform(0.3, 0.6)), pixels(rng.uniform(0.35, 0.7))
    paper = rectangle(canvas, (pixels(rng.uniform(0.1, 0.5)), pixels(rng.uniform(0.7, 0.95)), *size), 215)
    paper += noise(rng, paper.shape, {6: 18})
    for row in range(4, paper.shape[0] - 10, 12):
        letters(rng, paper[row : row + 9], rng.uniform(20, 120))
    return finish(canvas)
