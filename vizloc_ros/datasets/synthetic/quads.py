"""Textured parallelograms, the only primitive of the synthetic street."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from vizloc_ros.arrays import Float64, UInt8

MIN_LEVEL_SIZE = 8  # texels; smaller levels are about one gray value


def _halved(image: UInt8, axis: int) -> list[UInt8]:
    """Return the image and its versions halved once, twice, ... along an axis."""
    levels = [image]
    while (size := levels[-1].shape[axis] // 2) >= MIN_LEVEL_SIZE:
        height, width = levels[-1].shape
        target = (width, size) if axis == 0 else (size, height)
        levels.append(np.asarray(cv2.resize(levels[-1], target, interpolation=cv2.INTER_AREA), np.uint8))
    return levels


def _ripmap(image: UInt8) -> list[list[UInt8]]:
    """Return the image halved i times in height and j times in width, for every i and j: ``ripmap[i][j]``."""
    return [_halved(row, axis=1) for row in _halved(image, axis=0)]


class Texture:
    """Gray image, pre-filtered so that it is sampled without aliasing under any foreshortening.

    Most surfaces of a street are seen at grazing angles, where one axis shrinks far more than the other. A ripmap has
    levels for each axis; a mipmap would blur both axes as much as the worse one needs.
    """

    def __init__(self, image: UInt8, alpha: UInt8 | None = None) -> None:
        """Take an (H, W) gray image and, for outlines other than a parallelogram, an (H, W) alpha (opaque from 128)."""
        self.height, self.width = image.shape
        self._image = _ripmap(image)
        self._alpha = None if alpha is None else _ripmap(alpha)

    def level(self, shrink_u: float, shrink_v: float) -> tuple[UInt8, UInt8 | None]:
        """Image and alpha on the level for these shrinkages (texels of the full image per pixel, along u and v)."""
        i = min(max(0, round(float(np.log2(max(shrink_v, 1e-6))))), len(self._image) - 1)
        j = min(max(0, round(float(np.log2(max(shrink_u, 1e-6))))), len(self._image[0]) - 1)
        return self._image[i][j], None if self._alpha is None else self._alpha[i][j]


@dataclass(frozen=True)
class Quad:
    """Parallelogram of points ``origin + s * right + t * down`` with s and t in [0, 1], visible from both sides.

    Attributes:
        origin: (3,) top-left corner in the world [m].
        right: (3,) edge along the rows of the texture [m].
        down: (3,) edge along the columns of the texture [m].
        texture: texture of the surface.
        window: (u, v, width, height) of the part of the texture on the surface, as fractions of the texture.
        lit: True if the sun changes the brightness, as it does not for the sky.
    """

    origin: Float64
    right: Float64
    down: Float64
    texture: Texture
    window: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    lit: bool = True

    def tiles(self, size: float) -> Iterator["Quad"]:
        """Split the surface into tiles of about ``size`` meters, so that each gets its own level of the texture."""
        columns = max(1, round(float(np.linalg.norm(self.right)) / size))
        rows = max(1, round(float(np.linalg.norm(self.down)) / size))
        right, down = self.right / columns, self.down / rows
        u, v, width, height = self.window
        for row in range(rows):
            for column in range(columns):
                window = (u + width * column / columns, v + height * row / rows, width / columns, height / rows)
                yield Quad(self.origin + column * right + row * down, right, down, self.texture, window, self.lit)


def upright(start: Float64, end: Float64, bottom: float, top: float, texture: Texture) -> Quad:
    """Vertical wall between two (2,) ground points [m]; the rows of its texture run from ``start`` to ``end``."""
    edge = end - start
    return Quad(np.array([*start, top]), np.array([*edge, 0.0]), np.array([0.0, 0.0, bottom - top]), texture)


@dataclass(frozen=True)
class Scene:
    """Quads of a scene, with their geometry in arrays for the renderer."""

    quads: tuple[Quad, ...]

    @cached_property
    def frames(self) -> Float64:
        """(N, 3, 3) matrices [right, down, origin] that map (s, t, 1) to points in the world [m]."""
        return np.stack([np.stack([quad.right, quad.down, quad.origin], axis=1) for quad in self.quads])

    @cached_property
    def normals(self) -> Float64:
        """(N, 3) unit normals on the side where the texture is not mirrored; zero for quads that are not lit."""
        normals = np.cross(self.frames[:, :, 1], self.frames[:, :, 0])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        return normals * np.array([[quad.lit] for quad in self.quads])
