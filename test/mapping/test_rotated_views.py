"""Turned views against what a turned camera sees, and the global descriptors that stand for them."""

from typing import Any

import cv2
import numpy as np
import pytest
from pycolmap import Rigid3d
from scipy.spatial.transform import Rotation

from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.datasets.synthetic.raster import render
from vizloc_ros.datasets.synthetic.world import build_world
from vizloc_ros.features.device import Device
from vizloc_ros.features.extractor import FeatureExtractor, open_extractor
from vizloc_ros.features.types import Features
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import pose_from_matrix
from vizloc_ros.mapping.rotated_views import RotatedViewOptions, rotated_view, with_rotated_views

CAMERA = PinholeCamera(400, 250, 260.0, 280.0, 190.0, 130.0)  # off-centre, and fx is not fy: nothing cancels


def seen(world_from_cam: Rigid3d, yaw: float = 0.0) -> np.ndarray:
    """View of ``CAMERA`` of the synthetic street when it is turned to the right [deg]."""
    scene, _ = build_world(0)
    about_down = Rotation.from_euler("y", yaw, degrees=True).as_matrix()
    turned_pose = np.column_stack([world_from_cam.rotation.matrix() @ about_down, world_from_cam.translation])
    image, _ = render(scene, np.ones(len(scene.quads)), CAMERA, pose_from_matrix(turned_pose))
    return image


@pytest.fixture(scope="module")
def poses(street: SyntheticStreet) -> list[Rigid3d]:
    return [record.world_from_cam for record in street.records("map")[::8]]


@pytest.mark.parametrize("yaw", [-30, -10, 20, 30])
def test_a_turned_view_is_what_the_turned_camera_sees(poses: list[Rigid3d], yaw: float) -> None:
    pixels = np.stack(np.meshgrid(np.arange(CAMERA.width), np.arange(CAMERA.height)), axis=2).reshape(-1, 2)
    rays = Rotation.from_euler("y", yaw, degrees=True).apply(CAMERA.rays(pixels.astype(float)))
    known = CAMERA.project(rays)[1].reshape(CAMERA.height, CAMERA.width)
    assert 0.4 < known.mean() < 0.95
    for pose in poses:
        image, truth = seen(pose), seen(pose, yaw)
        wrong = np.abs(rotated_view(image, CAMERA, yaw).astype(float) - truth)[known].mean()
        for other in (yaw - 1, yaw + 1, -yaw):
            assert wrong < 0.8 * np.abs(rotated_view(image, CAMERA, other).astype(float) - truth)[known].mean()


def test_what_is_ahead_moves_left_in_a_turn_to_the_right() -> None:
    image = np.zeros((250, 400), np.uint8)
    cv2.circle(image, (190, 130), 3, 255, -1)
    view = rotated_view(image, CAMERA, 20)
    assert view[130, round(190 - 260 * np.tan(np.radians(20)))] == 255
    assert view[:, 150:240].max() == 0


@pytest.mark.parametrize("colours", [(), (3,)])
def test_size_and_colours_stay_and_the_border_is_filled(colours: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(1, 256, (250, 400, *colours), np.uint8)
    np.testing.assert_array_equal(rotated_view(image, CAMERA, 0), image)
    view = rotated_view(image, CAMERA, 30)
    assert (view.shape, view.dtype) == (image.shape, np.uint8)
    assert view.min() > 0
    for channel in range(3 if colours else 0):
        alone = rotated_view(np.ascontiguousarray(image[..., channel]), CAMERA, 30)
        np.testing.assert_array_equal(view[..., channel], alone)


@pytest.fixture(scope="module")
def hfnet() -> FeatureExtractor:
    return open_extractor("hfnet", {"max_keypoints": 200}, device=Device(threads=1))


def blended(image: np.ndarray, extractor: FeatureExtractor, **options: Any) -> tuple[Features, Features]:
    """The image's own features, and those with turned views."""
    features = extractor.extract(image)
    return features, with_rotated_views(features, image, CAMERA, extractor, RotatedViewOptions(**options))


def test_the_global_descriptor_is_the_weighted_mean_and_all_else_stays(
    poses: list[Rigid3d], hfnet: FeatureExtractor
) -> None:
    image = seen(poses[0])
    own, mean = blended(image, hfnet, yaws=(-20, 10), weight=0.3)
    views = [hfnet.extract(rotated_view(image, CAMERA, yaw)).global_descriptor for yaw in (-20, 10)]
    expected = own.global_descriptor + 0.3 * views[0] + 0.3 * views[1]
    np.testing.assert_allclose(mean.global_descriptor, expected / np.linalg.norm(expected), atol=1e-6)
    assert mean.global_descriptor.dtype == np.float32
    assert np.linalg.norm(mean.global_descriptor) == pytest.approx(1, abs=1e-6)
    assert own.global_descriptor @ mean.global_descriptor < 0.999
    assert mean.keypoints is own.keypoints
    assert mean.scores is own.scores
    assert mean.descriptors is own.descriptors
    assert mean.image_size == own.image_size


def test_without_yaws_the_descriptor_is_the_image_s_own(poses: list[Rigid3d], hfnet: FeatureExtractor) -> None:
    own, mean = blended(seen(poses[0]), hfnet, yaws=())
    np.testing.assert_allclose(mean.global_descriptor, own.global_descriptor, atol=1e-6)


def test_what_has_yet_to_be_learned_stays(poses: list[Rigid3d]) -> None:
    own, same = blended(seen(poses[0]), open_extractor("rootsift"))
    assert same is own
    assert not len(own.global_descriptor)


@pytest.mark.parametrize("yaw", [-25, 25])
def test_a_turned_camera_finds_a_place_more_alike(poses: list[Rigid3d], hfnet: FeatureExtractor, yaw: float) -> None:
    """Its image is rendered, not warped."""
    gains = []
    for pose in poses:
        own, mean = blended(seen(pose), hfnet)
        query = hfnet.extract(seen(pose, yaw)).global_descriptor
        gains.append(query @ (mean.global_descriptor - own.global_descriptor))
    assert min(gains) > 0
    assert np.mean(gains) > 0.02
