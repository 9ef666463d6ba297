"""Reader of image files; every problem of a file is an ``ImageError`` that names it."""

import logging
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vizloc_ros.arrays import UInt8, UInt16, evenly
from vizloc_ros.bounded import open_regular
from vizloc_ros.datasets.bit_depth import BitDepth, bits_in_use
from vizloc_ros.datasets.exif import UPRIGHT, exif_orientation, orientation_text
from vizloc_ros.datasets.image_ends import End, end_of, with_end_marker
from vizloc_ros.datasets.image_headers import FORMATS, MAX_FILE_PIXELS, ImageHeader, read_header
from vizloc_ros.errors import ImageError

# An EXIF rotation is not applied: the calibration belongs to the pixels in their stored order.
DECODE_FLAGS = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
NO_END_MARKER = "the JPEG has no end marker, but all of its pixels: it is used"
_SAMPLED_FILES = 16  # from which the bit depth of a folder is taken
_HEADER_BYTES = 1 << 16  # of a file, in which its size mostly is
_LOG = logging.getLogger(__name__)


class ImageSource:
    """Topic or folder whose images have a bit depth in common, and faults that are named once."""

    def __init__(
        self,
        name: str,
        to_8_bit: Callable[[UInt16], UInt8] | None = None,
        warn: Callable[[str], None] = _LOG.warning,
        max_pixels: int = MAX_FILE_PIXELS,
    ) -> None:
        """Begin a source.

        Args:
            name: topic or folder, for warnings.
            to_8_bit: scale of its 16-bit images; None: by the largest depth that was seen.
            warn: receiver of the warnings.
            max_pixels: pixels above which an image is refused before it is decoded.
        """
        self.max_pixels = max_pixels
        self.to_8_bit = to_8_bit or BitDepth().to_8_bit
        self._name, self._warn = name, warn
        self._named: set[str] = set()
        self._lock = Lock()

    def require_size(self, width: int, height: int, what: str, pixels: int = 0) -> None:
        """Raise ``ImageError`` for an image of more pixels than are allowed.

        Args:
            width: width of the image [px].
            height: height of the image [px].
            what: description of the image.
            pixels: pixels that its decoder needs, if they are more.
        """
        if max(pixels, width * height) > self.max_pixels:
            raise ImageError(
                f"{self._name}: {what} is {width}x{height} px, above the limit of {self.max_pixels:,} pixels: it is "
                "not decoded. Send smaller images, or raise the parameter max_image_pixels of the nodes"
            )

    def name_once(self, fault: str) -> None:
        """Warn of a fault that many images may have, unless that was done."""
        with self._lock:
            is_new = fault not in self._named
            self._named.add(fault)
        if is_new:
            self._warn(f"{self._name}: {fault} (said once; other images may be the same)")


def read_image(path: Path, size: tuple[int, int] | None = None) -> UInt8:
    """Read an image file.

    Args:
        path: path of the file.
        size: (width, height) [px] of the calibration; None accepts any.

    Returns:
        (H, W) gray or (H, W, 3) BGR, uint8, as stored. Images of 16 bits are scaled by the bits that the images of
        their folder use.

    Raises:
        ImageError: the file is missing, truncated, not an image, not of 8 or 16 bits, or of another size.
    """
    image = decode_image(_read_bytes(path), str(path), _source_of_folder(path.parent, path.suffix))
    height, width = image.shape[:2]
    if size is not None and (width, height) != size:
        orientation = exif_orientation(path)
        turned = f"; it has the {orientation_text(orientation)}, which is not applied" if orientation != UPRIGHT else ""
        raise ImageError(
            f"{path}: the image is {width}x{height} px but the calibration is for {size[0]}x{size[1]}{turned}: "
            "use the calibration of these images"
        )
    return image


def image_size(path: Path) -> tuple[int, int]:
    """Size (width, height) [px] of an image, from its header. Raises ``ImageError`` as ``read_image``."""
    header = read_header(_read_bytes(path, _HEADER_BYTES)) or _known_header(_read_bytes(path), str(path))
    return header.width, header.height


def decode_image(data: bytes, name: str, source: ImageSource | None = None) -> UInt8:
    """Decode the bytes of a PNG, JPEG or any other format of OpenCV.

    Args:
        data: content of the file; what follows the end marker is ignored.
        name: name of the image for error messages.
        source: source of the image; None: it stands alone.

    Returns:
        (H, W) gray or (H, W, 3) BGR, uint8.

    Raises:
        ImageError: the data is empty, truncated, not an image, too large an image, or not of 8 or 16 bits.
    """
    source = source or ImageSource(name)
    header = _known_header(data, name)
    source.require_size(header.width, header.height, name, header.pixels)
    end = end_of(data)
    if end is End.CUT_OFF:
        raise ImageError(f"{name}: the image is truncated, its end is missing: send or copy it again")
    if end is End.UNMARKED:
        source.name_once(NO_END_MARKER)
        data = with_end_marker(data)
    image = _decode(data, name)
    if image.dtype == np.uint16:
        return source.to_8_bit(image.astype(np.uint16, copy=False))
    if image.dtype != np.uint8:
        raise ImageError(f"{name}: the image has {image.dtype} pixels; convert it to 8 or 16 bit")
    return np.asarray(image, dtype=np.uint8)


def _known_header(data: bytes, name: str) -> ImageHeader:
    if not data:
        raise ImageError(f"{name}: the image is empty (0 bytes)")
    if (header := read_header(data)) is None:
        raise ImageError(f"{name}: not an image that OpenCV can decode ({len(data)} bytes), {FORMATS}")
    return header


def _decode(data: bytes, name: str) -> NDArray[Any]:
    """Decode an image with the pixels that it has. Raises ``ImageError``."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), DECODE_FLAGS)
    except cv2.error as error:
        raise ImageError(f"{name}: cannot be decoded: {error.err}") from error
    if image is None:
        raise ImageError(f"{name}: not an image that OpenCV can decode ({len(data)} bytes)")
    return image


def _read_bytes(path: Path, count: int = -1) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read(count)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror}") from error


@lru_cache(maxsize=64)
def _source_of_folder(folder: Path, suffix: str) -> ImageSource:
    """Source of the files of a folder. Their order does not matter: threads read them in any."""
    return ImageSource(str(folder), lambda pixels: BitDepth(_bits_of_folder(folder, suffix)).to_8_bit(pixels))


@lru_cache(maxsize=64)
def _bits_of_folder(folder: Path, suffix: str) -> int:
    """Bit depth of the 16-bit images of a folder, from files all over it."""
    paths = sorted(folder.glob(f"*{suffix}"))
    sampled = [paths[i] for i in np.unique(evenly(len(paths), min(len(paths), _SAMPLED_FILES)))]
    depths = [BitDepth().bits]
    for path in sampled:
        with suppress(ImageError):  # of a broken file, which is named when it is read itself
            data = _read_bytes(path)
            header = _known_header(data, str(path))
            ImageSource(str(folder)).require_size(header.width, header.height, path.name, header.pixels)
            image = _decode(data, str(path))
            if image.dtype == np.uint16:
                depths.append(bits_in_use(image))
    return max(depths)
