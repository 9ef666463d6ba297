"""Drives that stand still or only turn: the build says that there is no parallax, and how much is needed."""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from point_street import PointStreet, matched
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import Float64
from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import MapError
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.mapping.build_report import BuildReport
from vizloc_ros.mapping.builder import build_map
from vizloc_ros.mapping.parallax import median_parallax, no_parallax
from vizloc_ros.mapping.pose_diagnosis import scale_warnings

pytestmark = pytest.mark.e2e

COUNT = 10


def build(records: Sequence[Record], out: Path) -> BuildReport:
    return build_map(records, open_extractor("rootsift", {"max_keypoints": 600}), out, dataset="drive")


def at_one_place(record: Record, yaws: Float64, shift: Float64) -> list[Record]:
    """Views of a camera that turns by yaws (N,) [rad] on the spot; its poses shift by (N, 3) [m], its images do not."""
    image, camera = record.read_image(), record.camera
    assert record.world_from_cam is not None
    views = []
    for i, yaw in enumerate(yaws):
        turn = Rotation3d(np.array([0.0, yaw, 0.0]))
        homography = camera.matrix @ turn.matrix().T @ np.linalg.inv(camera.matrix)
        warped = np.asarray(cv2.warpPerspective(image, homography, camera.size), np.uint8)
        noisy = (warped + np.random.default_rng(i).normal(0, 4, warped.shape)).clip(0, 255).astype(np.uint8)
        pose = Rigid3d(record.world_from_cam.rotation * turn, record.world_from_cam.translation + shift[i])
        stamp = record.timestamp_ns + i * 10**8
        views.append(Record(f"{i}.png", stamp, camera, "map", pose, partial(np.copy, noisy)))
    return views


STILL, TURNING = np.zeros(COUNT), np.radians(np.linspace(0, 20, COUNT))
NEEDED = r"a landmark needs 1 deg \(triangulation\.min_angle\), that is 0\.17 m to the side for what is 10 m away"


@pytest.mark.parametrize("yaws", [STILL, TURNING], ids=["stands still", "only turns"])
@pytest.mark.parametrize("noise", [0.0, 0.01, 0.2], ids=["right poses", "poses within 1 cm", "poses within 20 cm"])
def test_a_drive_without_parallax_is_refused_with_the_cause(
    street: SyntheticStreet, tmp_path: Path, yaws: Float64, noise: float
) -> None:
    """Poses of GNSS jitter: then there are pairs, and even landmarks by chance."""
    shift = np.random.default_rng(0).uniform(-noise, noise, (COUNT, 3))
    records = at_one_place(street.records("map")[6], yaws, shift)
    try:
        text = " ".join(build(records, tmp_path / "map").warnings)
    except MapError as error:
        text = str(error)
    assert text.startswith("no parallax: ")
    assert "stands still or only turns" in text
    assert "wrong scale" not in text
    assert "pairs.min_distance" in text if noise < 0.05 else "The rays of most matches differ by less than 0." in text
    assert re.search(NEEDED, text)


def test_a_drive_has_parallax() -> None:
    keyframes = [view.keyframe for view in PointStreet(seed=5).views(10, noise_px=0.5, clutter=250)]
    matches = matched(keyframes)
    assert median_parallax(keyframes, matches) > 3
    assert no_parallax(keyframes, matches, 1.0) is None
    assert no_parallax(keyframes, [], 1.0) is None


def test_images_that_look_in_other_directions_are_not_called_a_wrong_scale(
    street: SyntheticStreet, tmp_path: Path
) -> None:
    records = street.records("map")[:3]
    turned = [
        replace(r, world_from_cam=r.world_from_cam * Rigid3d(Rotation3d(np.array([0, i * 1.5, 0])), np.zeros(3)))
        for i, r in enumerate(records)
        if r.world_from_cam is not None
    ]
    with pytest.raises(MapError, match=r"no two images are within 25 m and 50 deg .*: they look in other directions"):
        build(turned, tmp_path / "map")


def test_a_rest_is_no_wrong_scale() -> None:
    """A car that waits for most of the time, recorded all the while."""
    driving = [view.keyframe for view in PointStreet(seed=5).views(10)]
    last = driving[-1]
    waiting = [replace(last, timestamp_ns=last.timestamp_ns + i * 10**8) for i in range(1, 30)]
    assert scale_warnings(driving + waiting, np.array([5.0, 12.0])) == []
