"""Sizes of images are known before they are decoded, and too large ones are refused by name."""

import resource
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from vizloc_ros.datasets.image_ends import End, end_of
from vizloc_ros.datasets.image_files import ImageSource, decode_image, image_size
from vizloc_ros.datasets.image_headers import ImageHeader, read_header
from vizloc_ros.errors import ImageError

HUGE = 12_000  # px; a message of 140 kB needs 144 MB
ENDINGS = (".png", ".jpg", ".tiff", ".webp", ".bmp", ".pgm", ".ppm", ".jp2")


def encoded(ending: str, channels: int = 3) -> bytes:
    shape = (37, 53) if channels == 1 else (37, 53, channels)
    return cv2.imencode(ending, np.random.default_rng(0).integers(0, 255, shape, np.uint8))[1].tobytes()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def huge_png() -> bytes:
    """A valid gray image of one value, whose rows compress to almost nothing."""
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(HUGE + 1)) for _ in range(HUGE)) + packer.flush()
    header = struct.pack(">IIBBBBB", HUGE, HUGE, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_size_of_every_format_is_in_its_header(ending: str, tmp_path: Path) -> None:
    data = encoded(ending, 1 if ending == ".pgm" else 3)
    header = read_header(data)
    assert header is not None
    assert header[:2] == (53, 37)
    path = tmp_path / f"image{ending}"
    path.write_bytes(data)
    assert image_size(path) == (53, 37)
    path.write_bytes(data[:4])
    with pytest.raises(ImageError, match=r"image\.\w+: not an image that OpenCV can decode \(4 bytes\)"):
        image_size(path)


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\xff\xff" * 2, (1 << 24, 1 << 24)),
        (b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f" + struct.pack("<I", 99 | 49 << 14), (100, 50)),
        (b"P5 # a comment\n# 1 1\n 640 480 255\n", (640, 480)),
        (b"GIF89a" + struct.pack("<HH", 7, 9), (7, 9)),
        (b"BM" + bytes(12) + struct.pack("<Iii", 40, 640, -480), (640, 480)),
        (b"MM\0*" + struct.pack(">IHHHIHHHIHH", 8, 2, 256, 3, 1, 70, 0, 257, 4, 1, 80), None),
    ],
)
def test_headers_by_hand(data: bytes, size: tuple[int, int] | None) -> None:
    header = read_header(data + bytes(8))
    assert header is not None
    if size is not None:
        assert header[:2] == size


def test_a_second_size_and_large_tiles_do_not_hide_the_first() -> None:
    """Of two frames of a JPEG the larger one counts; a decoder allocates a whole tile for a small image."""
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, 30_000, 30_000, 1) + bytes(3)
    jpeg = encoded(".jpg")
    assert read_header(jpeg[:2] + frame + jpeg[2:]) == ImageHeader(30_000, 30_000)
    tags = ((256, 64), (257, 48), (322, 30_000), (323, 20_000), (256, 60_000))
    tiff = b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(struct.pack("<HHII", tag, 4, 1, v) for tag, v in tags)
    header = read_header(tiff)
    assert header == ImageHeader(64, 48, 600_000_000)
    assert header.pixels == 600_000_000


def test_a_huge_image_is_refused_before_it_is_decoded() -> None:
    data = huge_png()
    assert len(data) < 1_000_000
    source = ImageSource("/camera/image/compressed", max_pixels=50_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError, match=r"^/camera/image/compressed: it is 12000x12000 px, above .* 50,000,000 "):
        decode_image(data, "it", source)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB
    decode_image(encoded(".png"), "it", ImageSource("a topic", max_pixels=53 * 37))


def test_a_chunk_of_a_png_that_claims_gigabytes_is_cut_off() -> None:
    data = encoded(".png")
    claimed = data[:33] + b"\xa0" + data[34:]
    assert end_of(data) is End.WHOLE
    assert end_of(claimed) is End.CUT_OFF
