"""Furniture of the room: boxes with painted fronts, at the resolution of a camera that is one to five meters away."""

from collections.abc import Iterator

import cv2
import numpy as np

from vizloc_ros.arrays import Float32, Float64, UInt8
from vizloc_ros.datasets.synthetic.paint import finish, letters, noise, pick, rectangle, stones
from vizloc_ros.datasets.synthetic.quads import Quad, Texture, upright

TEXELS_PER_METER = 240
CHAIR = 0.45  # m, side of a seat


def texels(meters: float) -> int:
    """Convert meters to whole texels, at least one."""
    return max(1, round(meters * TEXELS_PER_METER))


def canvas_of(width: float, height: float, gray: float) -> Float32:
    """Canvas (H, W) of ``width`` by ``height`` meters, of one gray value."""
    return np.full((texels(height), texels(width)), gray, np.float32)


def horizontal(middle: Float64, forward: Float64, size: tuple[float, float], height: float, skin: Texture) -> Quad:
    """Level surface of (length, width) [m] around (2,) ``middle``; its texture's rows run along (2,) ``forward``."""
    right = np.array([forward[1], -forward[0]])
    corner = middle - forward * size[0] / 2 - right * size[1] / 2
    return Quad(np.array([*corner, height]), np.array([*forward * size[0], 0]), np.array([*right * size[1], 0]), skin)


def box(
    middle: Float64,
    forward: Float64,
    size: tuple[float, float, float],
    bottom: float,
    front: Texture,
    side: Texture,
) -> Iterator[Quad]:
    """Closed box: four walls and a lid.

    Args:
        middle: (2,) middle of its ground [m].
        forward: (2,) unit vector towards the side of its front.
        size: (width of the front, depth, height) [m].
        bottom: height of its ground [m].
        front: texture of the front.
        side: texture of the other walls and the lid.
    """
    width, depth, height = size
    left = np.array([forward[1], -forward[0]])  # of somebody who looks at the front
    corners = [middle + x * left * width / 2 + y * forward * depth / 2 for x, y in ((1, 1), (-1, 1), (-1, -1), (1, -1))]
    for k, skin in enumerate((front, side, side, side)):
        yield from upright(corners[k], corners[(k + 1) % 4], bottom, bottom + height, skin).tiles(0.8)
    yield horizontal(middle, left, (width, depth), bottom + height, side)


def wood(rng: np.random.Generator, width: float, height: float) -> UInt8:
    """Paint boards with a grain along their length."""
    canvas = canvas_of(width, height, rng.uniform(80, 165))
    board = (texels(rng.uniform(0.09, 0.14)), texels(rng.uniform(0.6, 1.1)))
    canvas += stones(rng, canvas.shape[:2], board, 9, 30)
    streaks = noise(rng, (canvas.shape[0], -(-canvas.shape[1] // 12)), {2: 7, 5: 6})
    canvas += np.asarray(cv2.resize(streaks, canvas.shape[::-1], interpolation=cv2.INTER_LINEAR))
    return finish(canvas + noise(rng, canvas.shape[:2], {3: 2, 60: 5}))


def bookcase(rng: np.random.Generator, width: float, height: float) -> UInt8:
    """Paint shelves of books, with gaps and a few boxes."""
    frame = rng.uniform(60, 200)
    canvas = canvas_of(width, height, frame) + noise(rng, (texels(height), texels(width)), {3: 2, 50: 4})
    shelf, edge = texels(rng.uniform(0.28, 0.36)), texels(0.025)
    for top in range(edge, canvas.shape[0] - shelf // 2, shelf):
        niche = rectangle(canvas, (edge, top, canvas.shape[1] - 2 * edge, shelf - edge), 22)
        x = 0
        while x < niche.shape[1]:
            thick = texels(rng.uniform(0.018, 0.055))
            if rng.random() < 0.1:
                x += texels(rng.uniform(0.05, 0.2))
                continue
            tall = round(niche.shape[0] * rng.uniform(0.6, 0.97))
            book = rectangle(niche, (x, niche.shape[0] - tall, thick, tall), rng.uniform(35, 225))
            book[:, :1] -= 25
            if min(thick, book.shape[1]) > 8 and rng.random() < 0.7:
                label = rectangle(book, (1, round(tall * rng.uniform(0.1, 0.5)), thick - 2, tall // 4), 200)
                upright_text = np.ascontiguousarray(label.T)
                letters(rng, upright_text, 30)
                label[:] = upright_text.T
            x += thick
    return finish(canvas)


def cabinet(rng: np.random.Generator, width: float, height: float) -> UInt8:
    """Paint drawers and doors with handles."""
    paint = rng.uniform(70, 205)
    canvas = canvas_of(width, height, paint) + noise(rng, (texels(height), texels(width)), {3: 3, 40: 6})
    columns, rows = max(1, round(width / 0.5)), int(rng.integers(1, 5))
    for column in range(columns):
        for row in range(rows):
            x, y = column * canvas.shape[1] // columns, row * canvas.shape[0] // rows
            w, h = canvas.shape[1] // columns, canvas.shape[0] // rows
            cv2.rectangle(canvas, (x + 2, y + 2), (x + w - 3, y + h - 3), paint * 0.45, 2)
            handle = (x + w // 2 - texels(0.05), y + min(h // 3, texels(0.1)), texels(0.1), texels(0.018))
            rectangle(canvas, handle, 235.0 if paint < 130 else 25.0)
            if rng.random() < 0.3:
                letters(rng, rectangle(canvas, (x + w // 4, y + h // 2, w // 2, texels(0.04)), 220), 25)
    return finish(canvas)


def carton(rng: np.random.Generator, width: float, height: float) -> UInt8:
    """Paint a carton with tape and writing."""
    canvas = canvas_of(width, height, rng.uniform(110, 160))
    canvas += noise(rng, canvas.shape[:2], {2: 3, 8: 4, 40: 6})
    rectangle(canvas, (canvas.shape[1] // 2 - texels(0.025), 0, texels(0.05), canvas.shape[0]), 185)
    for _ in range(int(rng.integers(1, 4))):
        size = texels(rng.uniform(0.1, 0.25)), texels(rng.uniform(0.03, 0.07))
        corner = rng.uniform(0, (max(1, canvas.shape[1] - size[0]), max(1, canvas.shape[0] - size[1]))).astype(int)
        letters(rng, rectangle(canvas, (int(corner[0]), int(corner[1]), *size), rng.uniform(90, 230)), 35)
    return finish(canvas)


def picture(rng: np.random.Generator, width: float, height: float) -> UInt8:
    """Paint a framed picture: shapes, a page of text, or a plan."""
    canvas = canvas_of(width, height, rng.uniform(60, 220))
    canvas += noise(rng, canvas.shape[:2], {4: 6, 25: 22, 70: 25})
    size, kind = np.array(canvas.shape[::-1]), pick(rng, ["shapes", "text", "plan"])
    if kind == "text":
        canvas[:] = 215
        for top in range(texels(0.04), canvas.shape[0] - texels(0.05), texels(rng.uniform(0.03, 0.05))):
            letters(rng, canvas[top : top + texels(0.022), texels(0.04) : -texels(0.04)], rng.uniform(20, 110))
    for _ in range(int(rng.integers(8, 20)) if kind != "text" else 2):
        middle, gray = rng.uniform(0, size).astype(int), rng.uniform(15, 235)
        reach = int(rng.uniform(0.03, 0.25) * size.min())
        if kind == "plan" or rng.random() < 0.4:
            line = np.round(middle + np.cumsum(rng.normal(0, reach, (6, 2)), axis=0)).astype(np.int32)
            cv2.polylines(canvas, [line], bool(rng.random() < 0.3), gray, int(rng.integers(1, 6)), cv2.LINE_AA)
        else:
            cv2.circle(canvas, (int(middle[0]), int(middle[1])), reach, gray, -1, cv2.LINE_AA)
    cv2.rectangle(canvas, (0, 0), (int(size[0]) - 1, int(size[1]) - 1), rng.uniform(10, 120), 2 * texels(0.015))
    return finish(canvas)


def fabric(rng: np.random.Generator, width: float, height: float) -> UInt8:
    """Paint woven cloth with a pattern of stripes both ways."""
    canvas = canvas_of(width, height, rng.uniform(70, 170))
    for axis in (0, 1):
        stripes = noise(rng, (1, canvas.shape[axis]), {texels(0.02): 14, texels(0.08): 18})[0]
        canvas += stripes[:, None] if axis == 0 else stripes[None]
    return finish(canvas + noise(rng, canvas.shape[:2], {2: 6, 5: 6}))


def chair(rng: np.random.Generator, middle: Float64, heading: float) -> Iterator[Quad]:
    """Chair on a ground point (2,) whose user looks along ``heading`` [rad]: a seat, a back and four legs."""
    forward, left = np.array([np.cos(heading), np.sin(heading)]), np.array([-np.sin(heading), np.cos(heading)])
    cloth, leg = Texture(fabric(rng, CHAIR, CHAIR)), Texture(wood(rng, 0.04, 0.45))
    yield horizontal(middle, forward, (CHAIR, CHAIR), 0.45, cloth)
    back = middle - forward * CHAIR / 2
    yield upright(back + left * CHAIR / 2, back - left * CHAIR / 2, 0.5, 0.92, cloth)
    for x, y in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        foot = middle + (x * forward + y * left) * (CHAIR / 2 - 0.03)
        height = 0.45 if x > 0 else 0.92
        yield from list(box(foot, forward, (0.04, 0.04, height), 0.0, leg, leg))[:4]


def table(rng: np.random.Generator, middle: Float64, forward: Float64, size: tuple[float, float]) -> Iterator[Quad]:
    """Table of (length, width) [m] with papers, two boards as legs, and boxes and a screen on it."""
    top = np.asarray(wood(rng, *size), np.float32)
    for _ in range(int(rng.integers(4, 9))):
        width, height = texels(0.21), texels(0.29)
        corner = rng.uniform(0, (max(1, top.shape[1] - width), max(1, top.shape[0] - height))).astype(int)
        page = rectangle(top, (int(corner[0]), int(corner[1]), width, height), rng.uniform(180, 230))
        for row in range(8, page.shape[0] - 12, 11):
            letters(rng, page[row : row + 7, 6:-6], rng.uniform(20, 110))
    yield horizontal(middle, forward, size, 0.74, Texture(finish(top)))
    left, board = np.array([-forward[1], forward[0]]), Texture(wood(rng, size[1], 0.74))
    for end in (-1, 1):
        foot = middle + end * forward * (size[0] / 2 - 0.1)
        yield upright(foot + left * size[1] / 2, foot - left * size[1] / 2, 0.0, 0.74, board)
    for along in np.linspace(-0.35, 0.35, 3) * size[0]:
        edge, tall = rng.uniform(0.12, 0.3), rng.uniform(0.08, 0.35)
        skins = [Texture(carton(rng, edge, tall)) for _ in range(2)]
        place = middle + along * forward + rng.uniform(-0.25, 0.25) * size[1] * left
        turn = rng.uniform(0, 2 * np.pi)
        yield from box(place, np.array([np.cos(turn), np.sin(turn)]), (edge, edge, tall), 0.742, skins[0], skins[1])
