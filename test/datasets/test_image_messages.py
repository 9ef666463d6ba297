import array
import struct

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image

from vizloc_ros.datasets.image_encodings import SUPPORTED_ENCODINGS
from vizloc_ros.datasets.image_messages import check_exposure, gray_from_compressed, gray_from_image
from vizloc_ros.errors import ImageError

HEIGHT, WIDTH = 6, 8


def message(encoding, data, step, *, height=HEIGHT, width=WIDTH, is_bigendian=0) -> Image:
    return Image(
        encoding=encoding,
        height=height,
        width=width,
        step=step,
        is_bigendian=is_bigendian,
        data=array.array("B", bytes(data)),
    )


def packed(pixels, encoding, padding, *, is_bigendian=0) -> Image:
    """Message of (H, W) or (H, W, C) pixels whose rows end with ``padding`` meaningless bytes."""
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(len(pixels), -1)
    rows = np.hstack([rows, np.full((len(rows), padding), 0xAB, np.uint8)])
    height, width = pixels.shape[:2]
    return message(encoding, rows.tobytes(), rows.shape[1], height=height, width=width, is_bigendian=is_bigendian)


@pytest.fixture
def gray(rng) -> np.ndarray:
    return rng.integers(0, 256, (HEIGHT, WIDTH), np.uint8)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("padding", [0, 1, 5])
class TestEncodings:
    @pytest.mark.parametrize("encoding", ["mono8", "8UC1"])
    def test_gray(self, gray, padding, encoding):
        np.testing.assert_array_equal(gray_from_image(packed(gray, encoding, padding)), gray)

    @pytest.mark.parametrize("is_bigendian", [0, 1])
    def test_mono16_keeps_the_upper_byte(self, rng, padding, is_bigendian):
        values = rng.integers(0, 2**16, (HEIGHT, WIDTH))
        pixels = values.astype(">u2" if is_bigendian else "<u2")
        result = gray_from_image(packed(pixels, "mono16", padding, is_bigendian=is_bigendian))
        np.testing.assert_array_equal(result, values >> 8)

    @pytest.mark.parametrize(
        ("encoding", "red", "green", "blue", "channels"),
        [
            ("rgb8", 0, 1, 2, 3),
            ("bgr8", 2, 1, 0, 3),
            ("8UC3", 2, 1, 0, 3),
            ("rgba8", 0, 1, 2, 4),
            ("bgra8", 2, 1, 0, 4),
            ("8UC4", 2, 1, 0, 4),
        ],
    )
    def test_color_is_luma_of_bt601(self, rng, padding, encoding, red, green, blue, channels):
        pixels = rng.integers(0, 256, (HEIGHT, WIDTH, channels), np.uint8)
        expected = 0.299 * pixels[..., red] + 0.587 * pixels[..., green] + 0.114 * pixels[..., blue]
        assert np.abs(gray_from_image(packed(pixels, encoding, padding)) - expected).max() <= 0.51

    @pytest.mark.parametrize(("encoding", "luma"), [("uyvy", 1), ("yuv422", 1), ("yuyv", 0), ("yuv422_yuy2", 0)])
    def test_yuv_is_its_luma(self, gray, padding, encoding, luma):
        pixels = np.full((HEIGHT, WIDTH, 2), 128, np.uint8)
        pixels[..., luma] = gray
        np.testing.assert_array_equal(gray_from_image(packed(pixels, encoding, padding)), gray)

    @pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
    @pytest.mark.parametrize(("color", "luma"), [("r", 0.299 * 200), ("g", 0.587 * 200), ("b", 0.114 * 200)])
    def test_bayer_of_a_pure_color(self, padding, pattern, color, luma):
        """Only the pixels behind filters of the color are lit; their luma must come out everywhere inside."""
        filters = np.tile(np.array(list(pattern)).reshape(2, 2), (HEIGHT // 2, WIDTH // 2))
        pixels = np.where(filters == color, 200, 0).astype(np.uint8)
        result = gray_from_image(packed(pixels, f"bayer_{pattern}8", padding))
        assert np.abs(result[1:-1, 1:-1] - luma).max() <= 1.0


def test_mono8_without_padding_is_not_copied(gray):
    msg = packed(gray, "mono8", 0)
    result = gray_from_image(msg)
    msg.data[0] = result[0, 0] ^ 0xFF
    assert result[0, 0] == msg.data[0]


class TestRefusals:
    @pytest.mark.parametrize("encoding", ["16SC1", "32FC1"])
    def test_depth(self, encoding):
        with pytest.raises(ImageError, match=f"'{encoding}' is a depth or float image.*supported are mono8"):
            gray_from_image(message(encoding, bytes(192), 32))

    @pytest.mark.parametrize("encoding", ["", "rgb10", "x264", "bayer_rgbg8"])
    def test_unknown(self, encoding):
        with pytest.raises(ImageError, match=f"'{encoding}' is unknown"):
            gray_from_image(message(encoding, bytes(192), 32))

    @pytest.mark.parametrize("encoding", SUPPORTED_ENCODINGS)
    def test_step_too_small(self, encoding):
        with pytest.raises(ImageError, match=f"'{encoding}' of 8x6 px: step is 7 bytes, a row needs"):
            gray_from_image(message(encoding, bytes(42), 7))

    @pytest.mark.parametrize("size", [0, 47, 49])
    def test_data_of_the_wrong_length(self, size):
        with pytest.raises(ImageError, match=rf"{size} bytes of data, step \* height is 48"):
            gray_from_image(message("mono8", bytes(size), 8))

    @pytest.mark.parametrize(("width", "height"), [(0, 6), (8, 0)])
    def test_empty(self, width, height):
        with pytest.raises(ImageError, match="empty"):
            gray_from_image(message("rgb8", b"", 24, width=width, height=height))


def compressed(image, extension, format_text="jpeg") -> CompressedImage:
    _, data = cv2.imencode(extension, image)
    return CompressedImage(format=format_text, data=array.array("B", data.tobytes()))


@pytest.fixture
def photo() -> np.ndarray:
    """Smooth image, which JPEG compresses with small errors."""
    y, x = np.mgrid[0:120, 0:160]
    return (127 + 100 * np.sin(x / 17) * np.cos(y / 13)).astype(np.uint8)


class TestCompressed:
    def test_png_is_exact(self, photo):
        np.testing.assert_array_equal(gray_from_compressed(compressed(photo, ".png", "mono8; png compressed ")), photo)

    def test_jpeg_of_a_color_image(self, photo):
        msg = compressed(cv2.cvtColor(photo, cv2.COLOR_GRAY2BGR), ".jpg", "rgb8; jpeg compressed bgr8")
        difference = np.abs(gray_from_compressed(msg).astype(int) - photo)
        assert difference.mean() < 1.0

    def test_exif_rotation_is_ignored(self, photo):
        plain = compressed(photo, ".jpg").data.tobytes()
        tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)  # orientation 6: rotate by 90 degrees
        exif = b"Exif\0\0" + tiff
        data = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + plain[2:]
        assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE).shape == (160, 120)
        assert gray_from_compressed(CompressedImage(format="jpeg", data=array.array("B", data))).shape == (120, 160)

    @pytest.mark.parametrize("extension", [".jpg", ".png"])
    @pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 0.99])
    def test_cut_off(self, photo, extension, ratio):
        msg = compressed(photo, extension)
        msg.data = msg.data[: int(ratio * len(msg.data))]
        with pytest.raises(ImageError, match=r"truncated|empty"):
            gray_from_compressed(msg)

    def test_padding_behind_the_end_is_fine(self, photo):
        msg = compressed(photo, ".jpg")
        msg.data.extend([0] * 30)
        assert gray_from_compressed(msg).shape == photo.shape

    def test_rubbish(self):
        with pytest.raises(ImageError, match=r"'jpeg'.*1000 bytes"):
            gray_from_compressed(CompressedImage(format="jpeg", data=array.array("B", bytes(1000))))

    def test_depth(self, photo):
        with pytest.raises(ImageError, match="'16UC1; compressedDepth png' is a depth image"):
            gray_from_compressed(compressed(photo, ".png", "16UC1; compressedDepth png"))


class TestExposure:
    @pytest.mark.parametrize(
        ("low", "high", "reason"), [(0, 5, "black"), (250, 255, "white"), (100, 107, "one gray"), (7, 7, "black")]
    )
    def test_nothing_to_see(self, rng, low, high, reason):
        with pytest.raises(ImageError, match=reason):
            check_exposure(rng.integers(low, high, (60, 80), np.uint8, endpoint=True))

    def test_a_night_with_one_lamp_passes(self):
        night = np.zeros((60, 80), np.uint8)
        night[10, 20] = 60
        check_exposure(night)
