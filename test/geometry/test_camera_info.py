"""camera_info as drivers publish it: names of models, numbers of coefficients, regions, binning, frames."""

from dataclasses import replace
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from geometry_helpers import seen_by
from numpy.testing import assert_allclose, assert_array_equal

from vizloc_ros.errors import CameraError, UncalibratedError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.camera_info import (
    MODEL_NAMES,
    camera_frame,
    camera_from_info,
    camera_of_message,
    distortion_from_info,
    first_camera,
    frame_difference,
)
from vizloc_ros.geometry.rectification import DistortedCamera, Rectifier

K = (400.0, 0.0, 320.0, 0.0, 410.0, 240.0, 0.0, 0.0, 1.0)
BINNED_K = (100.0, 0.0, 80.0, 0.0, 102.5, 60.0, 0.0, 0.0, 1.0)  # avt_vimba_camera: beside the whole image's size
BROWN = (-0.28, 0.07, 2e-4, 1e-5, 0.01)
RATIONAL = (3.2, 1.1, 1e-4, -1e-4, 0.05, 3.55, 1.9, 0.3)
FISHEYE = (-0.0134, 0.0017, -0.0035, 0.0004)


def message(**fields: object) -> SimpleNamespace:
    """The fields of a calibrated camera_info, some of them changed."""
    roi = SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False)
    given = {"width": 640, "height": 480, "k": np.array(K), "d": np.array(BROWN), "distortion_model": "plumb_bob"}
    return SimpleNamespace(**(given | {"binning_x": 0, "binning_y": 0, "roi": roi, "header": None} | fields))


@pytest.mark.parametrize(
    ("model", "count"),
    [
        ("plumb_bob", 4),
        ("plumb_bob", 5),
        ("rational_polynomial", 8),
        ("rational_polynomial", 12),
        ("rational_polynomial", 14),
        ("equidistant", 4),
    ],
)
def test_camera_info_of_every_model_is_taken_over(model: str, count: int) -> None:
    d = (0.01, *(count - 1) * [0.0])
    camera = camera_from_info(640, 480, K, d, model, binning=(1, 1), roi=(0, 0, 640, 480))
    assert camera == DistortedCamera(PinholeCamera(640, 480, 400.0, 410.0, 320.0, 240.0), d, model)
    assert Rectifier(camera).rectified.size == (640, 480)


@pytest.mark.parametrize("d", [(), (0.0,) * 5, np.zeros(5)])
def test_an_empty_model_without_coefficients_is_no_distortion(d: tuple[float, ...]) -> None:
    camera = camera_from_info(640, 480, np.array(K), d, "")
    assert not camera.is_distorted
    assert_array_equal(Rectifier(camera).rectified.matrix, np.reshape(K, (3, 3)))


def with_element(index: int, value: float) -> tuple[float, ...]:
    return (*K[:index], value, *K[index + 1 :])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"k": (0.0,) * 9}, r"k has focal length \(0, 0\) px, so the camera is not calibrated"),
        ({"k": with_element(0, -400.0)}, "k has focal length"),
        ({"k": with_element(4, np.nan)}, "k has focal length"),
        ({"k": with_element(4, np.inf)}, "k has focal length"),
        ({"k": with_element(1, 3.0)}, "without skew"),
        ({"k": with_element(8, 0.0)}, "k is"),
        ({"k": with_element(2, np.nan)}, "k has principal point"),
        ({"width": 320, "height": 240}, r"k has principal point \(320, 240\) outside the 320x240 image"),
        ({"width": 320, "height": 320}, "k has principal point"),
        ({"k": with_element(2, -1300.0)}, "k has principal point"),
        ({"k": K[:6]}, "k has 6 elements"),
        ({"width": 0}, "width and height are 0x480"),
        ({"height": -480}, "width and height are 640x-480"),
        ({"d": (0.1,) * 3}, "d has 3 coefficients but distortion_model plumb_bob takes 4 or 5"),
        ({"d": (0.1,) * 6, "distortion_model": "rational_polynomial"}, "takes 8 or 12 or 14"),
        ({"d": (0.1,) * 5, "distortion_model": "fisheye"}, "d has 5 coefficients but .* equidistant takes 4"),
        ({"d": (), "distortion_model": "equidistant"}, "d has 0 coefficients but distortion_model equidistant takes 4"),
        ({"d": (0.1, np.nan, 0.0, 0.0)}, "d has coefficients that are not finite"),
        ({"distortion_model": "thin_prism"}, "'thin_prism' is not known.*plumb_bob, rational_polynomial, equidistant"),
        ({"d": (0.1, 0.0, 0.0, 0.0), "distortion_model": ""}, "distortion_model is empty but d is"),
        ({"d": (np.nan,) * 4, "distortion_model": ""}, "distortion_model is empty but d is"),
        ({"d": np.full(4, 0.1), "distortion_model": "none"}, r"is 'none' but d is \(0.1, 0.1, 0.1, 0.1\): set it to"),
        ({"d": (0.1,) * 5, "distortion_model": "Inverse Brown Conrady"}, "is 'Inverse Brown Conrady' but d is"),
        ({"roi": (400, 0, 320, 240)}, r"roi is \(400, 0, 320, 240\).*must be those of the whole image"),
        ({"roi": (10, 20, 0, 0)}, r"roi is \(10, 20, 0, 0\)"),
        ({"roi": (0, 0, 3, 3), "binning": (4, 4)}, "roi is .* with binning 4x4"),
        ({"k": BINNED_K, "binning": (4, 4)}, r"k, with principal point \(80, 60\), is that of the binned image"),
    ],
)
def test_camera_info_that_cannot_be_used_is_refused_by_name(changes: dict[str, object], named: str) -> None:
    info = {"width": 640, "height": 480, "k": K, "d": (0.1, 0.0, 0.0, 0.0, 0.0), "distortion_model": "plumb_bob"}
    with pytest.raises(CameraError, match=named):
        camera_from_info(**(info | changes))


@pytest.mark.parametrize(
    ("name", "d", "model", "kept"),
    [
        ("plumb_bob", (*BROWN, 0.0, 0.0, 0.0), "plumb_bob", BROWN),  # OrbbecSDK_ROS2
        ("plumb_bob", (0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), "plumb_bob", (0.1, 0.0, 0.0, 0.0, 0.0)),
        ("plumb_bob", (0.0,) * 8, "plumb_bob", (0.0,) * 5),
        ("plumb_bob", RATIONAL, "rational_polynomial", RATIONAL),  # OpenCV looks at the number alone
        ("plumb_bob", (*RATIONAL, 0.0, 0.0), "rational_polynomial", RATIONAL),
        ("rational_polynomial", BROWN, "plumb_bob", BROWN),
        ("rational_polynomial", BROWN[:4], "plumb_bob", BROWN[:4]),
        ("rational_polynomial", (*RATIONAL, 0.0), "rational_polynomial", RATIONAL),
        ("rational_polynomial", (0.0,) * 5, "rational_polynomial", ()),
        ("equidistant", (*FISHEYE, 0.0), "equidistant", FISHEYE),  # T265, before its driver sent four
        ("Kannala Brandt 4", FISHEYE, "equidistant", FISHEYE),
        ("kannala-brandt", FISHEYE, "equidistant", FISHEYE),
        (" Plumb Bob", BROWN, "plumb_bob", BROWN),
        ("Brown-Conrady", BROWN, "plumb_bob", BROWN),
        ("none", (0.0,) * 5, "plumb_bob", ()),
        ("None", (), "plumb_bob", ()),
        ("inverse_brown_conrady", (0.0,) * 5, "plumb_bob", ()),
    ],
)
def test_models_are_read_by_their_names_in_use_and_by_the_number_of_coefficients(
    name: str, d: tuple[float, ...], model: str, kept: tuple[float, ...]
) -> None:
    assert distortion_from_info(name, d) == (model, kept)
    assert camera_from_info(640, 480, K, np.array(d), name) == DistortedCamera(
        PinholeCamera(640, 480, 400.0, 410.0, 320.0, 240.0), kept, model
    )


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_every_name_of_the_table_is_read(name: str) -> None:
    d = {"plumb_bob": BROWN, "rational_polynomial": RATIONAL, "equidistant": FISHEYE, "none": ()}[MODEL_NAMES[name]]
    assert distortion_from_info(name, d) == (MODEL_NAMES[name].replace("none", "plumb_bob"), d)


@pytest.mark.parametrize(("name", "d"), [("plumb_bob", RATIONAL), ("rational_polynomial", BROWN)])
def test_a_polynomial_of_the_wrong_name_is_opencvs(name: str, d: tuple[float, ...]) -> None:
    camera = camera_from_info(640, 480, K, d, name)
    rays = np.array([[0.3, -0.2, 1.0], [-0.1, 0.25, 1.0]])
    opencv, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), camera.pinhole.matrix, np.array(d))
    assert_allclose(seen_by(camera, rays), opencv[:, 0], atol=1e-6)


def test_a_region_and_binning_change_k_as_in_image_geometry() -> None:
    camera = camera_from_info(640, 480, K, BROWN, "plumb_bob", binning=(2, 4), roi=(100, 40, 401, 200))
    assert camera.pinhole == PinholeCamera(200, 50, 200.0, 102.5, 110.0, 50.0)
    assert camera.distortion == BROWN
    whole = DistortedCamera(PinholeCamera(640, 480, 400.0, 410.0, 320.0, 240.0), BROWN)
    assert camera.whole == whole
    assert camera.of_size((640, 480)) == whole  # of a driver that crops nothing
    assert camera.of_size((200, 50)) is camera
    assert camera.of_size((123, 45)) is camera  # which refuses it


@pytest.mark.parametrize("binning", [(0, 0), (1, 1), (0, 1)])
def test_no_region_and_no_binning_is_the_whole_image(binning: tuple[int, int]) -> None:
    for roi in ((0, 0, 0, 0), (0, 0, 640, 480)):
        camera = camera_from_info(640, 480, K, BROWN, "plumb_bob", binning=binning, roi=roi)
        assert camera == DistortedCamera(PinholeCamera(640, 480, 400.0, 410.0, 320.0, 240.0), BROWN)
        assert camera.whole is None


@pytest.mark.parametrize(
    ("model", "d"), [("plumb_bob", BROWN), ("rational_polynomial", RATIONAL), ("fisheye", FISHEYE), ("none", ())]
)
@pytest.mark.parametrize("roi", [(0, 0, 320, 240), (330, 100, 310, 380), (150, 250, 320, 200), (40, 40, 560, 400)])
def test_a_crop_is_rectified_with_its_principal_point_wherever_it_lies(
    model: str, d: tuple[float, ...], roi: tuple[int, int, int, int]
) -> None:
    left, top, width, height = roi
    whole = camera_from_info(640, 480, K, d, model)
    camera = camera_from_info(640, 480, K, d, model, roi=roi)
    rectifier = Rectifier(camera)
    rectified = rectifier.rectified
    assert rectified.size == (width, height)
    columns, rows = np.meshgrid(np.arange(640, dtype=np.float32), np.arange(480, dtype=np.float32))
    ramp = np.round(columns / 4 + rows / 5).astype(np.uint8)  # its value tells the pixel of the whole image
    crop = rectifier.rectify(np.ascontiguousarray(ramp[top : top + height, left : left + width]))
    pixels = np.array([[20.0, 20.0], [width / 2, height / 2], [width - 21.0, height - 21.0]])
    seen = seen_by(whole, rectified.rays(pixels))
    assert (seen > np.array([left, top]) - 1).all()
    assert (seen < np.array([left + width, top + height])).all()
    found = crop[pixels[:, 1].astype(int), pixels[:, 0].astype(int)]
    assert_allclose(found, seen[:, 0] / 4 + seen[:, 1] / 5, atol=1.5)


def test_a_binned_image_is_rectified_like_the_whole_one() -> None:
    whole, binned = (camera_from_info(640, 480, K, BROWN, "plumb_bob", binning=(n, n)) for n in (1, 2))
    rays = np.array([[0.4, 0.3, 1.0], [-0.5, 0.1, 1.0]])
    assert_allclose(seen_by(binned, rays), seen_by(whole, rays) / 2)
    assert Rectifier(binned).rectified.fx == pytest.approx(Rectifier(whole).rectified.fx / 2, rel=0.01)


@pytest.mark.parametrize(("cx", "cy"), [(-50.0, 240.0), (320.0, 700.0), (700.0, 100.0), (-30.0, -20.0)])
def test_a_crop_whose_k_is_its_own_may_have_its_principal_point_outside(cx: float, cy: float) -> None:
    camera = camera_from_info(640, 480, (400.0, 0.0, cx, 0.0, 410.0, cy, 0.0, 0.0, 1.0), (), "")
    assert camera.pinhole == PinholeCamera(640, 480, 400.0, 410.0, cx, cy)
    assert_array_equal(Rectifier(camera).rectified.matrix, camera.pinhole.matrix)


def test_messages_of_ros_1_have_their_matrices_in_capitals() -> None:
    msg = message()
    old = message(K=msg.k, D=msg.d)
    del old.k, old.d
    roi = SimpleNamespace(x_offset=100, y_offset=40, width=400, height=200, do_rectify=True)
    assert camera_of_message(old) == camera_of_message(msg) == camera_from_info(640, 480, K, BROWN, "plumb_bob")
    assert camera_of_message(message(roi=roi, binning_x=2, binning_y=2)) == camera_from_info(
        640, 480, K, BROWN, "plumb_bob", roi=(100, 40, 400, 200), binning=(2, 2)
    )


@pytest.mark.parametrize("empty", [{"k": np.zeros(9)}, {"k": np.zeros(9), "width": 0, "height": 0, "d": np.zeros(0)}])
def test_an_uncalibrated_camera_info_is_told_from_a_wrong_one(empty: dict[str, object]) -> None:
    with pytest.raises(UncalibratedError, match=r"k has focal length \(0, 0\) px, so the camera is not calibrated"):
        camera_of_message(message(**empty))
    later = message(width=800)
    assert first_camera([message(**empty), message(**empty), later, message()]) == (camera_of_message(later), later)
    with pytest.raises(UncalibratedError, match="none of the 2 messages is calibrated"):
        first_camera([message(**empty), message(**empty)])
    with pytest.raises(UncalibratedError, match="there is no message"):
        first_camera([])
    with pytest.raises(CameraError, match="'thin_prism' is not known") as caught:
        first_camera([message(**empty), message(distortion_model="thin_prism"), later])
    assert not isinstance(caught.value, UncalibratedError)


def test_the_frame_is_the_images_and_a_difference_is_named() -> None:
    assert camera_frame("front_optical", "front") == "front_optical"
    assert camera_frame("", "front") == "front"
    assert camera_frame("", "") == ""
    assert frame_difference("front", "/front") == frame_difference("front", "front") == frame_difference("", "") == ""
    assert "of the images is front_optical, of camera_info front: front_optical is used" in frame_difference(
        "front_optical", "front"
    )
    assert "of camera_info (empty): front is used" in frame_difference("front", "")
    assert "of the images is (empty), of camera_info front: front is used" in frame_difference("", "front")


def test_the_camera_of_a_region_is_another_one_than_the_same_camera_of_its_own() -> None:
    region = camera_from_info(640, 480, K, BROWN, "plumb_bob", roi=(0, 0, 320, 480))
    assert replace(region, whole=None) == DistortedCamera(PinholeCamera(320, 480, 400.0, 410.0, 320.0, 240.0), BROWN)
