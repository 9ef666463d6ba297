"""Every encoding that the documentation names, in messages; bit depths and layouts of planes."""

import re
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from repository import REPOSITORY
from sensor_msgs.msg import CompressedImage, Image

from vizloc_ros.arrays import UInt8, UInt16
from vizloc_ros.bags.bag_messages import header, image_message
from vizloc_ros.datasets.image_encodings import SUPPORTED_ENCODINGS
from vizloc_ros.datasets.image_messages import ImageDecoder, gray_from_image, is_depth
from vizloc_ros.errors import ImageError

HEIGHT, WIDTH = 12, 16
PATTERNS = ("rggb", "bggr", "gbrg", "grbg")
GENICAM = ("RG", "BG", "GB", "GR")
PLANES = {1.5: ("nv12", "nv21", "i420", "yv12", "yuv420"), 2: ("nv16", "nv61"), 3: ("nv24", "nv42")}
RATIO = {name: ratio for ratio, names in PLANES.items() for name in names}


def picture() -> UInt8:
    """Ramp whose brightest pixel is white; as smooth as interpolation of a Bayer pattern needs."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.round(255 * (0.2 + 0.8 * (x + y) / (HEIGHT + WIDTH - 2))).astype(np.uint8)


def documented_encodings() -> list[str]:
    page = (REPOSITORY / "docs" / "topics_and_parameters.md").read_text()
    table = page.split("<!-- encodings -->")[1].split("<!-- end -->")[0]
    names: list[str] = []
    for row in table.strip().splitlines()[2:]:
        listed, _, others = row.split("|")[1].partition(", and with ")
        rows_names = re.findall(r"`(\w+)`", listed)
        names += rows_names
        *instead, replaced = re.findall(r"`(\w+)`", others) or [""]
        names += [name.removesuffix(replaced) + bits for name in rows_names for bits in instead]
    return names


def bits_of(encoding: str) -> int:
    """Bits of a channel as the encoding tells them."""
    leading = re.match(r"(8|16)UC", encoding)
    if leading:
        return int(leading[1])
    trailing = re.search(r"(8|10|12|14|16)$", encoding)
    is_of_channels = re.match(r"(mono|bayer|Bayer|bgr|rgb)", encoding)
    return int(trailing[1]) if trailing and is_of_channels else 8


def message(gray: UInt8, encoding: str, step_padding: int = 4) -> Image:
    """Message in which a gray picture is encoded as a driver does it, by the definition of the encoding."""
    bits = bits_of(encoding)
    values = gray if bits == 8 else (gray.astype("<u2") << (bits - 8)) | (gray.astype("<u2") >> (16 - bits))
    if re.search(r"(bgra|rgba|UC4)", encoding):
        values = np.dstack([values] * 4)
    elif re.search(r"(bgr|rgb|UC3)\d*$", encoding) and not re.search("(?i)bayer", encoding):
        values = np.dstack([values] * 3)
    elif encoding in ("uyvy", "yuv422", "vyuy"):
        values = np.dstack([np.full_like(gray, 128), gray])
    elif encoding in ("yuyv", "yuv422_yuy2", "yuy2", "yvyu"):
        values = np.dstack([gray, np.full_like(gray, 128)])
    rows = np.ascontiguousarray(values).view(np.uint8).reshape(HEIGHT, -1)
    rows = np.pad(rows, ((0, 0), (0, step_padding)), constant_values=0xAB)
    chroma = np.full(int(rows.size * (RATIO.get(encoding, 1) - 1)), 128, np.uint8)
    data = np.concatenate([rows.ravel(), chroma])
    return Image(encoding=encoding, height=HEIGHT, width=WIDTH, step=rows.shape[1], data=data.tobytes())


def test_the_documentation_lists_the_encodings() -> None:
    plain = [name for name in documented_encodings() if not name.startswith("Bayer")]
    assert sorted(plain) == sorted(SUPPORTED_ENCODINGS)


@pytest.mark.parametrize("encoding", documented_encodings())
def test_a_documented_encoding_is_read(encoding: str) -> None:
    decoded = gray_from_image(message(picture(), encoding))
    inner = slice(1, -1) if "bayer" in encoding.lower() else slice(None)  # of a border, OpenCV repeats its neighbors
    np.testing.assert_allclose(decoded[inner, inner].astype(int), picture()[inner, inner], atol=1)


@pytest.mark.parametrize("encoding", ["MONO8", "Mono16", "RGB8", "NV12", "BAYER_RGGB8", "bayerrg12"])
def test_capital_letters_do_not_matter(encoding: str) -> None:
    usual = {"bayerrg12": "BayerRG12"}.get(encoding, encoding.lower())
    msg = message(picture(), usual)
    msg.encoding = encoding
    np.testing.assert_array_equal(gray_from_image(msg), gray_from_image(message(picture(), usual)))


@pytest.mark.parametrize(("pattern", "genicam"), list(zip(PATTERNS, GENICAM, strict=True)))
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_a_pattern_is_the_same_in_all_spellings_and_depths(pattern: str, genicam: str, bits: int) -> None:
    """On a picture in which red, green and blue pixels differ."""
    colors = np.tile([[{"r": 255, "g": 120, "b": 30}[c] for c in row] for row in (pattern[:2], pattern[2:])], (6, 8))
    expected = gray_from_image(message(colors.astype(np.uint8), f"bayer_{pattern}8"))
    assert expected[4:-4, 4:-4].std() < 1
    for encoding in (f"bayer_{pattern}{bits}", f"Bayer{genicam}{bits}"):
        np.testing.assert_allclose(gray_from_image(message(colors.astype(np.uint8), encoding)), expected, atol=1)


class TestPlanes:
    @pytest.mark.parametrize("encoding", RATIO)
    def test_height_of_all_planes(self, encoding: str) -> None:
        """As OpenCV has them, and cv_bridge makes messages of."""
        msg = message(picture(), encoding, 0)
        msg.height = int(HEIGHT * RATIO[encoding])
        np.testing.assert_array_equal(gray_from_image(msg), picture())

    @pytest.mark.parametrize("encoding", RATIO)
    def test_step_of_all_planes(self, encoding: str) -> None:
        msg = message(picture(), encoding, 0)
        msg.step = int(WIDTH * RATIO[encoding])
        np.testing.assert_array_equal(gray_from_image(msg), picture())

    @pytest.mark.parametrize("encoding", RATIO)
    def test_cut_off(self, encoding: str) -> None:
        msg = message(picture(), encoding, 0)
        msg.data = msg.data[: WIDTH * HEIGHT - 1]
        with pytest.raises(ImageError, match=rf"image '{encoding}' of 16x12 px: 191 bytes of data"):
            gray_from_image(msg)

    @pytest.mark.parametrize(
        ("encoding", "code"),
        [
            ("nv12", cv2.COLOR_YUV2GRAY_NV12),
            ("nv21", cv2.COLOR_YUV2GRAY_NV21),
            ("i420", cv2.COLOR_YUV2GRAY_I420),
            ("yv12", cv2.COLOR_YUV2GRAY_YV12),
        ],
    )
    def test_luma_is_that_of_opencv(self, encoding: str, code: int) -> None:
        color = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        planes = cv2.cvtColor(color, cv2.COLOR_BGR2YUV_I420)
        msg = Image(encoding=encoding, height=HEIGHT, width=WIDTH, step=WIDTH, data=planes.tobytes())
        np.testing.assert_array_equal(gray_from_image(msg), cv2.cvtColor(planes, code))


def deep(values: UInt16, encoding: str = "mono16") -> Image:
    return Image(encoding=encoding, height=HEIGHT, width=WIDTH, step=2 * WIDTH, data=values.tobytes())


class TestBitDepth:
    @pytest.mark.parametrize("encoding", ["mono16", "16UC1"])
    @pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
    @pytest.mark.parametrize("is_bigendian", [0, 1])
    def test_bits_in_use_are_scaled(self, encoding: str, bits: int, is_bigendian: int) -> None:
        values = picture().astype(">u2" if is_bigendian else "<u2") << (bits - 8)
        msg = deep(values.astype(values.dtype), encoding)
        msg.is_bigendian = is_bigendian
        msg.data = values.astype(">u2" if is_bigendian else "<u2").tobytes()
        np.testing.assert_array_equal(ImageDecoder("/camera/ir/image_raw").gray(msg), picture())

    def test_a_dark_image_keeps_the_scale_of_a_topic(self) -> None:
        """A 12-bit camera at dusk: its values fit into 10 bits, but the image must not become brighter by that."""
        decoder = ImageDecoder("/image")
        bright = (picture().astype("<u2") << 4) + 15
        assert decoder.gray(deep(bright)).max() == 255
        np.testing.assert_array_equal(decoder.gray(deep(bright >> 3)), picture() >> 3)
        np.testing.assert_array_equal(ImageDecoder("/image").gray(deep(bright >> 3)), picture() >> 1)

    def test_noise_does_not_change_the_scale(self) -> None:
        decoder, rng = ImageDecoder("/image"), np.random.default_rng(0)
        for _ in range(20):
            peak = rng.integers(513, 1024)
            values = (picture().astype(np.uint32) * peak // 255).astype("<u2")
            np.testing.assert_array_equal(decoder.gray(deep(values)), values >> 2)

    def test_compressed_images_are_scaled_alike(self) -> None:
        values = picture().astype("<u2") << 2
        decoder = ImageDecoder("/camera/infra1")
        for format_text in ("mono16; png compressed ", "16UC1; png compressed "):
            png = CompressedImage(format=format_text, data=cv2.imencode(".png", values)[1].tobytes())
            np.testing.assert_array_equal(decoder.gray(png), picture())
        np.testing.assert_array_equal(decoder.gray(deep(values)), picture())

    def test_messages_of_bags_are_scaled_alike(self) -> None:
        """rosbags has classes of its own."""
        msg = image_message(picture(), header(0, "camera"))
        np.testing.assert_array_equal(ImageDecoder("/image").gray(msg), picture())
        values = picture().astype("<u2") << 2
        msg = SimpleNamespace(
            encoding="16UC1", height=HEIGHT, width=WIDTH, step=2 * WIDTH, is_bigendian=0, data=values.view(np.uint8)
        )
        msg.data = msg.data.ravel()
        np.testing.assert_array_equal(ImageDecoder("/ir/image").gray(msg), picture())  # type: ignore[arg-type]


class TestDepth:
    @pytest.mark.parametrize(
        "topic",
        [
            "/camera/depth/image_rect_raw",
            "/camera/aligned_depth_to_infra1/image_raw",
            "/camera/ir/depth/image",
            "/kinect2/qhd/image_depth_rect",
            "/Depth/image_raw/compressed",
            "/stereo/disparity",
        ],
    )
    def test_16uc1_of_a_depth_topic_is_refused(self, topic: str) -> None:
        assert is_depth(topic, "16UC1")
        assert is_depth(topic, "16UC1; png compressed ")
        assert not is_depth(topic, "mono8")
        with pytest.raises(ImageError, match=f"'16UC1' is a depth or float image.*{topic} is not the topic of a"):
            ImageDecoder(topic).gray(deep(np.zeros((HEIGHT, WIDTH), np.uint16), "16UC1"))

    @pytest.mark.parametrize(
        "topic",
        ["/camera/infra1/image_rect_raw", "/depth_camera/ir/image", "/kinect2/image_ir", "/image", "", "/x/thermal"],
    )
    def test_16uc1_of_other_topics_is_a_picture(self, topic: str) -> None:
        assert not is_depth(topic, "16UC1")
        assert is_depth(topic, "32FC1")
        assert is_depth(topic, "16UC1; compressedDepth png")


class TestEndMarkers:
    @pytest.fixture
    def jpeg(self) -> bytes:
        noise = np.random.default_rng(0).integers(0, 40, (120, 160), np.uint8)
        return bytes(cv2.imencode(".jpg", noise + np.arange(160, dtype=np.uint8))[1])

    def test_a_topic_is_named_once(self, jpeg: bytes) -> None:
        said: list[str] = []
        decoder = ImageDecoder("/camera/image/compressed", said.append)
        expected = decoder.gray(CompressedImage(format="jpeg", data=jpeg))
        assert said == []
        for padding in (b"", b"", bytes(5000), b"\xff"):
            unmarked = CompressedImage(format="jpeg", data=jpeg[:-2] + padding)
            np.testing.assert_array_equal(decoder.gray(unmarked), expected)
        (text,) = said
        assert text.startswith("/camera/image/compressed: the JPEG has no end marker")

    def test_frames_that_are_cut_off_have_one_reason(self, jpeg: bytes) -> None:
        """A report counts equal reasons, so these must not differ."""
        decoder, reasons = ImageDecoder("/camera/image/compressed"), set()
        for length in (700, 800, len(jpeg) // 2, len(jpeg) - 40):
            with pytest.raises(ImageError, match="truncated") as error:
                decoder.gray(CompressedImage(format="jpeg", data=jpeg[:length] + bytes(6000)))
            reasons.add(str(error.value))
        assert len(reasons) == 1
