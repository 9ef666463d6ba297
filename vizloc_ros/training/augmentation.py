"""Photometric augmentation: what changes between two drives, but not where things are (HF-Net paper, section 5).

Brightness, contrast, noise, shade and the chance of motion blur are those of the paper's published code. Its blur is
13 to 21 px long, ours may be shorter; exposure is ours.
"""

from collections.abc import Callable

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vizloc_ros.arrays import Float32, UInt8

Range = tuple[float, float]
_Step = Callable[[Float32, np.random.Generator], Float32]


class Augmentation(BaseModel):
    """Ranges of the changes, each drawn anew for every image and applied in random order.

    Attributes:
        brightness: added [gray levels].
        contrast: factor around the mean.
        noise: standard deviation [gray levels].
        shade: chance of a soft dark or bright ellipse.
        motion_blur: chance of a motion blur.
        motion_blur_length: of its kernel [px].
        exposure: chance of an under- or overexposure.
        exposure_gain: its factor, drawn on a logarithmic scale; noise grows as the image is darkened.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    brightness: Range = (-30, 40)
    contrast: Range = (0.3, 1.2)
    noise: Range = (0, 10)
    shade: float = Field(default=0.5, ge=0, le=1)
    motion_blur: float = Field(default=0.1, ge=0, le=1)
    motion_blur_length: Range = (3, 21)
    exposure: float = Field(default=0.0, ge=0, le=1)
    exposure_gain: Range = (0.1, 3.0)

    def apply(self, image: UInt8, rng: np.random.Generator) -> UInt8:
        """Another view (H, W) of the same scene at the same pixels."""
        steps: list[_Step] = [self._brightness, self._contrast, self._noise]
        steps += [
            step
            for chance, step in (
                (self.shade, self.shaded),
                (self.motion_blur, self.motion_blurred),
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
        deviation = np.float32(rng.uniform(*self.noise))
        return image + deviation * rng.standard_normal(image.shape, dtype=np.float32)

    def motion_blurred(self, image: Float32, rng: np.random.Generator) -> Float32:
        """The image after a straight motion of the camera."""
        length = rng.uniform(*self.motion_blur_length)
        angle = rng.uniform(0, np.pi)
        half = int(np.ceil(length / 2))
        kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
        reach = 0.5 * length * np.array([np.cos(angle), np.sin(angle)])
        start, end = (np.round((half + sign * reach) * 16).astype(int) for sign in (-1, 1))
        cv2.line(kernel, start.tolist(), end.tolist(), 1.0, 1, cv2.LINE_8, 4)
        return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE).astype(np.float32)

    def _exposure(self, image: Float32, rng: np.random.Generator) -> Float32:
        low, high = np.log(self.exposure_gain)
        gain = np.float32(np.exp(rng.uniform(low, high)))
        dark = np.clip(image * gain, 0, 255)
        if gain >= 1:
            return dark
        deviation = np.sqrt(1 + rng.uniform(0, 0.6) * dark)
        return dark + deviation * rng.standard_normal(image.shape, dtype=np.float32)

    @staticmethod
    def shaded(image: Float32, rng: np.random.Generator) -> Float32:
        """The image under soft dark or bright ellipses; may leave 0 to 255."""
        height, width = image.shape
        mask = np.zeros((height, width), np.float32)
        for _ in range(rng.integers(1, 6)):
            axes = rng.uniform(0.1, 0.4, 2) * min(height, width)
            centre = rng.uniform(0, [width, height])
            cv2.ellipse(
                mask, centre.astype(int).tolist(), axes.astype(int).tolist(), rng.uniform(0, 90), 0, 360, 1.0, -1
            )
        mask = cv2.GaussianBlur(mask, (0, 0), rng.uniform(5, 25)).astype(np.float32)
        return image * (1 + np.float32(rng.uniform(-0.7, 0.4)) * mask)
