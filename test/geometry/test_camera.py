"""The pinhole camera: projecting, back-projecting, resampling and its borders."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from vizloc_ros.arrays import Float64
from vizloc_ros.errors import CameraError
from vizloc_ros.geometry.camera import PinholeCamera

quick = settings(max_examples=40, deadline=None)

cameras = st.builds(
    PinholeCamera,
    width=st.integers(1, 4000),
    height=st.integers(1, 4000),
    fx=st.floats(50, 5000),
    fy=st.floats(50, 5000),
    cx=st.floats(0, 4000),
    cy=st.floats(0, 4000),
)
points_in_front = st.lists(
    st.tuples(st.floats(-20, 20), st.floats(-20, 20), st.floats(0.5, 100)), min_size=1, max_size=8
).map(np.array)

VGA = PinholeCamera(640, 480, 400.0, 410.0, 319.0, 241.0)


@quick
@given(cameras, points_in_front)
def test_rays_invert_project(camera: PinholeCamera, points: Float64) -> None:
    pixels, _ = camera.project(points)
    assert_allclose(camera.rays(pixels) * points[:, 2:], points, atol=1e-9)


@quick
@given(cameras, points_in_front)
def test_project_is_the_calibration_matrix(camera: PinholeCamera, points: Float64) -> None:
    homogeneous = points @ camera.matrix.T
    assert_allclose(camera.project(points)[0], homogeneous[:, :2] / homogeneous[:, 2:], rtol=1e-12, atol=1e-8)


@quick
@given(cameras, points_in_front)
def test_projection_jacobian_is_the_numeric_derivative(camera: PinholeCamera, points: Float64) -> None:
    step = 1e-5
    columns = [(camera.project(points + d)[0] - camera.project(points - d)[0]) / (2 * step) for d in step * np.eye(3)]
    scale = max(camera.fx, camera.fy)
    assert_allclose(np.stack(columns, axis=2) / scale, camera.projection_jacobian(points) / scale, atol=1e-6)


def test_a_point_on_the_axis_is_at_the_principal_point() -> None:
    pixels, visible = VGA.project(np.array([[0.0, 0.0, 5.0]]))
    assert_allclose(pixels, [[319.0, 241.0]])
    assert visible.tolist() == [True]


@pytest.mark.filterwarnings("error")
def test_points_behind_or_beside_the_camera_are_not_visible() -> None:
    points = np.array([[0.0, 0.0, -5.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [100.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    pixels, visible = VGA.project(points)
    assert visible.tolist() == [False, False, False, False, True]
    assert np.isfinite(pixels).all()


def test_the_image_reaches_half_a_pixel_beyond_the_outer_pixel_centres() -> None:
    inside = [(-0.5, -0.5), (0.0, 0.0), (639.0, 479.0), (639.499, 479.499)]
    outside = [(-0.501, 0.0), (0.0, -0.501), (639.5, 0.0), (0.0, 479.5), (np.nan, 0.0), (0.0, np.inf)]
    assert VGA.contains(np.array(inside)).all()
    assert not VGA.contains(np.array(outside)).any()
    beside = np.array([[-3.4, 10], [642.4, 10], [10, -3.4], [10, 482.4]])
    assert VGA.contains(beside, margin=3.0).all()
    assert not VGA.contains(beside, margin=2.8).any()


@quick
@given(cameras, points_in_front, st.integers(1, 3000), st.integers(1, 3000))
def test_scaling_the_camera_scales_its_pixels_about_the_corner(
    camera: PinholeCamera, points: Float64, width: int, height: int
) -> None:
    """A pixel's distance from the image's outer corner at (-0.5, -0.5) scales with the size."""
    scale = np.array([width / camera.width, height / camera.height])
    pixels, _ = camera.project(points)
    scaled_pixels, _ = camera.scaled(width, height).project(points)
    assert_allclose(scaled_pixels, (pixels + 0.5) * scale - 0.5, rtol=1e-9, atol=1e-7)


def test_half_size_has_the_pixel_centres_of_two_by_two_averages() -> None:
    half = VGA.scaled(320, 240)
    blocks = np.array([[0.5, 0.5], [2.5, 4.5], [638.5, 478.5]])  # centres of 2x2 blocks in the full image
    pixels, visible = half.project(VGA.rays(blocks))
    assert_allclose(pixels, [[0, 0], [1, 2], [319, 239]], atol=1e-9)
    assert visible.all()


@quick
@given(cameras, st.integers(1, 3000), st.integers(1, 3000))
def test_scaling_there_and_back_is_the_same_camera(camera: PinholeCamera, width: int, height: int) -> None:
    back = camera.scaled(width, height).scaled(camera.width, camera.height)
    assert back.size == camera.size
    assert_allclose(back.matrix, camera.matrix, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"width": 0}, "0x480"),
        ({"height": -1}, "640x-1"),
        ({"fx": 0.0}, "focal length"),
        ({"fy": -400.0}, "focal length"),
        ({"fx": float("nan")}, "focal length"),
        ({"cx": float("inf")}, "principal point"),
    ],
)
def test_impossible_cameras_are_refused(changes: dict[str, float], named: str) -> None:
    values = {"width": 640, "height": 480, "fx": 400.0, "fy": 400.0, "cx": 320.0, "cy": 240.0}
    with pytest.raises(CameraError, match=named):
        PinholeCamera(**(values | changes))
