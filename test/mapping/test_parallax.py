"""A map drive that stands still or only turns is told apart from wrong poses and wrong scale."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from point_street import PointStreet, matched
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import MapError
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.mapping.builder import build_map
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.parallax import no_parallax, only_turns, stands_still
from vizloc_ros.mapping.rotated_views import rotated_view

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def record(street: SyntheticStreet) -> Record:
    return street.records("map")[8]


def drive(record: Record, yaws: list[float], offset: float) -> list[Record]:
    """Records of a camera that only turns; positions differ by the noise of a satellite receiver, ``offset`` m."""
    assert record.world_from_cam is not None
    image, pose, rng = record.read_image(), record.world_from_cam, np.random.default_rng(3)

    def reader(yaw: float, seed: int) -> Callable[[], UInt8]:
        noise = np.random.default_rng(seed).normal(0, 2, image.shape)
        turned = rotated_view(image, record.camera, yaw) if yaw else image
        return lambda: np.clip(turned + noise, 0, 255).astype(np.uint8)

    records = []
    for i, yaw in enumerate(yaws):
        moved = pose.translation + offset * rng.uniform(-0.5, 0.5, 3) / np.sqrt(3)
        turned = pose.rotation * Rotation3d(np.array([0, np.radians(yaw), 0]))
        stamp = record.timestamp_ns + i * 10**8
        records.append(
            replace(
                record,
                name=f"{i}.png",
                timestamp_ns=stamp,
                world_from_cam=Rigid3d(turned, moved),
                read_image=reader(yaw, i),
            )
        )
    return records


@pytest.mark.parametrize("yaws", [[0.0] * 5, [-16.0, -8.0, 0.0, 8.0, 16.0]], ids=["at rest", "turning"])
@pytest.mark.parametrize("offset", [0.0, 0.03, 0.4])
def test_the_build_says_that_there_is_no_parallax(
    record: Record, tmp_path: Path, yaws: list[float], offset: float
) -> None:
    extractor = open_extractor("rootsift", {"max_keypoints": 500})
    records = drive(record, yaws, offset)
    try:
        text = " ".join(build_map(records, extractor, tmp_path / "map", dataset="rest").warnings)
    except MapError as error:
        text = str(error)
    assert "no parallax: the camera stands still or only turns (its 5 positions are within" in text
    assert "move it at least 0.17 m for landmarks 10 m away" in text
    assert "fit the known poses" not in text
    assert "wrong axis" not in text
    assert "wrong scale" not in text


def test_positions_in_kilometers_are_suspected(street: SyntheticStreet, tmp_path: Path) -> None:
    records = [
        replace(r, world_from_cam=Rigid3d(r.world_from_cam.rotation, 1e-3 * r.world_from_cam.translation))
        for r in street.records("map")[4:16:3]
        if r.world_from_cam is not None
    ]
    with pytest.raises(MapError, match=r"no parallax: .*; or are positions not in metres\?"):
        build_map(records, open_extractor("rootsift", {"max_keypoints": 300}), tmp_path / "map", dataset="km")


@pytest.fixture(scope="module")
def moving() -> list[Keyframe]:
    return [view.keyframe for view in PointStreet(seed=5).views(6, noise_px=0.5, clutter=100)]


def test_a_drive_has_parallax(moving: list[Keyframe]) -> None:
    assert not only_turns(moving, matched(moving))
    assert not stands_still(moving, 0.05)
    assert stands_still(moving, 100.0)
    assert stands_still(moving[:1], 0.05)


def test_wrong_rotations_are_not_taken_for_turning(moving: list[Keyframe]) -> None:
    rng = np.random.default_rng(1)
    wrong = [
        replace(k, map_from_cam=Rigid3d(Rotation3d(rng.uniform(-0.5, 0.5, 3)), k.map_from_cam.translation))
        for k in moving
    ]
    assert not only_turns(wrong, matched(moving))
    assert not only_turns(moving, [])


@pytest.mark.parametrize(("angle", "needed"), [(1.0, "0.17 m"), (3.0, "0.52 m")])
def test_the_needed_motion_follows_the_triangulation_angle(moving: list[Keyframe], angle: float, needed: str) -> None:
    assert f"move it at least {needed} for landmarks 10 m away" in no_parallax(moving, angle)
