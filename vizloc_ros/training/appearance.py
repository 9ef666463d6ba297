"""Photometric changes between two drives: light, weather, sensor, motion, dirt, and obstacles.

Images of a map are mostly good ones, those of a vehicle are not: both images of a pair are changed, the query more.
"""

import cv2
import numpy as np
from pydantic import Field

from vizloc_ros.arrays import Float32, UInt8
from vizloc_ros.options import Options
from vizloc_ros.training.augmentation import Augmentation, Range, add_noise, add_shade, expose, log_uniform, motion_blur
from vizloc_ros.training.weather import (
    add_cast_shadow,
    add_lens_flare,
    add_rain,
    add_snow,
    add_veil,
    change_local_contrast,
    compress,
)


class Appearance(Options):
    """Chances and ranges of the changes, drawn for every image.

    Attributes:
        gain: chance of another exposure.
        gain_range: range of its factor, on a logarithmic scale.
        gamma: chance of another tone curve.
        gamma_range: range of its exponent, on a logarithmic scale.
        night: chance of low light: crushed shadows, vignetting, lamps, and the noise of a high gain.
        night_light: range of the remaining light, on a logarithmic scale.
        noise: chance of noise.
        noise_range: range of its standard deviation [gray levels].
        motion: chance of motion blur.
        motion_range: range of its length [px].
        defocus: chance of a blur without direction.
        defocus_range: range of its standard deviation [px].
        shade: chance of soft shadows and lights.
        occlusion: chance of obstacles.
        occlusion_range: range of the fraction of the image behind them.
        cast_shadow: chance of shadows with sharp edges.
        snow: chance of snow that lies and falls.
        rain: chance of rain.
        fog: chance of fog.
        flare: chance of the sun in the lens.
        local_contrast: chance of other weights of coarse light and fine detail.
        jpeg: chance of a strong compression.
        jpeg_quality: range of its quality.
        strength: factor of all chances; 0 leaves images unchanged.
    """

    gain: float = Field(default=0.35, ge=0, le=1)
    gain_range: Range = (0.1, 8.0)
    gamma: float = Field(default=0.4, ge=0, le=1)
    gamma_range: Range = (0.4, 2.5)
    night: float = Field(default=0.25, ge=0, le=1)
    night_light: Range = (0.05, 0.5)
    noise: float = Field(default=0.4, ge=0, le=1)
    noise_range: Range = (2, 50)
    motion: float = Field(default=0.3, ge=0, le=1)
    motion_range: Range = (3, 32)
    defocus: float = Field(default=0.15, ge=0, le=1)
    defocus_range: Range = (0.5, 3.0)
    shade: float = Field(default=0.3, ge=0, le=1)
    occlusion: float = Field(default=0.35, ge=0, le=1)
    occlusion_range: Range = (0.05, 0.6)
    cast_shadow: float = Field(default=0.0, ge=0, le=1)
    snow: float = Field(default=0.0, ge=0, le=1)
    rain: float = Field(default=0.0, ge=0, le=1)
    fog: float = Field(default=0.0, ge=0, le=1)
    flare: float = Field(default=0.0, ge=0, le=1)
    local_contrast: float = Field(default=0.0, ge=0, le=1)
    jpeg: float = Field(default=0.0, ge=0, le=1)
    jpeg_quality: Range = (10, 60)
    strength: float = Field(default=1.0, ge=0)

    def apply(self, image: UInt8, rng: np.random.Generator, other: UInt8 | None = None) -> UInt8:
        """Changed copy of an image.

        Args:
            image: (H, W) gray image.
            rng: source of all random numbers.
            other: (H, W) image of another place, parts of which may be obstacles; None for flat shapes alone.
        """
        values = image.astype(np.float32)
        if self._happens(self.occlusion, rng):
            values = self._with_obstacles(values, rng, other)
        if self._happens(self.shade, rng):
            values = np.clip(add_shade(values, rng), 0, 255)
        for chance, change in (
            (self.local_contrast, change_local_contrast),
            (self.cast_shadow, add_cast_shadow),
            (self.snow, add_snow),
            (self.rain, add_rain),
            (self.fog, add_veil),
            (self.flare, add_lens_flare),
        ):
            if chance and self._happens(chance, rng):  # draw only for what can happen: runs stay as they were
                values = np.clip(change(values, rng), 0, 255)
        if self._happens(self.motion, rng):
            values = motion_blur(values, self.motion_range, rng)
        if self._happens(self.defocus, rng):
            values = cv2.GaussianBlur(values, (0, 0), rng.uniform(*self.defocus_range)).astype(np.float32)
        if self._happens(self.night, rng):
            values = self._low_light(values, rng)
        if self._happens(self.gamma, rng):
            values = 255 * np.clip(values / 255, 0, 1) ** np.float32(log_uniform(self.gamma_range, rng))
        if self._happens(self.gain, rng):
            values = expose(values, np.float32(log_uniform(self.gain_range, rng)))
        if self._happens(self.noise, rng):
            values = add_noise(values, np.float32(log_uniform(self.noise_range, rng)), rng)
        if self.jpeg and self._happens(self.jpeg, rng):
            values = compress(values, self.jpeg_quality, rng)
        return np.clip(values, 0, 255).round().astype(np.uint8)

    def _happens(self, chance: float, rng: np.random.Generator) -> bool:
        return bool(rng.random() < self.strength * chance)

    def _low_light(self, image: Float32, rng: np.random.Generator) -> Float32:
        """Image with crushed shadows, vignetting, lamps, and the noise of a high gain, all of random strength."""
        height, width = image.shape
        y, x = np.mgrid[:height, :width].astype(np.float32)
        falloff = ((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2) * np.float32(rng.uniform(0, 4))
        curve = np.float32(rng.uniform(0, 0.9))
        reflected = image / 255
        light = np.float32(log_uniform(self.night_light, rng)) / (1 + falloff)
        signal = 255 * reflected * (1 - curve + curve * reflected) * light
        for _ in range(rng.integers(0, 6)):
            radius = width * rng.uniform(0.005, 0.05)
            squared = (x - rng.uniform(0, width)) ** 2 + (y - rng.uniform(0, height * 0.6)) ** 2
            signal = signal + np.float32(rng.uniform(10, 150)) / (1 + squared / np.float32(radius**2))
        deviation = np.sqrt(rng.uniform(0.5, 5) ** 2 + rng.uniform(0, 1.5) * signal).astype(np.float32)
        return np.clip(add_noise(signal, deviation, rng), 0, 255)

    def _with_obstacles(self, image: Float32, rng: np.random.Generator, other: UInt8 | None) -> Float32:
        """Image behind rectangles and ellipses, with a brightness ramp or a part of another image on each."""
        height, width = image.shape
        fraction, hidden = rng.uniform(*self.occlusion_range), np.zeros(image.shape, np.uint8)
        result = image.copy()
        for _ in range(40):
            if hidden.mean() >= fraction:
                break
            shape = np.zeros(image.shape, np.uint8)
            center = (int(rng.integers(width)), int(rng.integers(height)))
            half = (max(1, int(width * rng.uniform(0.03, 0.18))), max(1, int(height * rng.uniform(0.05, 0.3))))
            if rng.random() < 0.5:
                corner = (center[0] - half[0], center[1] - half[1])
                cv2.rectangle(shape, corner, (center[0] + half[0], center[1] + half[1]), 1, -1)
            else:
                cv2.ellipse(shape, center, half, float(rng.uniform(0, 180)), 0, 360, 1, -1)
            inside = shape.astype(bool)
            if other is not None and rng.random() < 0.5:
                shift = (int(rng.integers(height)), int(rng.integers(width)))
                result[inside] = np.roll(other, shift, axis=(0, 1))[inside]
            else:
                ramp = np.linspace(0, rng.uniform(-60, 60), width, dtype=np.float32)
                result[inside] = np.broadcast_to(rng.uniform(0, 255) + ramp, image.shape)[inside]
            hidden |= shape
        return np.clip(result, 0, 255).astype(np.float32)


PhotometricChanges = Augmentation | Appearance
