"""Deterministic degradations of images: night, blur, noise, occlusion, exposure and roll, each in levels 1 to 5.

The same kind, level and seed give the same bytes on every machine: randomness comes from the frozen MT19937 stream of
``RandomState``, and the arithmetic is integer or single IEEE operations. For one seed, higher levels are stronger
versions of the same change: same lamps, same direction of motion, same obstacles and additional ones.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from zlib import crc32

import numpy as np

from vizloc_ros.arrays import Float64, UInt8
from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.roll import ROLL, rolled
from vizloc_ros.errors import ConfigError, ImageError

LEVELS = range(1, 6)
REFERENCE_WIDTH = 640  # lengths in pixels below are for an image of this width

NIGHT_EXPOSURE = (0.55, 0.36, 0.22, 0.13, 0.07)
NIGHT_READ_NOISE = (1.0, 2.0, 3.0, 4.0, 5.0)
NIGHT_SHOT_NOISE = (0.1, 0.3, 0.6, 1.0, 1.5)  # variance per gray level
BLUR_LENGTH = (4, 8, 14, 22, 32)  # px
NOISE_DEVIATION = (6.0, 13.0, 22.0, 34.0, 48.0)  # gray levels
OCCLUDED_RATIO = (0.08, 0.18, 0.3, 0.45, 0.6)
EXPOSURE_FACTOR = (1.5, 2.2, 3.2, 5.0, 8.0)


@dataclass(frozen=True)
class Degradation:
    """One kind of degradation at one level.

    Attributes:
        kind: key of ``KINDS``, or ``roll``, which turns the pose, too.
        level: 1 (weak) to 5 (strong).
    """

    kind: str
    level: int

    def __post_init__(self) -> None:
        if self.kind not in ALL_KINDS or self.level not in LEVELS:
            raise ConfigError(f"degradation {self.kind}:{self.level} does not exist; {_USAGE}")

    @classmethod
    def parse(cls, text: str) -> "Degradation":
        """Parse ``KIND:LEVEL``, e.g. ``night:3``. Raises ``ConfigError`` that lists the kinds."""
        kind, _, level = text.partition(":")
        if not level.isdecimal():
            raise ConfigError(f"degradation {text!r} is not KIND:LEVEL; {_USAGE}")
        return cls(kind, int(level))

    def __str__(self) -> str:
        return f"{self.kind}:{self.level}"

    def apply(self, image: UInt8, seed: int) -> UInt8:
        """Return the degraded image, of a kind in ``KINDS``.

        Args:
            image: (H, W) or (H, W, 3) uint8 image; not changed.
            seed: seed of the randomness; use another one for each image.

        Raises:
            ImageError: the image has another shape or type.
        """
        if image.dtype != np.uint8 or image.ndim not in (2, 3) or 0 in image.shape:
            raise ImageError(f"an image of shape {image.shape} and type {image.dtype} cannot be degraded")
        random = np.random.RandomState([crc32(self.kind.encode()), seed & 0xFFFFFFFF])
        return KINDS[self.kind](image, self.level - 1, random)


def degrade_records(records: Iterable[Record], degradation: Degradation, seed: int = 0) -> list[Record]:
    """Return the records with degraded images; the randomness of an image depends only on its name and the seed."""

    def seed_of(record: Record) -> int:
        return crc32(record.name.encode()) ^ seed

    def degraded(record: Record) -> Record:
        def read(original: Callable[[], UInt8]) -> UInt8:
            return degradation.apply(original(), seed_of(record))

        raw = record.raw and replace(record.raw, read=partial(read, record.raw.read))
        return replace(record, read_image=partial(read, record.read_image), raw=raw)

    if degradation.kind == ROLL:
        return [rolled(record, degradation.level, bool(seed_of(record) & 1)) for record in records]
    return [degraded(record) for record in records]


def _night(image: UInt8, index: int, random: np.random.RandomState) -> UInt8:
    """Darken the image, corners and shadows most, add the glow of lamps and the noise of a high sensor gain."""
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float64)
    from_centre = ((x - width / 2) ** 2 + (y - height / 2) ** 2) / (width**2 + height**2) * 4.0
    light = NIGHT_EXPOSURE[index] / (1.0 + (index + 1) * 0.3 * from_centre)
    glow = np.zeros((height, width))
    for _ in range(4):
        lamp_x, lamp_y, radius = random.randint(width), random.randint(height // 2 + 1), width * random.randint(1, 4)
        glow += 1.0 / (1.0 + ((x - lamp_x) ** 2 + (y - lamp_y) ** 2) / (radius / 100.0) ** 2)
    reflectance = image / 255.0
    toned = reflectance * (0.3 + 0.7 * reflectance)  # a curve that crushes shadows, exact unlike a power
    lamps = 22.0 * (index + 1) * glow
    if image.ndim == 3:
        light, lamps = light[..., None], lamps[..., None] * np.array([0.55, 0.8, 1.0])  # sodium light, BGR
    signal = 255.0 * toned * light + lamps
    deviation = np.sqrt(NIGHT_READ_NOISE[index] ** 2 + NIGHT_SHOT_NOISE[index] * signal)
    return _to_uint8(signal + deviation * _normal(random, image.shape))


def _blur(image: UInt8, index: int, random: np.random.RandomState) -> UInt8:
    """Blur by motion along a straight line in the image."""
    length = max(2, round(BLUR_LENGTH[index] * image.shape[1] / REFERENCE_WIDTH))
    x, y = random.randint(-100, 101), random.randint(-30, 31)  # mostly sideways, as on a turning vehicle
    x, y = (x, y) if max(abs(x), abs(y)) > 0 else (1, 0)
    longest = max(abs(x), abs(y))
    padded = np.pad(image, [(length, length), (length, length), (0, 0)][: image.ndim], mode="edge")
    total = np.zeros(image.shape, np.uint32)
    height, width = image.shape[:2]
    for step in range(length):
        along = 2 * step - length + 1  # twice the distance from the middle, to stay in integers
        dx, dy = length + (along * x) // (2 * longest), length + (along * y) // (2 * longest)
        total += padded[dy : dy + height, dx : dx + width]
    return ((total + length // 2) // length).astype(np.uint8)


def _noise(image: UInt8, index: int, random: np.random.RandomState) -> UInt8:
    """Add white noise."""
    return _to_uint8(image + NOISE_DEVIATION[index] * _normal(random, image.shape))


def _occlusion(image: UInt8, index: int, random: np.random.RandomState) -> UInt8:
    """Cover the image with flat boxes and ellipses until the ratio of hidden pixels is that of the level."""
    height, width = image.shape[:2]
    y, x = np.ogrid[:height, :width]
    hidden = np.zeros((height, width), bool)
    result = image.copy()
    while hidden.mean() < OCCLUDED_RATIO[index]:
        half_w, half_h = (max(1, size * random.randint(6, 14) // 100) for size in (width, height))
        dx, dy = x - random.randint(width), y - random.randint(height)
        if random.randint(2):
            shape = (abs(dx) <= half_w) & (abs(dy) <= half_h)
        else:
            shape = (dx * half_h) ** 2 + (dy * half_w) ** 2 <= (half_w * half_h) ** 2
        result[shape] = random.randint(20, 200)
        hidden |= shape
    return result


def _exposure(image: UInt8, index: int, random: np.random.RandomState) -> UInt8:
    """Overexpose or underexpose the image; the seed decides which."""
    values, factor = image.astype(np.float64), EXPOSURE_FACTOR[index]
    return _to_uint8(values * factor if random.randint(2) else values / factor - (index + 1))


def _normal(random: np.random.RandomState, shape: tuple[int, ...]) -> Float64:
    """Nearly normal numbers of mean 0 and deviation 1: sums of four bytes, the same with every math library."""
    octets = np.frombuffer(random.bytes(4 * int(np.prod(shape))), np.uint8).reshape(*shape, 4)
    variance = 4 * (256**2 - 1) / 12
    return np.asarray((octets.sum(axis=-1, dtype=np.int64) - 510.0) / np.sqrt(variance))


def _to_uint8(values: Float64) -> UInt8:
    return np.rint(values).clip(0, 255).astype(np.uint8)


KINDS: dict[str, Callable[[UInt8, int, np.random.RandomState], UInt8]] = {
    "night": _night,
    "blur": _blur,
    "noise": _noise,
    "occlusion": _occlusion,
    "exposure": _exposure,
}
ALL_KINDS = (*KINDS, ROLL)
_USAGE = f"write KIND:LEVEL with the kind one of {', '.join(ALL_KINDS)} and the level {LEVELS[0]} to {LEVELS[-1]}"
