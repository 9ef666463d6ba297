"""Photometric model of the rendered images: sun, exposure, gamma, lens and motion blur, noise."""

from dataclasses import dataclass

import cv2
import numpy as np

from vizloc_ros.arrays import Float32, Float64, UInt8

LENS_BLUR = 0.55  # px, standard deviation; also the anti-aliasing of edges


@dataclass(frozen=True)
class Conditions:
    """Light and camera settings of one lap.

    Attributes:
        sun: (3,) unit vector towards the sun, in the world.
        contrast: relative brightness that a surface gains if it faces the sun.
        gain: brightness factor of the image.
        gamma: gamma of the camera; above 1, it darkens the middle tones.
        slope: (right, down) relative brightness gained from the middle to the border of the image.
        noise: standard deviation of the noise [gray values].
        shutter: time of exposure [s].
    """

    sun: tuple[float, float, float]
    contrast: float
    gain: float
    gamma: float
    slope: tuple[float, float]
    noise: float
    shutter: float

    def gains(self, normals: Float64) -> Float64:
        """(N,) brightness factors of surfaces with these (N, 3) normals."""
        return 1 + self.contrast * (normals @ np.asarray(self.sun))


MORNING = Conditions(
    sun=(0.6, -0.5, 0.62), contrast=0.08, gain=1.0, gamma=1.0, slope=(0.0, 0.0), noise=1.0, shutter=0.001
)
EVENING = Conditions(
    sun=(-0.75, 0.45, 0.48), contrast=0.22, gain=0.9, gamma=1.25, slope=(0.18, -0.10), noise=2.5, shutter=0.008
)


def expose(radiance: UInt8, conditions: Conditions, exposure: float, streak: float, rng: np.random.Generator) -> UInt8:
    """Simulate the camera's image of a rendered view.

    Args:
        radiance: (H, W) rendered gray image.
        conditions: light and camera settings of the lap.
        exposure: brightness factor of this frame.
        streak: horizontal motion of the image during the exposure [px].
        rng: random numbers for the noise of this frame.

    Returns:
        (H, W) gray image.
    """
    height, width = radiance.shape
    tones: Float64 = 255 * (np.arange(256) / 255) ** conditions.gamma * conditions.gain * exposure
    image: Float32 = np.take(tones.astype(np.float32), radiance)
    # The streak is approximated by a Gaussian of the same variance: one separable filter for lens and motion.
    blur = (float(np.hypot(LENS_BLUR, streak / np.sqrt(12))), LENS_BLUR)
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigmaX=blur[0], sigmaY=blur[1]), np.float32)
    right, down = conditions.slope
    image *= (1 + right * np.linspace(-1, 1, width)).astype(np.float32)
    image *= (1 + down * np.linspace(-1, 1, height)).astype(np.float32)[:, None]
    image += conditions.noise * rng.standard_normal(image.shape, dtype=np.float32)
    return image.round().clip(0, 255).astype(np.uint8)
