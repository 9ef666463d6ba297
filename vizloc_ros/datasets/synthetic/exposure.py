"""What light and camera make of the street: sun, exposure, gamma, lens and motion blur, noise."""

from dataclasses import dataclass

import cv2
import numpy as np

from vizloc_ros.arrays import Float32, Float64, UInt8

LENS_BLUR = 0.55  # px, standard deviation; also what softens the stairs along edges


@dataclass(frozen=True)
class Conditions:
    """The conditions of one lap.

    Attributes:
        sun: (3,) unit vector towards the sun.
        contrast: how much brighter (fraction) a surface is that faces the sun than one that does not care.
        gain: brightness factor of the whole.
        gamma: of the camera; over 1 darkens the middle tones.
        slope: (right, down) brightness added from the middle to the border of the image, as a fraction.
        noise: standard deviation [gray values].
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
    """The photo of a rendered image.

    Args:
        radiance: (H, W) as rendered.
        conditions: of the lap.
        exposure: brightness factor of this frame.
        streak: how far the image moves sideways during the exposure [px].
        rng: of the noise of this frame.

    Returns:
        (H, W) gray image.
    """
    height, width = radiance.shape
    tones: Float64 = 255 * (np.arange(256) / 255) ** conditions.gamma * conditions.gain * exposure
    image: Float32 = np.take(tones.astype(np.float32), radiance)
    # A streak of that length, as the Gaussian of the same variance: one separable filter does lens and motion.
    blur = (float(np.hypot(LENS_BLUR, streak / np.sqrt(12))), LENS_BLUR)
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigmaX=blur[0], sigmaY=blur[1]), np.float32)
    right, down = conditions.slope
    image *= (1 + right * np.linspace(-1, 1, width)).astype(np.float32)
    image *= (1 + down * np.linspace(-1, 1, height)).astype(np.float32)[:, None]
    image += conditions.noise * rng.standard_normal(image.shape, dtype=np.float32)
    return image.round().clip(0, 255).astype(np.uint8)
