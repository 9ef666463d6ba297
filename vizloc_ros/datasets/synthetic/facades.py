"""Textures of facades, each with its own wall, floors, windows, shops, signs, stains and graffiti."""

from dataclasses import dataclass

import cv2
import numpy as np

from vizloc_ros.arrays import Float32, UInt8
from vizloc_ros.datasets.synthetic.paint import (
    cracks,
    finish,
    letters,
    noise,
    pick,
    pixels,
    rectangle,
    stones,
)

GROUND_FLOOR = 3.4  # m


def storeys_height(storeys: int, storey: float) -> float:
    """Height of a building [m] with ``storeys`` floors above the ground floor, each of ``storey`` meters."""
    return GROUND_FLOOR + storeys * storey + 0.6


def paint_facade(rng: np.random.Generator, width: float, storeys: int, storey: float) -> UInt8:
    """Paint a facade ``width`` meters wide with ``storeys`` floors of ``storey`` meters above the ground floor."""
    canvas = _wall(rng, (pixels(storeys_height(storeys, storey)), pixels(width)))
    style = _WindowStyle.random(rng)
    columns = max(2, round(width / rng.uniform(1.8, 2.9)))
    pitch = canvas.shape[1] / columns
    for floor in range(storeys):
        top = pixels(0.6 + floor * storey)
        if rng.random() < 0.4:
            _cornice(rng, canvas, top + pixels(storey) - pixels(0.2), pixels(0.15))
        for column in range(columns):
            if rng.random() < 0.94:
                style.paint(rng, canvas, round((column + 0.5) * pitch), top + pixels(0.45))
    _cornice(rng, canvas, 0, pixels(rng.uniform(0.25, 0.5)))
    _ground_floor(rng, canvas, canvas.shape[0] - pixels(GROUND_FLOOR))
    _wear(rng, canvas)
    return finish(canvas)


def paint_gable(rng: np.random.Generator, width: float, height: float) -> UInt8:
    """Paint a bare side wall of ``width`` by ``height`` meters."""
    canvas = _wall(rng, (pixels(height), pixels(width)))
    cracks(rng, canvas, int(width), 8, 60)
    return finish(canvas)


def _wall(rng: np.random.Generator, shape: tuple[int, int]) -> Float32:
    canvas = np.full(shape, rng.uniform(95, 185), np.float32)
    kind = pick(rng, ["plaster", "brick", "ashlar", "siding"])
    if kind == "plaster":
        canvas += noise(rng, shape, {2: 5, 7: 7, 40: 9})
    elif kind == "brick":
        canvas += stones(rng, shape, (6, 14), 13, 22) + noise(rng, shape, {3: 4})
    elif kind == "ashlar":
        stone = (pixels(rng.uniform(0.3, 0.5)), pixels(rng.uniform(0.5, 1.0)))
        canvas += stones(rng, shape, stone, 11, 30) + noise(rng, shape, {2: 5, 9: 6})
    else:
        canvas += stones(rng, shape, (pixels(rng.uniform(0.14, 0.25)), 4 * shape[1]), 6, 35)
        canvas += noise(rng, shape, {2: 4, 12: 6})
    return canvas


def _cornice(rng: np.random.Generator, canvas: Float32, top: int, height: int) -> None:
    band = rectangle(canvas, (0, top, canvas.shape[1], height), rng.uniform(120, 210))
    band += noise(rng, band.shape, {2: 4, 24: 5})
    band[: max(1, height // 5)] += 20
    band[-max(1, height // 5) :] -= 70


@dataclass(frozen=True)
class _WindowStyle:
    """Common style of the windows of one building; sizes in texels, gray values of the frame."""

    width: int
    height: int
    frame: float
    panes: tuple[int, int]
    shutters: bool
    lintel: bool
    balcony: bool

    @staticmethod
    def random(rng: np.random.Generator) -> "_WindowStyle":
        return _WindowStyle(
            width=pixels(rng.uniform(0.8, 1.3)),
            height=pixels(rng.uniform(1.2, 1.8)),
            frame=rng.uniform(60, 230),
            panes=(int(rng.integers(1, 4)), int(rng.integers(1, 4))),
            shutters=bool(rng.random() < 0.35),
            lintel=bool(rng.random() < 0.6),
            balcony=bool(rng.random() < 0.3),
        )

    def paint(self, rng: np.random.Generator, canvas: Float32, middle: int, top: int) -> None:
        left = middle - self.width // 2
        if self.lintel:
            rectangle(canvas, (left - 6, top - 12, self.width + 12, 9), self.frame * 0.8 + 30)
        if self.shutters:
            shade = rng.uniform(50, 150)
            for x in (left - self.width // 2, left + self.width):
                shutter = rectangle(canvas, (x, top, self.width // 2, self.height), shade)
                shutter[::5] -= 30
        rectangle(canvas, (left - 4, top - 4, self.width + 8, self.height + 8), self.frame)
        _glass(rng, rectangle(canvas, (left, top, self.width, self.height), 0), self.panes, self.frame)
        sill = rectangle(canvas, (left - 7, top + self.height + 3, self.width + 14, 6), 200)
        sill[-2:] = 60
        if self.balcony and rng.random() < 0.6:
            rail = canvas[top + self.height // 2 : top + self.height + 10, max(0, left - 14) : left + self.width + 14]
            rail[:, :: int(rng.integers(5, 9))] = 40
            rail[:3] = 35
            rail[-5:] = 110


def _glass(rng: np.random.Generator, view: Float32, panes: tuple[int, int], frame: float) -> None:
    """Paint window panes with something behind them: darkness, reflected sky, curtains, a blind or a lit room."""
    height, width = view.shape
    if not view.size:
        return
    behind = pick(rng, ["dark", "sky", "curtains", "blind", "room"])
    view[:] = rng.uniform(25, 70) + noise(rng, view.shape, {3: 2, 16: 9})
    if behind == "sky":
        view += np.linspace(rng.uniform(60, 120), 0, height, dtype=np.float32)[:, None]
    elif behind == "curtains":
        folds = 150 + 25 * np.sin(np.arange(width, dtype=np.float32) * rng.uniform(0.4, 1.0))
        gap = int(width * rng.uniform(0.15, 0.4))
        view[:, :gap], view[:, width - gap :] = folds[:gap], folds[width - gap :]
    elif behind == "blind":
        lowered = int(height * rng.uniform(0.2, 0.9))
        view[:lowered] = 165
        view[:lowered:4] = 120
    elif behind == "room":
        for _ in range(5):
            size = rng.integers(4, 1 + max(5, width // 2), 2)
            corner = (int(rng.integers(0, width)), int(rng.integers(0, height)))
            rectangle(view, (*corner, int(size[0]), int(size[1])), rng.uniform(30, 190))
    for k in range(1, panes[0]):
        view[:, max(0, width * k // panes[0] - 2) : width * k // panes[0] + 1] = frame
    for k in range(1, panes[1]):
        view[max(0, height * k // panes[1] - 2) : height * k // panes[1] + 1] = frame


def _ground_floor(rng: np.random.Generator, canvas: Float32, top: int) -> None:
    """Paint bays from left to right: shops with signs, doors, windows, garages, or bare wall with posters."""
    plinth = pixels(rng.uniform(0.3, 0.7))
    band = rectangle(canvas, (0, canvas.shape[0] - plinth, canvas.shape[1], plinth), rng.uniform(60, 130))
    band += stones(rng, band.shape, (max(2, plinth // 2), pixels(0.7)), 12, 25) + noise(rng, band.shape, {2: 5})
    x = pixels(rng.uniform(0.2, 0.6))
    while (room := canvas.shape[1] - x - pixels(0.2)) > pixels(1.1):
        kind = pick(rng, ["shop", "shop", "door", "window", "window", "garage", "posters"])
        meters = {"shop": rng.uniform(2.6, 4.5), "garage": 2.6, "posters": 2.0}.get(kind, 1.1)
        width = min(room, pixels(meters))
        bay = canvas[top:, x : x + width]
        if kind == "shop":
            _shop(rng, bay)
        elif kind in ("door", "garage"):
            _door(rng, bay)
        elif kind == "window":
            view = bay[pixels(0.9) : pixels(2.3)]
            view[:] = rng.uniform(60, 220)
            _glass(rng, view[4:-4, 4:-4], (2, 2), rng.uniform(60, 220))
        else:
            _posters(rng, bay)
        x += width + pixels(rng.uniform(0.25, 0.9))


def _shop(rng: np.random.Generator, bay: Float32) -> None:
    sign = rectangle(bay, (0, pixels(0.25), bay.shape[1], pixels(rng.uniform(0.45, 0.65))), rng.uniform(30, 220))
    letters(rng, sign, 25 if sign[0, 0] > 125 else 225)
    window = bay[pixels(1.0) : -pixels(0.35)]
    if rng.random() < 0.5:
        stripes = np.arange(window.shape[1]) // pixels(0.2) % 2
        window[: pixels(0.4)] = np.where(stripes, 200, rng.uniform(50, 120))
        window = window[pixels(0.4) :]
    window[:] = rng.uniform(40, 160)
    _glass(rng, window[4:-4, 4:-4], (int(rng.integers(1, 4)), 1), rng.uniform(40, 200))
    for _ in range(int(rng.integers(6, 14))):  # goods on display
        y = int(rng.integers(window.shape[0] // 3, window.shape[0] - 8))
        size = (int(rng.integers(5, 26)), int(rng.integers(6, 30)))
        rectangle(window, (int(rng.integers(4, window.shape[1] - 4)), y, *size), rng.uniform(20, 230))


def _door(rng: np.random.Generator, bay: Float32) -> None:
    door = bay[pixels(0.9) :]
    door[:] = rng.uniform(40, 210)
    leaf = door[5:, 5:-5]
    leaf[:] = rng.uniform(40, 190)
    leaf += noise(rng, leaf.shape, {2: 5, 14: 5})
    rows = int(rng.integers(3, 7))
    for k in range(rows):
        y = leaf.shape[0] * k // rows
        leaf[y : y + 2] -= 40
        leaf[y + 2 : y + 4] += 25
    leaf[:, leaf.shape[1] // 2 - 1 : leaf.shape[1] // 2 + 1] -= 45
    plate = rectangle(bay, (bay.shape[1] // 3, pixels(0.55), pixels(0.45), pixels(0.28)), 215)
    letters(rng, plate, 30)


def _posters(rng: np.random.Generator, bay: Float32) -> None:
    for _ in range(int(rng.integers(2, 6))):
        size = (pixels(rng.uniform(0.35, 0.7)), pixels(rng.uniform(0.4, 0.9)))
        corner = (int(rng.integers(0, bay.shape[1])), pixels(rng.uniform(0.7, 2.0)))
        poster = rectangle(bay, (*corner, *size), rng.uniform(40, 225))
        if poster.shape[1] > 12:
            poster += noise(rng, poster.shape, {5: 28})
            letters(rng, poster[4 : poster.shape[0] // 3], rng.uniform(10, 240))
    scribble = rng.uniform([0, pixels(1.2)], [bay.shape[1], pixels(2.6)], (7, 2)).astype(np.int32)
    cv2.polylines(bay, [scribble], False, rng.uniform(20, 230), 3, cv2.LINE_AA)


def _wear(rng: np.random.Generator, canvas: Float32) -> None:
    """Paint dirt, rain streaks, cracks and a drain pipe."""
    canvas *= 1 + noise(rng, canvas.shape, {96: 0.10, 24: 0.05, 6: 0.03})
    streaks = np.asarray(
        cv2.resize(noise(rng, (8, canvas.shape[1]), {3: 0.05}), canvas.shape[::-1], interpolation=cv2.INTER_LINEAR)
    )
    canvas *= 1 + streaks
    cracks(rng, canvas, int(canvas.shape[1] / 60), 7, 50)
    if rng.random() < 0.6:
        x = int(rng.integers(3, canvas.shape[1] - 8))
        canvas[:, x : x + 5] = np.array([70, 150, 170, 120, 50], np.float32)
