"""Scene of a furnished room, for a camera in a hand: walls a few meters away, and furniture nearer than they are."""

from collections.abc import Callable, Iterator
from functools import lru_cache

import cv2
import numpy as np

from vizloc_ros.arrays import Float32, Float64, UInt8
from vizloc_ros.datasets.synthetic.furniture import (
    bookcase,
    box,
    cabinet,
    canvas_of,
    carton,
    chair,
    fabric,
    horizontal,
    picture,
    table,
    texels,
    wood,
)
from vizloc_ros.datasets.synthetic.paint import cracks, finish, letters, noise, rectangle
from vizloc_ros.datasets.synthetic.quads import Quad, Scene, Texture, upright

HALF_ROOM = np.array([3.6, 2.9])  # m, from the middle to the walls
CEILING = 2.7  # m
_DEPTH = 0.4  # m, of the furniture along the walls
_OFF_WALL = 0.02  # m, of pictures, doors and windows
_TILE = 0.9  # m, of a surface that is seen with one level of its texture
_SURFACES, _ALONG, _MIDDLE, _CHAIRS = range(40, 44)  # streams of random numbers
_UNMOVED = 0.5  # probability that a chair is where it was in the first pass
_Paint = Callable[[np.random.Generator, float, float], UInt8]


@lru_cache(maxsize=2)
def build_room(seed: int) -> tuple[Scene, Scene]:
    """Build the scenes of the first and the second pass, in which chairs were moved; takes a second, and is cached."""
    fixed = [
        *_surfaces(np.random.default_rng([seed, _SURFACES])),
        *_along_walls(np.random.default_rng([seed, _ALONG])),
        *_in_the_middle(np.random.default_rng([seed, _MIDDLE])),
    ]
    first, second = _chairs(seed)
    return Scene((*fixed, *first)), Scene((*fixed, *second))


def _walls() -> Iterator[tuple[Float64, Float64, float]]:
    """Left end (2,) as seen from inside, unit vector (2,) to the right, and length [m] of each wall."""
    corners = [HALF_ROOM * sign for sign in ((-1, 1), (1, 1), (1, -1), (-1, -1))]
    for k in range(4):
        edge = corners[(k + 1) % 4] - corners[k]
        length = float(np.linalg.norm(edge))
        yield corners[k], edge / length, length


def _surfaces(rng: np.random.Generator) -> Iterator[Quad]:
    """Floor with a rug, ceiling with lamps, and papered walls."""
    ahead, (length, width) = np.array([1.0, 0.0]), 2 * HALF_ROOM
    yield from horizontal(np.zeros(2), ahead, (length, width), 0.0, Texture(wood(rng, length, width))).tiles(_TILE)
    rug = Texture(fabric(rng, 3.2, 2.2))
    yield from horizontal(np.zeros(2), ahead, (3.2, 2.2), 0.01, rug).tiles(_TILE)
    yield from horizontal(np.zeros(2), ahead, (length, width), CEILING, Texture(_ceiling(rng))).tiles(_TILE)
    for start, along, extent in _walls():
        paper = canvas_of(extent, CEILING, rng.uniform(130, 190))
        paper += noise(rng, paper.shape[:2], {3: 3, 12: 4, 90: 6})
        cracks(rng, paper, 6, 12, 90)
        rectangle(paper, (0, paper.shape[0] - texels(0.1), paper.shape[1], texels(0.1)), 70)
        yield from upright(start, start + extent * along, 0.0, CEILING, Texture(finish(paper))).tiles(_TILE)


def _ceiling(rng: np.random.Generator) -> UInt8:
    canvas = canvas_of(2 * HALF_ROOM[0], 2 * HALF_ROOM[1], 190)
    canvas += noise(rng, canvas.shape[:2], {4: 3, 100: 4})
    for x in np.linspace(0.15, 0.75, 3) * canvas.shape[1]:
        for y in (0.25, 0.7):
            rectangle(canvas, (int(x), int(y * canvas.shape[0]), texels(0.6), texels(0.15)), 235)
    cracks(rng, canvas, 12, 20, 120)
    return finish(canvas)


def _along_walls(rng: np.random.Generator) -> Iterator[Quad]:
    """Furniture along each wall, with pictures above or between, a window in one of two and a door in one."""
    door = int(rng.integers(4))
    for number, (start, along, extent) in enumerate(_walls()):
        inward = np.array([along[1], -along[0]])
        left = _DEPTH + 0.1
        while left < extent - 1.4:
            width = rng.uniform(0.8, 1.3)
            middle = start + (left + width / 2) * along
            if number == door and left > 1.0:
                door = -1
                yield _hung(middle, along, inward, (0.9, 2.0), 1.0, _door, rng)
            elif (draw := rng.random()) < 0.35:
                yield from _standing(rng, middle, inward, (width, rng.uniform(1.6, 2.1)), bookcase)
            elif draw < 0.65:
                yield from _standing(rng, middle, inward, (width, rng.uniform(0.6, 1.0)), cabinet)
                yield _hung(middle, along, inward, (rng.uniform(0.4, 0.7), rng.uniform(0.3, 0.6)), 1.6, picture, rng)
            elif draw < 0.8:
                yield _hung(middle, along, inward, (width, 1.2), 1.5, _window, rng)
            else:
                yield from _cartons(rng, middle, inward)
                yield _hung(middle, along, inward, (rng.uniform(0.5, 0.8), rng.uniform(0.4, 0.8)), 1.6, picture, rng)
            left += width + rng.uniform(0.05, 0.3)


def _standing(
    rng: np.random.Generator, middle: Float64, inward: Float64, size: tuple[float, float], paint: _Paint
) -> Iterator[Quad]:
    """Piece of furniture of (width, height) [m] with its back to the wall at a point (2,), and things on a low one."""
    width, height = size
    place = middle + inward * (_DEPTH / 2 + 0.01)
    front, side = Texture(paint(rng, width, height)), Texture(wood(rng, _DEPTH, height))
    yield from box(place, inward, (width, _DEPTH, height), 0.0, front, side)
    if height < 1.2:
        for shift in (-0.3, 0.3):
            edge, tall = rng.uniform(0.1, 0.25), rng.uniform(0.1, 0.4)
            skin = Texture(carton(rng, edge, tall))
            thing = place + shift * width * np.array([-inward[1], inward[0]])
            yield from box(thing, inward, (edge, edge, tall), height + 0.002, skin, skin)


def _cartons(rng: np.random.Generator, middle: Float64, inward: Float64) -> Iterator[Quad]:
    """Pile of cartons, each turned its own way."""
    bottom = 0.0
    for _ in range(int(rng.integers(2, 4))):
        edge, height, turn = rng.uniform(0.3, 0.45), rng.uniform(0.2, 0.4), rng.uniform(-0.3, 0.3)
        towards = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ inward
        skins = [Texture(carton(rng, edge, height)) for _ in range(2)]
        yield from box(middle + inward * 0.32, towards, (edge, edge, height), bottom, skins[0], skins[1])
        bottom += height + 0.002


def _hung(
    middle: Float64,
    along: Float64,
    inward: Float64,
    size: tuple[float, float],
    height: float,
    paint: _Paint,
    rng: np.random.Generator,
) -> Quad:
    """Flat thing of (width, height) [m] on the wall around a point (2,), its middle at ``height`` [m]."""
    place, half = middle + _OFF_WALL * inward, size[0] / 2
    skin = Texture(paint(rng, *size))
    return upright(place - half * along, place + half * along, height - size[1] / 2, height + size[1] / 2, skin)


def _door(rng: np.random.Generator, width: float, height: float) -> UInt8:
    canvas = canvas_of(width, height, rng.uniform(90, 200))
    canvas += noise(rng, canvas.shape[:2], {3: 2, 60: 5})
    frame = (0, 0), (canvas.shape[1] - 1, canvas.shape[0] - 1)
    cv2.rectangle(canvas, *frame, 60.0, texels(0.03))
    for top in (0.1, 0.55):
        corner = texels(0.15), round(top * canvas.shape[0])
        cv2.rectangle(canvas, corner, (canvas.shape[1] - corner[0], corner[1] + round(0.38 * canvas.shape[0])), 70.0, 3)
    cv2.circle(canvas, (canvas.shape[1] - texels(0.08), canvas.shape[0] // 2), texels(0.025), 230.0, -1, cv2.LINE_AA)
    return finish(canvas)


def _window(rng: np.random.Generator, width: float, height: float) -> UInt8:
    """Paint a window with a view of roofs, as a picture: what is behind it does not move against it."""
    canvas = canvas_of(width, height, 0)
    rows, columns = canvas.shape[:2]
    canvas += np.linspace(235, 190, rows, dtype=np.float32)[:, None]
    for _ in range(12):
        left, top = int(rng.uniform(-0.2, 0.9) * columns), int(rng.uniform(0.4, 0.8) * rows)
        house = rectangle(canvas, (left, top, texels(rng.uniform(0.1, 0.3)), rows), rng.uniform(60, 170))
        house[texels(0.02) :: texels(0.05), texels(0.01) :: texels(0.03)] = 40
    for x in (0, columns // 2, columns - texels(0.05)):
        rectangle(canvas, (x, 0, texels(0.05), rows), 225)
    for y in (0, rows // 3, rows - texels(0.05)):
        rectangle(canvas, (0, y, columns, texels(0.05)), 225)
    return finish(canvas)


def _in_the_middle(rng: np.random.Generator) -> Iterator[Quad]:
    """Table on the rug, and a board on a stand at each of its ends."""
    yield from table(rng, np.zeros(2), np.array([1.0, 0.0]), (1.6, 0.9))
    for end in (-1, 1):
        foot, board = np.array([end * 0.95, 0.0]), _writing(rng)
        turned = np.array([0.0, 1.0]) * end
        yield upright(foot - 0.4 * turned, foot + 0.4 * turned, 0.6, 1.25, Texture(board))


def _writing(rng: np.random.Generator) -> UInt8:
    canvas: Float32 = canvas_of(0.8, 0.65, 205) + noise(rng, (texels(0.65), texels(0.8)), {5: 3, 40: 5})
    for top in range(texels(0.05), canvas.shape[0] - texels(0.08), texels(0.07)):
        letters(rng, canvas[top : top + texels(0.05), texels(0.05) : -texels(0.05)], rng.uniform(25, 110))
    cv2.rectangle(canvas, (0, 0), (canvas.shape[1] - 1, canvas.shape[0] - 1), 50.0, texels(0.025))
    return finish(canvas)


def _chairs(seed: int) -> tuple[list[Quad], list[Quad]]:
    """Chairs around the table in the first and in the second pass."""
    rng = np.random.default_rng([seed, _CHAIRS])
    passes: tuple[list[Quad], list[Quad]] = ([], [])
    for number, (x, y) in enumerate(((-0.45, -0.6), (0.45, -0.6), (-0.45, 0.6), (0.45, 0.6))):
        place, heading = np.array([x, y]), -np.sign(y) * np.pi / 2  # towards the table
        shift, turn = rng.uniform(-0.15, 0.15, 2), rng.uniform(-0.6, 0.6)
        if rng.random() < _UNMOVED:
            shift, turn = np.zeros(2), 0.0
        for quads, moved in zip(passes, (0.0, 1.0), strict=True):
            own = np.random.default_rng([seed, _CHAIRS, number])
            quads.extend(chair(own, place + moved * shift, float(heading + moved * turn)))
    return passes
