"""8-bit images from 16-bit ones, of which sensors fill 8, 10, 12, 14 or all 16 bits.

No header tells how many bits a sensor has. The number of bits that its brightest pixel needs does, and it hardly
varies from image to image: a scale by the smallest and largest value of each image would flicker.
"""

from dataclasses import dataclass

import numpy as np

from vizloc_ros.arrays import UInt8, UInt16

_DEPTHS = (8, 10, 12, 14, 16)  # bits of sensors


def bits_in_use(pixels: UInt16) -> int:
    """Smallest depth of a sensor [bits] that has the brightest of the pixels."""
    brightest = int(pixels.max(initial=0))
    return next(bits for bits in _DEPTHS if brightest < 1 << bits)


@dataclass
class BitDepth:
    """Bit depth of the images of one source: the largest that was seen, so that a dark image keeps its scale.

    Attributes:
        bits: the depth so far [bits].
    """

    bits: int = _DEPTHS[0]

    def to_8_bit(self, pixels: UInt16) -> UInt8:
        """Upper 8 of the bits in use, of an array of any shape."""
        self.bits = max(self.bits, bits_in_use(pixels))
        return (pixels >> (self.bits - 8)).astype(np.uint8)
