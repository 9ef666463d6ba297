"""Quarter turns of images, cameras, pixels and features: together, there and back."""

import numpy as np
import pytest
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.errors import ConfigError
from vizloc_ros.features.types import Features, turned_back
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera
from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.geometry.quarter_turns import Roll, rolls_to_try

CAMERA = PinholeCamera(60, 40, 50.0, 51.0, 31.25, 17.5)
CORRECTION = IntrinsicsCorrection(0.01, 1.5, -0.5, 0.02)
FORWARD = Rotation3d(np.array([-0.5, 0.5, -0.5, 0.5]))  # of an upright camera's optical frame on a vehicle (REP 103)
every_roll = pytest.mark.parametrize("roll", Roll)


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).uniform([0, 0], [59, 39], (50, 2))


def about_optical_axis(degrees: float) -> Rigid3d:
    return Rigid3d(Rotation3d(np.array([0, 0, np.radians(degrees)])), np.zeros(3))


@every_roll
def test_there_and_back_is_the_identity(roll: Roll, pixels: np.ndarray) -> None:
    image = np.random.default_rng(1).integers(0, 255, (40, 60), np.uint8)
    upright, size = roll.turn_image(image), roll.turn_size(CAMERA.size)
    assert upright.flags["C_CONTIGUOUS"]
    assert upright.shape == size[::-1]
    np.testing.assert_array_equal(roll.inverse.turn_image(upright), image)
    assert roll.inverse.turn_camera(roll.turn_camera(CAMERA)) == CAMERA
    assert roll.inverse.turn_correction(roll.turn_correction(CORRECTION)) == CORRECTION
    np.testing.assert_allclose(roll.inverse.turn_pixels(roll.turn_pixels(pixels, CAMERA.size), size), pixels)
    there_and_back = (roll.inverse.upright_from_cam * roll.upright_from_cam).matrix()
    np.testing.assert_allclose(there_and_back, Rigid3d().matrix(), atol=1e-12)


@every_roll
def test_a_pixel_keeps_its_gray_and_nothing_else_changes_without_a_roll(roll: Roll) -> None:
    image = np.random.default_rng(2).integers(0, 255, (40, 60, 3), np.uint8)
    upright = roll.turn_image(image)
    rows, columns = np.mgrid[:40, :60]
    x, y = roll.turn_pixels(np.stack([columns.ravel(), rows.ravel()], axis=1).astype(float), (60, 40)).T.astype(int)
    np.testing.assert_array_equal(upright[y, x], image.reshape(-1, 3))
    assert (upright is image) == (roll is Roll.NONE)


@every_roll
def test_projection_and_turn_commute(roll: Roll) -> None:
    points = np.random.default_rng(3).uniform([-2, -1, 4], [2, 1, 9], (200, 3))
    pixels, visible = CAMERA.project(points)
    upright_camera = roll.turn_camera(CAMERA)
    turned, still_visible = upright_camera.project(transform_points(roll.upright_from_cam, points))
    np.testing.assert_allclose(turned, roll.turn_pixels(pixels, CAMERA.size), atol=1e-9)
    np.testing.assert_array_equal(still_visible, visible)
    shift = CORRECTION.shift(pixels, CAMERA)
    moved = roll.turn_pixels(pixels + shift, CAMERA.size)
    np.testing.assert_allclose(
        roll.turn_correction(CORRECTION).shift(turned, upright_camera), moved - turned, atol=1e-9
    )


@every_roll
def test_features_return_to_the_pixels_of_the_image(roll: Roll, pixels: np.ndarray) -> None:
    size = roll.turn_size(CAMERA.size)
    upright = Features(
        keypoints=roll.turn_pixels(pixels, CAMERA.size).astype(np.float32),
        scores=np.linspace(1, 0, 50, dtype=np.float32),
        descriptors=np.zeros((50, 4), np.int8),
        global_descriptor=np.ones(1, np.float32),
        image_size=size,
    )
    features = turned_back(upright, roll)
    np.testing.assert_allclose(features.keypoints, pixels, atol=1e-4)
    assert features.keypoints.dtype == np.float32
    assert features.image_size == CAMERA.size
    assert features.descriptors is upright.descriptors
    assert (features is upright) == (roll is Roll.NONE)


@pytest.mark.parametrize(
    ("degrees", "roll"),
    [
        *((0, Roll.NONE), (40, Roll.NONE), (-40, Roll.NONE), (50, Roll.CLOCKWISE), (90, Roll.CLOCKWISE)),
        *((140, Roll.UPSIDE_DOWN), (180, Roll.UPSIDE_DOWN), (-170, Roll.UPSIDE_DOWN), (-90, Roll.COUNTERCLOCKWISE)),
    ],
)
@pytest.mark.parametrize("yaw", [0.0, 1.0, 3.0])
def test_the_mounting_says_how_the_camera_is_rolled(degrees: float, roll: Roll, yaw: float) -> None:
    on_vehicle = Rigid3d(Rotation3d(np.array([0, 0, yaw])) * FORWARD, np.array([1.2, 0.0, 1.5]))
    assert Roll.of_mounting(on_vehicle * about_optical_axis(degrees)) is roll


def test_a_clockwise_camera_has_its_right_side_at_the_bottom() -> None:
    base_from_cam = Rigid3d(FORWARD, np.zeros(3)) * Roll.CLOCKWISE.upright_from_cam
    np.testing.assert_allclose(base_from_cam.rotation.matrix() @ [1, 0, 0], [0, 0, -1], atol=1e-12)
    assert Roll.of_mounting(base_from_cam) is Roll.CLOCKWISE
    image = np.zeros((2, 3), np.uint8)
    image[:, 2] = 9  # its right side
    assert Roll.CLOCKWISE.turn_image(image)[-1].tolist() == [9, 9]


@pytest.mark.parametrize("degrees", [0, 90, 180])
def test_a_camera_that_looks_up_or_down_has_no_roll(degrees: float) -> None:
    up = about_optical_axis(degrees)  # the optical frame is that of the base, as in bags of `vizloc bag write`
    down = Rigid3d(Rotation3d(np.array([np.pi, 0, 0])), np.zeros(3)) * up
    assert Roll.of_mounting(up) is Roll.NONE
    assert Roll.of_mounting(down) is Roll.NONE
    assert Roll.of_down_axis(np.zeros(3)) is Roll.NONE


def test_names_of_rolls() -> None:
    assert rolls_to_try("auto") == tuple(Roll)
    assert rolls_to_try("none") == (Roll.NONE,)
    assert rolls_to_try("upside_down") == (Roll.UPSIDE_DOWN,)
    with pytest.raises(ConfigError, match="roll 90: there is no such roll; there is auto, none, clockwise"):
        rolls_to_try("90")
