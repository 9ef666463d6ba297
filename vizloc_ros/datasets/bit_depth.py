"""Images of 16 bits as 8-bit ones: cameras deliver 10 or 12 bits in 16, whose upper byte alone is nearly black."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vizloc_ros.arrays import UInt8

_DEPTHS = (8, 10, 12, 14, 16)  # bits; sensors have even numbers of them


class BitDepth:
    """Number of bits in use by the images of a camera: the largest that was seen, so that brightness does not flicker.

    Attributes:
        bits: 8, 10, 12, 14 or 16; 8 before the first image.
    """

    def __init__(self) -> None:
        self.bits = _DEPTHS[0]

    def eight_bits(self, image: NDArray[Any]) -> UInt8:
        """Scale a uint16 image so that its bits in use become eight; a uint8 image is returned as it is."""
        if image.dtype == np.uint8:
            return np.asarray(image)
        used = int(image.max(initial=0)).bit_length()
        self.bits = max(self.bits, next(bits for bits in _DEPTHS if bits >= used))
        return (image >> (self.bits - 8)).astype(np.uint8)
