"""Photometric augmentation: changes between two drives that leave every pixel in its place.

The functions are the operations, which ``Augmentation`` (HF-Net) and ``Appearance`` (PixLoc) combine, each with its own
order and ranges. They are not those of ``datasets/corruptions.py``, which have five levels and give the same bytes on
every machine.
"""

from collections.abc import Callable

import cv2
import numpy as np
from pydantic import Field

from vizloc_ros.arrays import Float32, UInt8
from vizloc_ros.options import Options

Range = tuple[float, float]
_Step = Callable[[Float32, np.random.Generator], Float32]


class Augmentation(Options):
    """Ranges of the changes, drawn for every image and applied in random order (HF-Net, appendix A.2).

    Brightness, contrast, noise, shade and the chance of motion blur are those of HF-Net's published code. Its motion
    blur is 13 to 21 px long; this one may be shorter. The exposure is an addition.

    Attributes:
        brightness: range of the offset [gray levels].
        contrast: range of the factor around the mean.
        noise: range of the standard deviation [gray levels].
        shade: chance of soft dark or bright ellipses.
        motion_blur: chance of a motion blur.
        motion_blur_length: range of its length [px].
        exposure: chance of an under- or overexposure.
        exposure_gain: range of its factor, drawn on a logarithmic scale; a darker image has more noise.
    """

    brightness: Range = (-30, 40)
    contrast: Range = (0.3, 1.2)
    noise: Range = (0, 10)
    shade: float = Field(default=0.5, ge=0, le=1)
    motion_blur: float = Field(default=0.1, ge=0, le=1)
    motion_blur_length: Range = (3, 21)
    exposure: float = Field(default=0.0, ge=0, le=1)
    exposure_gain: Range = (0.1, 3.0)

    def apply(self, image: UInt8, rng: np.random.Generator) -> UInt8:
        """Changed copy of a (H, W) gray image."""
        steps: list[_Step] = [self._brightness, self._contrast, self._noise]
        steps += [
            step
            for chance, step in (
                (self.shade, add_shade),
                (self.motion_blur, self._motion_blur),
                (self.exposure, self._exposure),
            )
            if rng.random() < chance
        ]
        values = image.astype(np.float32)
        for i in rng.permutation(len(steps)):
            values = np.clip(steps[i](values, rng), 0, 255)
        return values.round().astype(np.uint8)

    def _brightness(self, image: Float32, rng: np.random.Generator) -> Float32:
        return image + np.float32(rng.uniform(*self.brightness))

    def _contrast(self, image: Float32, rng: np.random.Generator) -> Float32:
        mean = image.mean()
        return (image - mean) * np.float32(rng.uniform(*self.contrast)) + mean

    def _noise(self, image: Float32, rng: np.random.Generator) -> Float32:
        return add_noise(image, np.float32(rng.uniform(*self.noise)), rng)

    def _motion_blur(self, image: Float32, rng: np.random.Generator) -> Float32:
        return motion_blur(image, self.motion_blur_length, rng)

    def _exposure(self, image: Float32, rng: np.random.Generator) -> Float32:
        gain = np.float32(log_uniform(self.exposure_gain, rng))
        exposed = expose(image, gain)
        if gain >= 1:
            return exposed
        return add_noise(exposed, np.sqrt(1 + rng.uniform(0, 0.6) * exposed), rng)


def log_uniform(limits: Range, rng: np.random.Generator) -> float:
    """Random number between two limits, uniform on a logarithmic scale."""
    return float(np.exp(rng.uniform(*np.log(limits))))


def expose(image: Float32, gain: np.float32) -> Float32:
    """Image of another exposure, clipped to 0 to 255."""
    return np.clip(image * gain, 0, 255)


def add_noise(image: Float32, deviation: Float32 | np.float32, rng: np.random.Generator) -> Float32:
    """Image with Gaussian noise of a standard deviation, of all or of each pixel [gray levels]; may leave 0 to 255."""
    return image + deviation * rng.standard_normal(image.shape, dtype=np.float32)


def add_shade(image: Float32, rng: np.random.Generator) -> Float32:
    """Image (H, W) under soft dark or bright ellipses; may leave 0 to 255."""
    height, width = image.shape
    mask = np.zeros((height, width), np.float32)
    for _ in range(rng.integers(1, 6)):
        axes = rng.uniform(0.1, 0.4, 2) * min(height, width)
        center = rng.uniform(0, [width, height])
        cv2.ellipse(mask, center.astype(int).tolist(), axes.astype(int).tolist(), rng.uniform(0, 90), 0, 360, 1.0, -1)
    mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(5, 25)).astype(np.float32)
    return image * (1 + np.float32(rng.uniform(-0.7, 0.4)) * mask)


def motion_blur(image: Float32, lengths: Range, rng: np.random.Generator) -> Float32:
    """Image (H, W) after a straight motion of the camera, of a random length within limits [px] and direction."""
    length = rng.uniform(*lengths)
    angle = rng.uniform(0, np.pi)
    half = int(np.ceil(length / 2))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    offset = 0.5 * length * np.array([np.cos(angle), np.sin(angle)])
    start, end = (np.round((half + sign * offset) * 16).astype(int) for sign in (-1, 1))
    cv2.line(kernel, start.tolist(), end.tolist(), 1.0, 1, cv2.LINE_8, 4)
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE).astype(np.float32)
