"""Patches of intensities around landmarks, with which the last step of an alignment is taken (not in the PixLoc paper).

A patch is a residual pattern as in "Direct Sparse Odometry" (Engel, Koltun, Cremers, 2016), but normalized: without its
mean and of unit length it does not depend on gain and offset of the camera. It is sampled from the image that the
network sees, so an image costs one small Gaussian, and a landmark 16 intensities where it is looked up.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np

from vizloc_ros.arrays import Float16, Float32, Float64, Int8, Int64, UInt8
from vizloc_ros.errors import FeatureError
from vizloc_ros.geometry.interpolation import Corners, interpolate_channels_last

SIDE = 4  # intensities on a side
_SPACING = 2.0  # px of the shrunk image
_SMOOTHING = 1.0  # px, standard deviation: intensities 2 px apart show no noise and no aliasing
_AXIS = _SPACING * (np.arange(SIDE) - (SIDE - 1) / 2)
PATTERN: Float64 = np.stack(np.meshgrid(_AXIS, _AXIS), axis=-1).reshape(-1, 2)
"""(16, 2) columns and rows of the intensities, row by row, from the patch's center [px of the shrunk image]."""
_MIN_NORM = 1e-3  # gray levels; a flat patch becomes zero
_CONTRAST = 10.0  # gray levels: standard deviation of a patch's intensities that earns half of the confidence
_MAX_INTEGER = 127


@dataclass(frozen=True)
class SmoothedImage:
    """A shrunk and smoothed image, from which patches are sampled.

    Attributes:
        intensities: (H, W) intensities [gray levels].
        scale: (2,) columns and rows of it for one pixel of the image.
    """

    intensities: Float32
    scale: Float64

    @classmethod
    def of(cls, shrunk: UInt8, image_size: tuple[int, int]) -> "SmoothedImage":
        """Smooth the (H, W) shrunk one of an image of (width, height)."""
        rows, columns = shrunk.shape
        smoothed = cv2.GaussianBlur(shrunk.astype(np.float32), (0, 0), _SMOOTHING)
        return cls(np.asarray(smoothed, np.float32), np.array([columns / image_size[0], rows / image_size[1]]))

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the shrunk image."""
        return self.intensities.shape[0], self.intensities.shape[1]


@dataclass(frozen=True)
class Patches:
    """Patches of N landmarks, as keyframes see them.

    Attributes:
        values: (N, 16) intensities at ``PATTERN``, without their mean and of unit length.
        contrasts: (N,) standard deviations of the intensities [gray levels]; less for landmarks that count less.
        resolutions: (N,) pixels of the keyframe's shrunk image for a meter at the landmark [px/m].
    """

    values: Float32
    contrasts: Float32
    resolutions: Float32

    def __post_init__(self) -> None:
        count = len(self.contrasts)
        if self.values.shape != (count, len(PATTERN)) or len(self.resolutions) != count:
            raise FeatureError(
                f"patches {self.values.shape} are not {count} x {len(PATTERN)}: they are of another version; make them "
                "again with 'vizloc map add-pixloc'"
            )

    def __len__(self) -> int:
        return len(self.contrasts)

    def take(self, rows: Int64) -> "Patches":
        """Return some of the landmarks, by their rows."""
        return Patches(self.values[rows], self.contrasts[rows], self.resolutions[rows])


@dataclass(frozen=True)
class QuantizedPatches:
    """Patches of N landmarks, as the map stores them.

    Attributes:
        values: (N, 16) integers, the values times 127.
        contrasts: (N,) as in ``Patches``.
        resolutions: (N,) as in ``Patches``.
    """

    values: Int8
    contrasts: Float16
    resolutions: Float16

    @classmethod
    def of(cls, patches: Patches) -> "QuantizedPatches":
        """Quantize patches: values to 8 bit, the rest to 16."""
        limit = np.float32(np.finfo(np.float16).max)
        return cls(
            np.rint(_MAX_INTEGER * patches.values).astype(np.int8),
            patches.contrasts.astype(np.float16),
            np.minimum(patches.resolutions, limit).astype(np.float16),
        )

    def take(self, rows: Int64) -> "QuantizedPatches":
        """Return some of the landmarks, by their rows."""
        return QuantizedPatches(self.values[rows], self.contrasts[rows], self.resolutions[rows])

    def weighted(self, weights: Float32) -> "QuantizedPatches":
        """Return them with the contrasts that have the confidences times (N,) weights from 0 to 1."""
        confidences = contrast_confidence(self.contrasts.astype(np.float32)) * weights
        contrasts = _CONTRAST * np.sqrt(confidences / np.maximum(1 - confidences, 1e-6))
        return replace(self, contrasts=contrasts.astype(np.float16))

    def dequantized(self) -> Patches:
        """Return the patches, without mean and of unit length again."""
        values, _ = normalized(np.asarray(self.values / np.float32(_MAX_INTEGER), np.float32))
        return Patches(values, self.contrasts.astype(np.float32), self.resolutions.astype(np.float32))


def normalized(intensities: Float32) -> tuple[Float32, Float32]:
    """Remove the mean of (N, 16) intensities and scale them to unit length; return these, and their (N,) lengths."""
    values = intensities - intensities.mean(axis=1, keepdims=True)
    lengths = np.sqrt(np.einsum("np,np->n", values, values))
    values /= np.maximum(lengths, np.float32(_MIN_NORM))[:, None]
    return values, lengths


def contrast_confidence(contrasts: Float32) -> Float32:
    """Return the confidence 0 to 1 of (N,) patches in their values, by their contrast [gray levels]."""
    squared = contrasts * contrasts
    return squared / (squared + np.float32(_CONTRAST**2))


def roughness(values: Float32) -> Float32:
    """Return the (N,) sums of the squared differences of neighbors in (N, 16) normalized patches; less if blurred."""
    grid = values.reshape(-1, SIDE, SIDE)
    across, down = grid[:, :, 1:] - grid[:, :, :-1], grid[:, 1:] - grid[:, :-1]
    total: Float32 = np.einsum("nij,nij->n", across, across) + np.einsum("nij,nij->n", down, down)
    return total


def sample_patches(image: SmoothedImage, pixels: Float64, resolutions: Float64) -> Patches:
    """Look up the patches around (N, 2) pixels of the image; beyond its border, intensities are those at the border.

    Args:
        image: the keyframe's.
        pixels: projections of the landmarks [px of the image].
        resolutions: (N,) pixels of the image for a meter at each landmark [px/m].
    """
    rows, columns = image.shape
    centers = (pixels + 0.5) * image.scale - 0.5
    positions = (centers[:, None] + PATTERN).reshape(-1, 2)
    intensities = interpolate_channels_last(image.intensities, Corners.of(positions, columns, rows))
    values, lengths = normalized(intensities.reshape(-1, len(PATTERN)))
    of_shrunk = (image.scale[0] * resolutions).astype(np.float32)
    return Patches(values, lengths / np.float32(np.sqrt(len(PATTERN))), of_shrunk)
