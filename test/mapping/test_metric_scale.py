"""Similarity transforms, and the sources of the metric scale of a model without one."""

from dataclasses import replace

import numpy as np
import pycolmap
import pytest
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import Float64
from vizloc_ros.datasets.record import GnssFix, Record
from vizloc_ros.errors import ConfigError, MapError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import pose_error, transform_points
from vizloc_ros.geometry.similarity import Similarity, align_poses, align_positions
from vizloc_ros.mapping.metric_scale import PosedModel, ScaleSource, metric_similarity

CAMERA = PinholeCamera(640, 480, 500, 500, 319.5, 239.5)
METERS = 3.7  # that one unit of the model is long
HEIGHT = 1.65
MODEL_FROM_WORLD = Similarity(1 / METERS, Rigid3d(Rotation3d(np.array([0.4, -1.0, 0.3])), np.array([2.0, -1.0, 5.0])))


def vehicle_pose(index: int, turns: float) -> Rigid3d:
    """Camera that looks ahead of a vehicle on the plane z = 0, on an arc or straight along x."""
    yaw = turns * index
    ahead, right, down = np.array([np.cos(yaw), np.sin(yaw), 0]), np.array([np.sin(yaw), -np.cos(yaw), 0]), [0, 0, -1]
    x, y = (np.sin(yaw) / turns, (1 - np.cos(yaw)) / turns) if turns else (index, 0)
    return Rigid3d(Rotation3d(np.column_stack([right, down, ahead])), np.array([x, y, HEIGHT]))


def record(index: int, pose: Rigid3d | None) -> Record:
    return Record(f"{index}.png", index * 500_000_000, CAMERA, "map", pose, lambda: np.zeros((480, 640), np.uint8))


def drive(turns: float = 0.08, ground: bool = True) -> PosedModel:
    """Fifteen images of a street, in the units of a model; what they see is 4 to 30 m ahead, a third of it ground."""
    rng = np.random.default_rng(2)
    known = [vehicle_pose(i, turns) for i in range(15)]
    points = []
    for _ in known:
        seen = np.column_stack([rng.uniform(-8, 8, 150), rng.uniform(-4, HEIGHT, 150), rng.uniform(4, 30, 150)])
        seen[::3, 1] = HEIGHT + rng.normal(0, 0.02, 50) if ground else seen[::3, 1]
        points.append(seen / METERS)
    records = [record(i, pose) for i, pose in enumerate(known)]
    return PosedModel(records, [MODEL_FROM_WORLD.pose(pose) for pose in known], points)


def fixes(model: PosedModel) -> list[GnssFix]:
    """Fixes every quarter of a second along the drive."""
    positions = np.array([r.world_from_cam.translation for r in model.records if r.world_from_cam])
    times = np.arange(0, model.records[-1].timestamp_ns + 1, 250_000_000)
    at = np.column_stack([np.interp(times, [r.timestamp_ns for r in model.records], axis) for axis in positions.T])
    geodetic = pycolmap.GPSTransform().enu_to_ellipsoid(at, 49.0, 8.4, 115.0)
    return [GnssFix(int(t), *map(float, row)) for t, row in zip(times, geodetic, strict=True)]


@pytest.mark.parametrize("turns", [0.08, 0.0])
def test_poses_give_the_frame_and_the_scale_on_an_arc_and_on_a_straight_line(turns: float) -> None:
    model = drive(turns)
    similarity, deviation = metric_similarity(model, ScaleSource("poses"), (), 0)
    assert similarity.scale == pytest.approx(METERS)
    assert deviation == pytest.approx(0, abs=1e-9)
    for known, pose in zip(model.records, model.poses, strict=True):
        assert known.world_from_cam is not None
        assert pose_error(similarity.pose(pose), known.world_from_cam) == pytest.approx((0, 0), abs=1e-5)


@pytest.mark.parametrize(
    ("text", "tolerance"),
    [("odometry", 1e-6), ("gnss", 1e-3), (f"camera-height:{HEIGHT}", 0.02), ("4:0.png,4.png", 1e-6)],
)
def test_lengths_give_the_scale_and_the_map_is_upright(text: str, tolerance: float) -> None:
    model = drive(0.0) if text.startswith("4:") else drive()
    similarity, _ = metric_similarity(model, ScaleSource.parse(text), fixes(model), 0)
    assert similarity.scale == pytest.approx(METERS, rel=tolerance)
    first = similarity.pose(model.poses[0])
    assert first.translation == pytest.approx([0, 0, 0], abs=1e-9)
    assert first.rotation.matrix() == pytest.approx(vehicle_pose(0, 0.0).rotation.matrix(), abs=1e-2)
    heights = [similarity.pose(pose).translation[2] for pose in model.poses]
    assert np.abs(heights).max() < 0.2


def test_odometry_that_drifts_gives_the_scale_of_its_steps() -> None:
    model = drive()
    drift = Rigid3d(Rotation3d(np.array([0, 0, 0.02])), np.zeros(3))
    records, pose = [], vehicle_pose(0, 0.08)
    for i, known in enumerate(model.records):
        assert known.world_from_cam is not None
        records.append(replace(known, world_from_cam=pose))
        pose = pose * vehicle_pose(i, 0.08).inverse() * vehicle_pose(i + 1, 0.08) * drift
    similarity, deviation = metric_similarity(replace(model, records=records), ScaleSource("odometry"), (), 0)
    assert similarity.scale == pytest.approx(METERS, rel=0.03)
    assert deviation is not None
    assert deviation < 0.03


def test_without_a_source_landmarks_are_ten_units_away() -> None:
    model = drive()
    similarity, deviation = metric_similarity(model, ScaleSource(), (), 0)
    assert deviation is None
    assert np.median(np.concatenate(model.points)[:, 2]) * similarity.scale == pytest.approx(10)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("poses", "0 of the 15 registered images have a pose"),
        ("odometry", "0 of the 15 registered images have a pose"),
        ("gnss", "0 of the 15 registered images were taken between two fixes"),
        ("2:0.png,other.png", "other.png is not among the registered images"),
        ("2:0.png,0.png", "at the same place"),
        ("camera-height:1.65", "landmarks below the horizon lie on one plane"),
    ],
)
def test_a_source_that_cannot_tell_the_scale_is_named(text: str, reason: str) -> None:
    model = drive(ground=False)
    model = replace(model, records=[replace(r, world_from_cam=None) for r in model.records])
    with pytest.raises(MapError, match=f"--scale-from .*{reason}"):
        metric_similarity(model, ScaleSource.parse(text), (), 0)


@pytest.mark.parametrize(
    "text", ["gps", "camera-height", "camera-height:-1", "0:a,b", "2:a", "two:a,b", "2:a,", "poses:1"]
)
def test_an_unknown_source_lists_the_known_ones(text: str) -> None:
    with pytest.raises(ConfigError, match=r"poses, odometry, gnss, camera-height:METERS or LENGTH:IMAGE_A,IMAGE_B"):
        ScaleSource.parse(text)


def test_positions_at_one_place_have_no_similarity() -> None:
    here: Float64 = np.ones((4, 3))
    assert align_positions(np.eye(4)[:, :3], here) is None
    assert align_poses([Rigid3d()] * 3, [Rigid3d()] * 3) is None


def test_a_similarity_moves_points_and_poses_alike() -> None:
    pose = vehicle_pose(3, 0.1)
    point = np.array([[1.0, 2.0, 9.0]])
    in_model = transform_points(MODEL_FROM_WORLD.pose(pose), point / METERS)
    in_world = transform_points(pose, point)
    rotation, translation = MODEL_FROM_WORLD.a_from_b.rotation.matrix(), MODEL_FROM_WORLD.a_from_b.translation
    assert in_model == pytest.approx(in_world @ rotation.T / METERS + translation)
