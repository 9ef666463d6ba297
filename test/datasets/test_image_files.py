"""Image files as cameras and programs leave them: padded, without an end, of more than 8 bits, turned."""

import logging
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.exif import exif_orientation, orientation_text
from vizloc_ros.datasets.image_files import decode_image, read_image
from vizloc_ros.errors import ImageError


def photo(height: int = 60, width: int = 80) -> UInt8:
    rng = np.random.default_rng(0)
    ramp = np.linspace(40, 200, width) + np.linspace(0, 40, height)[:, np.newaxis]
    return (ramp + rng.normal(0, 5, (height, width))).clip(0, 255).astype(np.uint8)


def encoded(image: UInt8, suffix: str, *flags: int) -> bytes:
    return bytes(cv2.imencode(suffix, image, flags)[1])


def with_exif(data: bytes, orientation: int, order: str = "<") -> bytes:
    """JPEG, PNG or WebP with an EXIF tag; in a JPEG, a preview of another picture follows the tag."""
    head = {"<": b"II*\0", ">": b"MM\0*"}[order]
    tags = ((0x010F, 2, 4, b"Cam\0"), (0x0112, 3, 1, struct.pack(f"{order}HH", orientation, 0)))
    tiff = head + struct.pack(f"{order}IH", 8, len(tags))
    tiff += b"".join(struct.pack(f"{order}HHI", *tag[:3]) + tag[3] for tag in tags) + bytes(4)
    if data.startswith(b"\x89PNG"):
        chunk = b"eXIf" + tiff
        ihdr = 8 + 25
        return data[:ihdr] + struct.pack(">I", len(tiff)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[ihdr:]
    segment = b"Exif\0\0" + tiff + encoded(photo(8, 8), ".jpg")
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


JPEGS = {
    "baseline": encoded(photo(), ".jpg"),
    "progressive": encoded(photo(), ".jpg", cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "restarts": encoded(photo(), ".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
    "preview": with_exif(encoded(photo(), ".jpg"), 1),
    "color": encoded(cv2.cvtColor(photo(), cv2.COLOR_GRAY2BGR), ".jpg"),
}
PADDINGS = {"zeros": bytes(20_000), "ones": b"\xff" * 5000, "an older frame": encoded(photo(30, 30), ".jpg")[100:]}


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kind", [*JPEGS, "png"])
def test_padding_behind_the_end_is_ignored(kind: str, padding: str) -> None:
    data = encoded(photo(), ".png") if kind == "png" else JPEGS[kind]
    np.testing.assert_array_equal(decode_image(data + PADDINGS[padding], "x"), decode_image(data, "x"))


@pytest.mark.parametrize("padding", [0, 20_000])
@pytest.mark.parametrize("ratio", [0.3, 0.6, 0.9, 0.97])
@pytest.mark.parametrize("kind", [*JPEGS, "png"])
def test_what_is_cut_off_is_refused_even_if_padded(kind: str, ratio: float, padding: int) -> None:
    """A preview in it has an end marker of its own."""
    data = encoded(photo(), ".png") if kind == "png" else JPEGS[kind]
    with pytest.raises(ImageError, match=r"x\.jpg: the image is truncated, its end is missing"):
        decode_image(data[: int(len(data) * ratio)] + bytes(padding), "x.jpg")


@pytest.mark.parametrize("kind", JPEGS)
def test_a_folder_without_end_markers_is_named_once(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for i, padding in enumerate((b"", bytes(9000), b"\xff")):
        (tmp_path / f"{i}.jpg").write_bytes(JPEGS[kind][:-2] + padding)
    expected = decode_image(JPEGS[kind], "x")
    with caplog.at_level(logging.WARNING):
        for i in range(3):
            np.testing.assert_array_equal(read_image(tmp_path / f"{i}.jpg"), expected)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{tmp_path}: the JPEG has no end marker, but all of its pixels")


@pytest.mark.parametrize("kind", JPEGS)
def test_the_terminal_stays_quiet_about_frames_without_end_markers(
    kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """OpenCV's decoder would write a line for each of them, and for each attempt to see whether pixels are missing."""
    decode_image(JPEGS[kind][:-2], "x")
    with pytest.raises(ImageError, match="truncated"):
        decode_image(JPEGS[kind][: len(JPEGS[kind]) * 2 // 3], "x")
    assert "JPEG data" not in capfd.readouterr().err


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("is_color", [False, True])
def test_files_of_more_than_8_bits_are_scaled(tmp_path: Path, suffix: str, bits: int, is_color: bool) -> None:
    image = np.full((4, 5, 3), (255, 100, 7), np.uint8) if is_color else np.tile(np.uint8([0, 1, 130, 255]), (3, 1))
    path = tmp_path / f"a{suffix}"
    path.write_bytes(bytes(cv2.imencode(suffix, image.astype(np.uint16) << (bits - 8))[1]))
    np.testing.assert_array_equal(read_image(path), image)


def test_images_of_a_folder_have_one_scale_in_any_order(tmp_path: Path) -> None:
    """One of them is so dark that it fits into 10 bits; the first and the last are read by threads in any order."""
    for name, peak in {"0": 700, "1": 4000, "2": 3000}.items():
        values = (photo().astype(np.uint32) * peak // 255).astype(np.uint16)
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), values)
    (tmp_path / "broken.png").write_bytes(b"no image")
    stored = {name: cv2.imread(str(tmp_path / f"{name}.png"), cv2.IMREAD_UNCHANGED) for name in "012"}
    for name in ("0", "2", "1", "0"):
        np.testing.assert_array_equal(read_image(tmp_path / f"{name}.png"), stored[name] >> 4)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_the_exif_orientation_is_read(tmp_path: Path, orientation: int, order: str, suffix: str) -> None:
    (tmp_path / "a").write_bytes(with_exif(encoded(photo(), suffix), orientation, order))
    assert exif_orientation(tmp_path / "a") == orientation


def test_without_or_with_a_broken_tag_an_image_is_upright(tmp_path: Path) -> None:
    data = with_exif(encoded(photo(), ".jpg"), 6)
    tag = data.index(b"Exif")
    contents = (b"", encoded(photo(), ".jpg"), data[: tag + 9], data[: tag + 20], with_exif(JPEGS["baseline"], 9))
    for content in contents:
        (tmp_path / "a").write_bytes(content)
        assert exif_orientation(tmp_path / "a") == 1
    assert exif_orientation(tmp_path / "nowhere") == 1


@pytest.mark.parametrize(("orientation", "turn"), [(6, "90 degrees clockwise"), (8, "90 degrees counterclockwise")])
def test_a_size_that_differs_by_the_orientation_names_it(tmp_path: Path, orientation: int, turn: str) -> None:
    (tmp_path / "a.jpg").write_bytes(with_exif(encoded(photo(), ".jpg"), orientation))
    expected = rf"a\.jpg: the image is 80x60 px .* for 60x80; it has the EXIF orientation {orientation} .*{turn}\)"
    with pytest.raises(ImageError, match=expected):
        read_image(tmp_path / "a.jpg", (60, 80))


def test_mirrored_orientations_are_described() -> None:
    assert orientation_text(2) == "EXIF orientation 2 (viewers mirror it)"
