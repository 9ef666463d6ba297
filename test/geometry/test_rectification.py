"""Rectification: the three lens models against their published equations, and lenses that must be refused."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from geometry_helpers import seen_by
from numpy.testing import assert_allclose, assert_array_equal

from vizloc_ros.arrays import Float64, UInt8
from vizloc_ros.errors import CameraError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.rectification import DistortedCamera, Rectifier, rectified_camera

EUROC = DistortedCamera(
    PinholeCamera(752, 480, 458.654, 457.296, 367.215, 248.375),
    (-0.28340811, 0.07395907, 0.00019359, 1.76187114e-05, 0.0),
)
PINCUSHION = DistortedCamera(PinholeCamera(640, 480, 500.0, 505.0, 325.0, 236.0), (0.1, -0.05, 0.001, -0.002))
RATIONAL = DistortedCamera(
    PinholeCamera(640, 480, 400.0, 402.0, 322.0, 238.0),
    (3.2, 1.1, 1e-4, -1e-4, 0.05, 3.55, 1.9, 0.3),
    "rational_polynomial",
)
FISHEYE = DistortedCamera(
    PinholeCamera(640, 480, 320.0, 322.0, 325.0, 236.0), (-0.0134, 0.0017, -0.0035, 0.0004), "equidistant"
)
LENSES = pytest.mark.parametrize(
    "camera", [EUROC, PINCUSHION, RATIONAL, FISHEYE], ids=["barrel", "pincushion", "rational", "fisheye"]
)


def pixel_grid(camera: PinholeCamera, step: int, margin: int = 0) -> Float64:
    """Pixels (N, 2) every ``step`` pixels, the outermost ``margin`` pixels from the edge of the image."""
    columns, rows = range(margin, camera.width - margin, step), range(margin, camera.height - margin, step)
    return np.array(list(product(columns, rows)), dtype=np.float64)


def border(camera: PinholeCamera) -> Float64:
    """The outermost pixels (N, 2) of an image."""
    every = pixel_grid(camera, 1)
    on_edge = np.isin(every[:, 0], (0, camera.width - 1)) | np.isin(every[:, 1], (0, camera.height - 1))
    return every[on_edge]


def image_of_dots(size: tuple[int, int], centres: Float64, sigma: float = 1.3) -> UInt8:
    """A black image (H, W) with a round bright dot at each centre (N, 2) [px], exact below the pixel."""
    x, y = (np.exp(-((np.arange(n) - c[:, None]) ** 2) / (2 * sigma**2)) for n, c in zip(size, centres.T, strict=True))
    return np.round(250 * y.T @ x).astype(np.uint8)


def centroid(image: UInt8, near: Float64, radius: int = 9) -> Float64:
    """Centre of gravity (2,) [px] of the brightness around a pixel."""
    left, top = np.round(near).astype(int) - radius
    window = image[top : top + 2 * radius + 1, left : left + 2 * radius + 1].astype(np.float64)
    rows, columns = np.indices(window.shape)
    return np.array([left + (columns * window).sum() / window.sum(), top + (rows * window).sum() / window.sum()])


@LENSES
def test_dots_in_the_rectified_image_lie_where_the_pinhole_camera_projects_them(camera: DistortedCamera) -> None:
    rectifier = Rectifier(camera)
    expected = pixel_grid(rectifier.rectified, step=61, margin=25)
    raw = image_of_dots(camera.pinhole.size, seen_by(camera, rectifier.rectified.rays(expected)))

    rectified = rectifier.rectify(raw)

    found = np.array([centroid(rectified, pixel) for pixel in expected])
    assert rectified.shape == raw.shape
    assert len(expected) >= 70
    distances = np.linalg.norm(found - expected, axis=1)
    assert np.median(distances) < 0.05
    assert distances.max() < 0.15  # at the corners the lens stretches the dots themselves


@LENSES
def test_the_rectified_view_is_filled_and_wastes_little(camera: DistortedCamera) -> None:
    rectifier = Rectifier(camera)
    edge = seen_by(camera, rectifier.rectified.rays(border(rectifier.rectified)))
    last = np.array(camera.pinhole.size) - 1
    assert edge.min() > -0.5
    assert (edge - last).max() < 1.1  # older OpenCV measures to the far side of the last pixel
    used = np.ptp(edge, axis=0) / last
    assert used.min() > 0.85
    white = np.full((camera.pinhole.height, camera.pinhole.width), 255, dtype=np.uint8)
    assert rectifier.rectify(white).min() == 255


def test_colour_is_rectified_as_gray_is() -> None:
    rectifier = Rectifier(EUROC)
    gray = np.random.default_rng(0).integers(0, 256, (480, 752), dtype=np.uint8)
    colour = rectifier.rectify(np.dstack([gray, gray, 255 - gray]))
    assert colour.shape == (480, 752, 3)
    assert_array_equal(colour[..., 1], rectifier.rectify(gray))


@pytest.mark.parametrize("distortion", [(), (0.0,) * 4, (0.0,) * 5])
def test_without_distortion_everything_passes_untouched(distortion: tuple[float, ...]) -> None:
    rectifier = Rectifier(replace(EUROC, distortion=distortion))
    image = np.zeros((480, 752, 3), dtype=np.uint8)
    assert rectifier.rectified == EUROC.pinhole
    assert rectifier.rectify(image) is image


def test_an_equidistant_lens_bends_with_zero_coefficients() -> None:
    camera = replace(FISHEYE, distortion=(0.0,) * 4)
    rectifier = Rectifier(camera)
    ray = np.array([[0.5, 0.0, 1.0]])
    raw = np.array([[camera.pinhole.fx * np.arctan(0.5) + camera.pinhole.cx, camera.pinhole.cy]])  # r = f theta
    expected = rectifier.rectified.project(ray)[0][0]
    found = centroid(rectifier.rectify(image_of_dots(camera.pinhole.size, raw)), expected)
    assert np.linalg.norm(expected - raw) > 5  # there is something to undo
    assert_allclose(found, expected, atol=0.1)


@pytest.mark.parametrize("camera", [EUROC, DistortedCamera(EUROC.pinhole)], ids=["distorted", "ideal"])
def test_an_image_of_another_size_is_refused(camera: DistortedCamera) -> None:
    with pytest.raises(CameraError, match="camera_info is for 752x480 but the image is 1280x720"):
        Rectifier(camera).rectify(np.zeros((720, 1280), dtype=np.uint8))


@pytest.mark.parametrize(
    ("camera", "fault"),
    [
        (replace(EUROC, distortion=(-0.9, 0.0, 0.0, 0.0)), r"2\d% of the rectified image empty or folded"),
        (replace(EUROC, distortion=(-0.3, 0.1, 0.5, 0.5)), "too wide an angle"),
        (replace(FISHEYE, pinhole=PinholeCamera(640, 480, 140.0, 140.0, 320.0, 240.0)), "too wide an angle"),
    ],
)
def test_a_lens_no_pinhole_image_can_be_cut_from_is_refused(camera: DistortedCamera, fault: str) -> None:
    for use in (Rectifier, rectified_camera):
        with pytest.raises(CameraError, match=fault):
            use(camera)
