"""The room of a hand-held camera: how the camera moves, what it sees, and that it sees the same again."""

import multiprocessing
from itertools import pairwise

import numpy as np
import pytest
from pycolmap import Rigid3d

from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import SyntheticStreet, open_synthetic
from vizloc_ros.datasets.synthetic.room import build_room
from vizloc_ros.datasets.synthetic.walk import ROUND_LENGTH
from vizloc_ros.errors import DatasetError
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.geometry.se3 import so3_log

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def room() -> SyntheticStreet:
    return open_synthetic("world=room&seed=101")


def pose_of(record: Record) -> Rigid3d:
    assert record.world_from_cam is not None
    return record.world_from_cam


def turn_rates(records: list[Record]) -> np.ndarray:
    """(N - 1, 3) angular velocity in the camera's frame [deg/s]."""
    turns = [
        so3_log(pose_of(before).rotation.inverse() * pose_of(after).rotation) for before, after in pairwise(records)
    ]
    seconds = np.diff([record.timestamp_ns for record in records]) / 1e9
    return np.degrees(turns) / seconds[:, None]


def test_the_second_walk_has_30_images_a_second_and_the_first_is_sparse(room: SyntheticStreet) -> None:
    mapped, driven = room.records("map"), room.records("query")
    assert np.diff([record.timestamp_ns for record in driven]) == pytest.approx(1e9 / 30, abs=1)
    assert len(driven) == np.ceil(ROUND_LENGTH / 0.02)
    assert driven[0].camera.size == (640, 480)
    steps = [pose_error(pose_of(a), pose_of(b))[0] for a, b in pairwise(mapped)]
    assert np.median(steps) == pytest.approx(0.3, abs=0.05)
    assert pose_error(pose_of(driven[0]), pose_of(driven[-1]))[0] < 0.1  # it is a round


@pytest.mark.parametrize("seed", [0, 101, 102])
def test_it_turns_at_up_to_60_deg_per_s_rolls_and_bobs(seed: int) -> None:
    driven = open_synthetic(f"world=room&seed={seed}").records("query")
    rates = turn_rates(driven)
    assert 50 < np.linalg.norm(rates, axis=1).max() < 80
    assert np.linalg.norm(np.diff(rates, axis=0), axis=1).max() * 30 > 200  # deg/s^2, of a hand that trembles
    rolls = [np.degrees(np.arcsin(pose_of(record).rotation.matrix()[2, 0])) for record in driven]
    assert np.ptp(rolls) > 10
    heights = np.array([pose_of(record).translation[2] for record in driven])
    assert np.ptp(heights) == pytest.approx(0.05, abs=0.01)
    crossings = np.flatnonzero(np.diff(np.sign(heights - heights.mean())))
    assert len(crossings) / 2 / (len(driven) / 30) == pytest.approx(1.8, abs=0.1)  # steps in a second


@pytest.mark.parametrize("seed", [0, 101, 102])
def test_keyframes_are_some_decimeters_and_degrees_away(seed: int) -> None:
    room = open_synthetic(f"world=room&seed={seed}")
    mapped = room.records("map")
    nearest = [
        min((pose_error(pose_of(keyframe), pose_of(record)) for keyframe in mapped), key=_difference)
        for record in room.records("query")[::5]
    ]
    distances, angles = np.array(nearest).T
    assert 0.25 < np.median(distances) < 0.5
    assert 10 < np.median(angles) < 25
    assert np.quantile(angles, 0.95) > 25


def _difference(error: tuple[float, float]) -> float:
    return error[0] / 0.3 + error[1] / 15


@pytest.mark.parametrize("split", ["map", "query"])
def test_the_room_is_closed_and_near(room: SyntheticStreet, split: str) -> None:
    depths = np.stack([room.depth(record)[::8, ::8] for record in room.records(split)[::9]])
    assert np.isfinite(depths).all()
    assert 0.4 < depths.min() < 1.2
    assert 4 < depths.max() < 8
    assert (np.abs(pose_of(room.records(split)[3]).translation[:2]) < (3.0, 2.4)).all()


def test_what_is_seen_in_one_image_is_seen_in_the_next(room: SyntheticStreet) -> None:
    before, after = room.records("query")[40:46:5]
    y, x = np.mgrid[0:480:3, 0:640:3].reshape(2, -1)
    points = before.camera.rays(np.stack([x, y], axis=1).astype(float)) * room.depth(before)[y, x, None]
    moved = pose_of(after).inverse() * pose_of(before)
    in_after = points @ moved.rotation.matrix().T + moved.translation
    pixels, inside = after.camera.project(in_after)
    column, row = pixels[inside].round().astype(int).clip(0, (639, 479)).T
    is_same = np.abs(room.depth(after)[row, column] / in_after[inside, 2] - 1) < 0.01
    assert is_same.mean() > 0.9
    seen, again = before.read_image()[y, x][inside][is_same], after.read_image()[row, column][is_same]
    assert np.corrcoef(seen, again)[0, 1] > 0.9
    unmoved = after.read_image()[y, x][inside][is_same]
    assert np.corrcoef(seen, again)[0, 1] > np.corrcoef(seen, unmoved)[0, 1] + 0.1


def test_images_do_not_depend_on_the_process(room: SyntheticStreet) -> None:
    record = room.records("query")[25]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        elsewhere = pool.apply(record.read_image)
    assert np.array_equal(record.read_image(), elsewhere)
    assert np.array_equal(record.read_image(), open_synthetic("world=room&seed=101").records("query")[25].read_image())
    other = open_synthetic("world=room&seed=102").records("query")[25].read_image()
    assert (record.read_image() != other).mean() > 0.5


def test_only_chairs_are_elsewhere_in_the_second_walk() -> None:
    first, second = build_room(101)
    assert len(first.quads) == len(second.quads)
    is_moved = np.abs(first.frames - second.frames).max(axis=(1, 2)) > 0
    assert 0 < is_moved.sum() <= 4 * 18
    assert np.abs(first.frames[is_moved][:, :2, 2]).max() < 1.5  # around the table


@pytest.mark.parametrize("spec", ["aliased=all", "cameras=front,rear"])
def test_the_room_has_one_camera_and_no_repeats(spec: str) -> None:
    with pytest.raises(DatasetError, match="the room has one camera"):
        open_synthetic(f"world=room&{spec}")
