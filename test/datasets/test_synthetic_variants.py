"""Variants of the synthetic street: houses that repeat, covered lenses, and the corridor."""

import numpy as np
import pytest

from vizloc_ros.datasets.synthetic import open_synthetic
from vizloc_ros.datasets.synthetic.lens_covers import COVERS, HIDDEN_GRAY
from vizloc_ros.datasets.synthetic.quads import Texture
from vizloc_ros.datasets.synthetic.repeats import PERIOD, repeated_row
from vizloc_ros.datasets.synthetic.route import CORNER_RADIUS, STRAIGHTS
from vizloc_ros.errors import DatasetError
from vizloc_ros.geometry.poses import pose_error

pytestmark = pytest.mark.e2e

SMALL = "width=200&height=125&speed=8&rate=8"  # one meter from frame to frame


def view(spec: str, index: int, split: str = "map") -> np.ndarray:
    return open_synthetic(f"{SMALL}&{spec}").records(split)[index].read_image().astype(int)


def test_in_the_aliased_street_opposite_sides_look_alike() -> None:
    half_a_lap = round(sum(STRAIGHTS[:2]) + np.pi * CORNER_RADIUS)

    def difference(frames: int) -> float:
        images = [view("aliased=all", i)[:, 20:-20] for i in (2, 2 + frames)]
        return float(np.abs(images[0] - images[1]).mean())

    assert difference(half_a_lap) < 0.6 * difference(round(PERIOD / 2))


def test_in_a_row_of_equal_houses_the_outermost_are_cut_off() -> None:
    front = Texture(np.zeros((64, 64), np.uint8))
    quads = list(repeated_row(front, np.zeros(2), np.array([2.5 * PERIOD, 0.0])))
    assert all(quad.texture is front for quad in quads)
    begins = {float(quad.origin[0]): quad.window[0] for quad in quads}
    assert begins[0.0] == pytest.approx(0.75)
    assert begins[0.25 * PERIOD] == begins[1.25 * PERIOD] == 0.0
    assert max(quad.origin[0] + quad.right[0] for quad in quads) == pytest.approx(2.5 * PERIOD)


@pytest.mark.parametrize(("cover", "hidden"), [("upper_half", 0.5), ("upper_60", 0.6), ("most", 0.85)])
def test_a_cover_hides_its_part_of_the_second_lap_alone(cover: str, hidden: float) -> None:
    image = view(f"covered={cover}", 3, "query")
    assert (image == 12).mean() == pytest.approx(hidden, abs=0.03)
    seen = image != 12
    np.testing.assert_array_equal(image[seen], view("seed=0", 3, "query")[seen])
    np.testing.assert_array_equal(view(f"covered={cover}", 3), view("seed=0", 3))


@pytest.mark.parametrize("cover", ["dirt", "drops"])
def test_dirt_and_drops_stay_where_they_are(cover: str) -> None:
    changed = [view(f"covered={cover}", i, "query") != view("seed=0", i, "query") for i in (3, 4)]
    assert 0.1 < changed[0].mean() < 0.6
    assert (changed[0] == changed[1]).mean() > 0.9
    assert set(COVERS) == {"dirt", "drops", "upper_half", "upper_60", "most"}


def test_the_corridor_is_closed_and_the_camera_inside() -> None:
    corridor = open_synthetic(f"{SMALL}&world=corridor")
    for split, index in (("map", 22), ("query", 60)):
        depth = corridor.depth(corridor.records(split)[index])
        assert np.isfinite(depth).all()
        assert 0.6 < depth.min() < depth.max() < 45
    assert view("world=corridor&seed=1", 5).std() > 15
    assert (view("world=corridor&seed=1", 5) != view("world=corridor", 5)).mean() > 0.5


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("world=moon", "world is 'moon'; it must be street or corridor or room"),
        ("covered=mud", "covered is 'mud'; it must be dirt or drops"),
        ("world=corridor&aliased=all", "the corridor repeats already"),
    ],
)
def test_a_wrong_variant_is_named(spec: str, says: str) -> None:
    with pytest.raises(DatasetError, match=says):
        open_synthetic(spec)


def test_cameras_of_a_vehicle_take_their_images_at_one_time_from_their_mounts() -> None:
    rig, alone = open_synthetic("cameras=front,rear&seed=3"), open_synthetic("seed=3")
    records, fronts = rig.records("query"), alone.records("query")
    assert [record.mounting.camera for record in records[:4]] == ["front", "rear"] * 2
    assert len(records) == 2 * len(fronts)
    assert len({record.name for record in records}) == len(records)
    front, rear = records[40:42]
    assert front.timestamp_ns == rear.timestamp_ns == fronts[20].timestamp_ns
    assert np.array_equal(front.read_image(), fronts[20].read_image())
    assert not np.array_equal(front.read_image(), rear.read_image())
    bases = [record.world_from_cam * record.mounting.base_from_cam.inverse() for record in (front, rear)]
    assert pose_error(*bases) == pytest.approx((0, 0), abs=1e-9)
    assert bases[0].translation[2] == pytest.approx(0, abs=0.1)  # on the ground
    distance, angle = pose_error(front.world_from_cam, rear.world_from_cam)
    assert (distance, angle) == pytest.approx((2.4, 180), abs=1e-6)


def test_a_cover_may_be_on_one_camera() -> None:
    spec = f"{SMALL}&cameras=front,rear&covered=upper_half"
    front, rear = (record.read_image() for record in open_synthetic(f"{spec}&covered_camera=rear").records("query")[:2])
    assert (rear[:60] == HIDDEN_GRAY).all()
    assert (front[:60] != HIDDEN_GRAY).any()


def test_a_cover_on_a_camera_that_is_not_there_is_named() -> None:
    with pytest.raises(DatasetError, match="covered_camera is 'rear', which is none of the cameras"):
        open_synthetic(f"{SMALL}&covered=most&covered_camera=rear")


@pytest.mark.parametrize("spec", ["cameras=rear,front,seed=3&length=9", "length=9,cameras=rear,front&seed=3"])
def test_a_list_of_cameras_may_be_anywhere(spec: str) -> None:
    street = open_synthetic(spec).spec
    assert (street.cameras, street.seed, street.length) == (("rear", "front"), 3, 9)


@pytest.mark.parametrize("cameras", ["", "left", "front,front"])
def test_a_wrong_list_of_cameras_is_named(cameras: str) -> None:
    with pytest.raises(DatasetError, match=r"cameras is .* one or more of front, rear"):
        open_synthetic(f"cameras={cameras}")
