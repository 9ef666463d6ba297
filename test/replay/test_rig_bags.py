"""Bags of several cameras: topics, frames and ground truth of each, and what is said where something is missing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.bags.bag_camera import open_camera
from vizloc_ros.bags.bag_options import BagOptions
from vizloc_ros.bags.reader import read_info, read_messages
from vizloc_ros.bags.topic_uses import topic_uses
from vizloc_ros.bags.writer import write_bag
from vizloc_ros.bags.written_topics import notes_on, topics_of_cameras
from vizloc_ros.datasets.corruptions import Degradation, degrade_records
from vizloc_ros.datasets.record import GnssFix, Mounting, RawImage, Record, every
from vizloc_ros.errors import BagError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.geometry.rectification import DistortedCamera, Rectifier

LENS = DistortedCamera(PinholeCamera(64, 40, 50.0, 51.0, 31.5, 19.5), (-0.2, 0.05, 0.001, -0.001))
RECTIFIER = Rectifier(LENS)
START_NS, PERIOD_NS = 1_700_000_000_000_000_000, 100_000_000
BASE_FROM = {
    "CAM_FRONT": Rigid3d(Rotation3d(np.array([0.5, -0.5, 0.5, -0.5])), np.array([1.7, 0, 1.5])),
    "CAM_BACK": Rigid3d(Rotation3d(np.array([0.5, -0.5, -0.5, 0.5])), np.array([0, 0, 1.5])),
}


def make_record(index: int, mounting: Mounting) -> Record:
    image = np.random.default_rng(index).integers(0, 255, (40, 64), np.uint8)
    world_from_base = Rigid3d(Rotation3d(np.array([0, 0, 0.1 * index])), np.array([index, 2.0, 0.0]))
    return Record(
        f"{mounting.camera}/{index}.png",
        START_NS + index * PERIOD_NS,
        RECTIFIER.rectified,
        "query",
        world_from_base * (mounting.base_from_cam or Rigid3d()),
        lambda: RECTIFIER.rectify(image),
        mounting=mounting,
        raw=RawImage(LENS, lambda: image),
    )


RIG = [make_record(index, Mounting(camera, pose)) for index in range(4) for camera, pose in BASE_FROM.items()]


def test_each_camera_has_its_topics_and_its_place(tmp_path: Path) -> None:
    write_bag(RIG, tmp_path / "bag")
    info = read_info(tmp_path / "bag")
    assert set(info.topics) == {"/tf_static"} | {
        f"/{camera}/{topic}"
        for camera in ("cam_front", "cam_back")
        for topic in ("image", "camera_info", "ground_truth/pose")
    }
    ((_, mountings),) = read_messages(tmp_path / "bag", "/tf_static")
    places = {t.child_frame_id: t.transform.translation.x for t in mountings.transforms}
    assert places == {"cam_front_optical_frame": 1.7, "cam_back_optical_frame": 0.0}
    with pytest.raises(BagError, match=r"images of 2 cameras: choose one with --image-topic"):
        open_camera(tmp_path / "bag")
    for name, base_from_cam in BASE_FROM.items():
        camera = open_camera(tmp_path / "bag", BagOptions(image_topic=f"/{name.lower()}/image"))
        assert pose_error(camera.frame_from_cam("base_link"), base_from_cam) == pytest.approx((0, 0), abs=1e-5)
        given = [record for record in RIG if record.mounting.camera == name]
        for read, record in zip(camera.records(), given, strict=True):
            assert pose_error(read.world_from_cam, record.world_from_cam) == pytest.approx((0, 0), abs=1e-4)
            np.testing.assert_array_equal(read.read_image(), record.read_image())  # raw in the bag, rectified again
    assert {use.use for use in topic_uses(tmp_path / "bag") if "truth" in use.topic} == {"ground truth"}


@pytest.mark.parametrize(
    ("model", "distortion", "written"),
    [
        ("plumb_bob", (-0.2, 0.05, 0.001, -0.001), [-0.2, 0.05, 0.001, -0.001, 0.0]),
        ("equidistant", (0.01, 0.0, 0.0, 0.0), [0.01, 0.0, 0.0, 0.0]),
        ("rational_polynomial", (0.1, 0, 0, 0, 0, 0.1, 0, 0), [0.1, 0, 0, 0, 0, 0.1, 0, 0]),
    ],
)
def test_camera_info_has_the_distortion(tmp_path: Path, model: str, distortion: tuple, written: list) -> None:
    lens = DistortedCamera(LENS.pinhole, distortion, model)
    write_bag([replace(RIG[0], raw=replace(RIG[0].raw, lens=lens))], tmp_path / "bag")
    ((_, info),) = read_messages(tmp_path / "bag", "/camera/camera_info")
    assert (info.distortion_model, info.d.tolist()) == (model, written)
    assert info.k.tolist() == LENS.pinhole.matrix.reshape(-1).tolist()
    assert info.p[0] == Rectifier(lens).rectified.fx


def test_a_new_place_of_a_camera_is_written_when_it_is_used(tmp_path: Path) -> None:
    moved = Rigid3d(Rotation3d(), np.array([9.0, 0, 0]))
    records = [make_record(0, Mounting("a", Rigid3d())), make_record(1, Mounting("a", moved))]
    write_bag(records, tmp_path / "bag")
    written = [
        (stamp, m.transforms[0].transform.translation.x) for stamp, m in read_messages(tmp_path / "bag", "/tf_static")
    ]
    assert written == [(START_NS, 0.0), (START_NS + PERIOD_NS, 9.0)]


def test_fixes_are_written_between_the_images(tmp_path: Path) -> None:
    fixes = [GnssFix(START_NS + index, 51.0 + index, -1.0, 100.0) for index in (-1, 50_000_000, PERIOD_NS * 9)]
    write_bag(RIG[::2], tmp_path / "bag", fixes=fixes)
    found = [
        (stamp, fix.latitude, fix.position_covariance_type) for stamp, fix in read_messages(tmp_path / "bag", "/fix")
    ]
    assert found == [(fix.timestamp_ns, fix.latitude, 0) for fix in fixes]


def test_unknown_places_and_long_gaps_are_noted(tmp_path: Path) -> None:
    unplaced = [make_record(0, Mounting("c0")), make_record(0, Mounting("c1"))]
    write_bag(unplaced, tmp_path / "bag")
    assert "/tf_static" not in read_info(tmp_path / "bag").topics
    (note,) = notes_on(unplaced)
    assert "c0, c1" in note
    assert "--base-from-cam" in note
    assert notes_on(RIG) == notes_on(unplaced[:1]) == []
    (note,) = notes_on([make_record(0, Mounting()), make_record(620, Mounting())])
    assert "a gap of 62 s" in note


def test_two_cameras_of_one_name_are_refused() -> None:
    with pytest.raises(BagError, match=r"'cam 0' and 'cam_0' would both be /cam_0"):
        topics_of_cameras([make_record(0, Mounting("cam 0")), make_record(0, Mounting("cam_0"))])
    names = topics_of_cameras([make_record(0, Mounting("0")), make_record(0, Mounting("Ü/1"))])
    assert [topics.image for topics in names.values()] == ["/camera_0/image", "/camera___1/image"]


def test_every_nth_is_of_each_camera() -> None:
    assert [r.name for r in every(RIG, 3)] == ["CAM_FRONT/0.png", "CAM_BACK/0.png", "CAM_FRONT/3.png", "CAM_BACK/3.png"]


def test_raw_images_are_degraded_too_but_not_rolled() -> None:
    (dark,) = degrade_records(RIG[:1], Degradation("night", 5))
    assert dark.raw is not None
    assert dark.raw.read().mean() < RIG[0].raw.read().mean() / 2
    (rolled,) = degrade_records(RIG[:1], Degradation("roll", 3))
    assert rolled.raw is None  # the lens would have to be rolled along
