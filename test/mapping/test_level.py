"""Level maps: which way is up by the images, and the frame in which z points there."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycolmap import Rigid3d, Rotation3d
from pydantic import ValidationError

from vizloc_ros.arrays import Float64
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.geometry.poses import BODY_FROM_OPTICAL, array_of, pose_error, pose_of
from vizloc_ros.mapping.builder import BuildOptions, build_map
from vizloc_ros.mapping.georeference import Wgs84
from vizloc_ros.mapping.level import level_note, up_axis, world_from_level
from vizloc_ros.mapping.visual_map import VisualMap

Z_UP, Y_DOWN, Y_UP = [-0.5, 0.5, -0.5, 0.5], [0.0, 0, 0, 1], [1.0, 0, 0, 0]  # quaternions of a camera that looks ahead


def cameras(quaternion: list[float], pitch: float = 0.0) -> Float64:
    """Three cameras of these axes, which look down by an angle [deg]."""
    tilt = Rotation3d(np.array([-np.radians(pitch), 0, 0]))
    return np.array([array_of(Rigid3d(Rotation3d(np.array(quaternion)) * tilt, np.zeros(3)))] * 3)


@pytest.mark.parametrize(("quaternion", "axis"), [(Y_DOWN, -2), (Z_UP, 3), (Y_UP, 2)], ids=["y down", "z up", "y up"])
def test_up_is_that_of_the_images(quaternion: list[float], axis: int) -> None:
    assert up_axis(cameras(quaternion)) == axis


def test_a_map_says_that_it_is_not_level() -> None:
    assert "-y points up in this map and not z" in level_note(cameras(Y_DOWN))
    assert not level_note(cameras(Z_UP, pitch=15))
    assert level_note(cameras(Z_UP, pitch=30))


def test_images_of_any_roll_say_nothing() -> None:
    around = np.array([array_of(Rigid3d(Rotation3d(np.array([0, 0, angle])), np.zeros(3))) for angle in range(6)])
    assert not level_note(around)


@pytest.mark.parametrize("pitch", [0.0, 12.0])
def test_of_a_cameras_axes_x_points_forward_and_z_up(pitch: float) -> None:
    found = Rigid3d(world_from_level(cameras(Y_DOWN, pitch)), np.zeros(3))
    assert pose_error(found, BODY_FROM_OPTICAL.inverse()) == pytest.approx((0, 0), abs=1e-5)


def test_a_level_world_stays_as_it_is() -> None:
    assert world_from_level(cameras(Z_UP, pitch=12)).angle() == 0.0


def test_a_slanting_world_is_turned_by_the_mean_of_its_images() -> None:
    slanting = Rotation3d(np.array([0.5, 0.2, 0.0]))
    poses = np.array([array_of(Rigid3d(slanting * Rotation3d(np.array(Z_UP)), np.zeros(3)))] * 3)
    np.testing.assert_allclose(world_from_level(poses).matrix()[:, 2], slanting.matrix()[:, 2], atol=1e-9)


@pytest.mark.e2e
def test_a_map_in_a_frame_that_is_given(street: SyntheticStreet, tmp_path: Path) -> None:
    """The street seen from a point east of it, turned by 90 degrees, and its place on the earth likewise."""
    records = street.records("map")[2:10]
    half = np.sqrt(0.5)
    options = BuildOptions(map_from_world=(100.0, 0.0, 5.0, 0.0, 0.0, half, half))
    datum = Wgs84(latitude=0.0, longitude=90.0, altitude=0.0)
    extractor = open_extractor("rootsift")
    build_map(records, extractor, tmp_path / "map", dataset="street", options=options, datum=datum)
    built = VisualMap.open(tmp_path / "map")
    place, truth = built.info.place, records[0].world_from_cam
    assert truth is not None
    assert place.datum is not None
    x, y, z = truth.translation
    assert np.array(built.keyframe_poses)[0, :3] == pytest.approx((100 - y, x, 5 + z), abs=1e-6)
    assert pose_error(place.world_from_map_pose * pose_of(np.array(built.keyframe_poses)[0]), truth)[0] < 1e-6
    on_earth = [place.datum.earth_from_frame * place.world_from_map_pose.inverse(), datum.earth_from_frame]
    assert pose_error(*on_earth) == pytest.approx((0, 0), abs=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"map_from_world": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0)}, "a unit quaternion"),
        ({"map_from_world": (0.0, 0.0, 1.0)}, "x y z"),
        ({"map_from_world": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0), "level": True}, "give one of them"),
    ],
)
def test_a_frame_that_cannot_be(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        BuildOptions(**options)


@pytest.mark.e2e
def test_a_map_of_a_cameras_axes_is_built_level(street: SyntheticStreet, tmp_path: Path) -> None:
    """The world of the street turned to that of its first camera, as KITTI's."""
    records = street.records("map")[2:10]
    first = records[0].world_from_cam
    assert first is not None
    of_camera = [replace(r, world_from_cam=first.inverse() * r.world_from_cam) for r in records if r.world_from_cam]
    options = BuildOptions(level=True)
    build_map(of_camera, open_extractor("rootsift"), tmp_path / "map", dataset="camera", options=options)
    built = VisualMap.open(tmp_path / "map")
    assert not level_note(np.array(built.keyframe_poses))
    world_from_map = built.info.place.world_from_map_pose
    assert pose_error(world_from_map, BODY_FROM_OPTICAL.inverse()) == pytest.approx((0, 0), abs=1e-5)
    heights = np.asarray(built.landmark_positions)[:, 2]
    assert np.percentile(heights, 90) > 1.0 > 0.0 > np.percentile(heights, 5), "facades above the camera, ground below"
