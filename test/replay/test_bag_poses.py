"""Poses of bags as datasets: of every kind of topic, and of files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_helpers import TF_STATIC, TRUTH, rewrite, without
from circle_drive import (
    BASE_FROM_CAM,
    COUNT,
    MAP_FROM_ODOM,
    PERIOD_NS,
    START_NS,
    at_times,
    fixes,
    imu,
    largest_error,
    poses,
    stamped_later,
    transforms,
    with_messages,
    world_from_base,
)
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.bags.bag_messages import header, pose_message, transform_message
from vizloc_ros.bags.topic_uses import topic_uses
from vizloc_ros.datasets.record import fixes_of
from vizloc_ros.errors import DatasetError
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.readers import open_dataset

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    ("messages", "tolerance"),
    [
        (poses, (0.03, 0.01)),
        (transforms, (0.03, 0.01)),
        (fixes, (0.05, 0.3)),
        (lambda: [*fixes(), *imu()], (0.05, 0.1)),
    ],
    ids=["poses", "tf", "gnss", "gnss and imu"],
)
def test_the_only_poses_of_a_bag_are_taken(circle_bag: Any, messages: Any, tolerance: tuple[float, float]) -> None:
    """Positions between poses lie on a screw motion, within a few mm; headings of chords are those of the middle."""
    topics = {topic for topic, _ in messages()}
    dataset = open_dataset(f"bag:{circle_bag(with_messages(messages))}")
    translation, rotation = largest_error(dataset, starts_at=-0.1 if "/fix" in topics else None)
    assert translation < tolerance[0]
    assert rotation < tolerance[1]


def test_of_several_poses_one_is_chosen(circle_bag: Any) -> None:
    path = circle_bag(with_messages(lambda: [*poses(), *transforms(), *fixes()]))
    with pytest.raises(
        DatasetError, match=r"poses on 3 topics: choose one with truth_topic=, or none: /trajectory, /tf, /fix"
    ):
        open_dataset(f"bag:{path}")
    assert open_dataset(f"bag:{path}?truth_topic=none").records("map") == []
    odometry = open_dataset(f"bag:{path}?truth_topic=/tf&map_frame=odom").records("all")[0].world_from_cam
    assert odometry is not None
    expected = MAP_FROM_ODOM.inverse() * world_from_base(0) * BASE_FROM_CAM
    assert pose_error(odometry, expected) == pytest.approx((0, 0), abs=1e-3)
    with pytest.raises(DatasetError, match=r"/tf does not connect .* map_frame= earth; the frames above it are base_l"):
        open_dataset(f"bag:{path}?truth_topic=/tf&map_frame=earth")


def test_the_antenna_is_not_the_vehicle(circle_bag: Any) -> None:
    """Its place is in /tf_static; it turns with the vehicle."""
    antenna = (-0.5, 0.6, 2.0)

    def place(topic: str, message: Any, index: int) -> list[tuple[str, Any]]:
        more = transform_message(Rigid3d(Rotation3d(), np.array(antenna)), "gps", header(START_NS, "base_link"))
        return [(topic, message), *([(TF_STATIC, more)] if topic == TF_STATIC else [])]

    dataset = open_dataset(f"bag:{circle_bag(with_messages(lambda: [*fixes(antenna), *imu()]), place)}")
    first, *others = (record.world_from_cam for record in dataset.records("all"))
    assert first is not None
    # The world begins at the first fix, that of the antenna, 0.1 s before the first image.
    start = world_from_base(-0.1) * np.array(antenna)
    expected = world_from_base(0) * BASE_FROM_CAM
    assert np.linalg.norm(first.translation - (expected.translation - start)) < 0.02
    assert all(other is not None for other in others)


@pytest.mark.parametrize(
    ("messages", "note"),
    [
        (lambda: imu(yaw=2.0), "the Imu's yaw is 115 deg from the motion, and was corrected by that"),
        (lambda: imu(sign=-6.0), "the Imu's yaw does not follow the motion, so it is not used"),
    ],
    ids=["turned", "of other axes"],
)
def test_an_imu_that_is_turned_is_corrected_and_one_that_is_wrong_is_not_used(
    circle_bag: Any, messages: Any, note: str, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = open_dataset(f"bag:{circle_bag(with_messages(lambda: [*fixes(), *messages()]))}")
    assert note in caplog.text
    assert largest_error(dataset)[1] < 1.5  # the headings of the first and the last images are those beside them


def test_several_imus_are_named(circle_bag: Any) -> None:
    path = circle_bag(with_messages(lambda: [*fixes(), *imu(), *imu(topic="/imu2", yaw=1.0)]))
    with pytest.raises(DatasetError, match=r"orientations of 2 Imus: choose one with imu_topic=, or none: /imu, /imu2"):
        open_dataset(f"bag:{path}")
    for imu_topic in ("/imu2", "none"):
        assert largest_error(open_dataset(f"bag:{path}?imu_topic={imu_topic}"))[1] < 0.5


def test_fixes_are_those_of_the_split(circle_bag: Any) -> None:
    dataset = open_dataset(
        f"bag:{circle_bag(with_messages(lambda: [*poses(), *fixes()]))}?truth_topic=/trajectory&part=0.5s-1s"
    )
    found = fixes_of(dataset, "part")
    assert [(fix.timestamp_ns - START_NS) // 1_000_000 for fix in found] == list(range(500, 1001, 50))
    assert found[0].std_m == pytest.approx((0.02, 0.02, 0.04))


@pytest.mark.parametrize("kind", ["tum", "csv"])
def test_poses_of_a_file(circle_bag: Any, tmp_path: Path, kind: str) -> None:
    rows = []
    for stamp, t in at_times():
        pose = world_from_base(t) * BASE_FROM_CAM
        rows.append([f"{stamp / 1e9:.9f}", *map(repr, [*pose.translation.tolist(), *pose.rotation.quat.tolist()])])
    file = tmp_path / "poses"
    if kind == "tum":
        file.write_text("# timestamp tx ty tz qx qy qz qw\n" + "\n".join(" ".join(row) for row in rows))
    else:
        lines = [f"x.png,{','.join(row)}" for row in rows] + ["y.png,1.0,,,,,,,"]
        file.write_text("image,timestamp_s,tx,ty,tz,qx,qy,qz,qw\n" + "\n".join(lines))
    path = circle_bag(without(TRUTH))
    assert largest_error(open_dataset(f"bag:{path}?poses={file}")) < (0.03, 0.01)
    in_base = open_dataset(f"bag:{path}?poses={file}&truth_frame=base_link").records("all")[0].world_from_cam
    assert in_base is not None
    assert pose_error(in_base, world_from_base(0) * BASE_FROM_CAM * BASE_FROM_CAM)[0] < 0.03


def test_images_beyond_the_poses_are_not_mapped(circle_bag: Any, circle: Path, tmp_path: Path) -> None:
    path, without_poses = (
        circle_bag(with_messages(lambda: poses()[20:])),
        rewrite(circle, tmp_path / "none", without(TRUTH)),
    )
    dataset = open_dataset(f"bag:{path}")
    assert dataset.splits == ("all", "posed", "map", "query")
    assert [len(dataset.records(split)) for split in dataset.splits] == [COUNT, 15, 15, COUNT]
    exact = open_dataset(f"bag:{path}?max_gap=0.01&map=0-19").records("map")
    assert [(record.timestamp_ns - START_NS) // PERIOD_NS for record in exact] == [5, 8, 11, 14, 17]
    assert open_dataset(f"bag:{without_poses}").records("map") == []


@pytest.mark.parametrize(
    ("options", "shift_ns", "cause"),
    [
        (
            "",
            10**12,
            r"/trajectory; they are from 1700000999.* s, the images from 1700000000.*: give a time_offset",
        ),
        (
            "?max_gap=0.01",
            5_000_000,
            r"/trajectory; they are 0\.03 s apart, and max_gap=0\.01: raise it",
        ),
    ],
    ids=["another time", "seldom"],
)
def test_poses_that_no_image_can_have_are_an_error(circle_bag: Any, options: str, shift_ns: int, cause: str) -> None:
    def shifted() -> list[tuple[str, Any]]:
        return [
            ("/trajectory", pose_message(world_from_base(t), header(stamp + shift_ns, "map")))
            for stamp, t in at_times()
        ]

    with pytest.raises(DatasetError, match=f"no image has one of the poses of {cause}"):
        open_dataset(f"bag:{circle_bag(with_messages(shifted))}{options}")


def test_poses_with_a_clock_of_their_own(circle_bag: Any) -> None:
    """Stamped 0.25 s later than the images of the same moment."""

    def late() -> list[tuple[str, Any]]:
        return [(topic, stamped_later(message, 250_000_000)) for topic, message in poses()]

    path = circle_bag(with_messages(late))
    assert largest_error(open_dataset(f"bag:{path}?time_offset=0.25"), "map") < (0.03, 0.01)


def test_info_says_what_poses_there_are(circle_bag: Any) -> None:
    path = circle_bag(with_messages(lambda: [*poses(), *transforms(), *fixes(), *imu()]))
    uses = {use.topic: use.use for use in topic_uses(path)}
    assert uses["/trajectory"] == "trajectory (--truth-topic)"
    assert uses["/tf"] == "trajectory (--truth-topic): odom -> base_link, map -> odom"
    assert uses["/fix"].startswith("trajectory (--truth-topic): positions, with the rotations of an Imu")
    assert uses["/imu"] == "rotations of the positions of a GNSS receiver (--imu-topic)"
