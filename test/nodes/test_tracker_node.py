"""Tracker node among the other processes: it starts from the localizer's pose, and is found again after a jump."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from node_helpers import COMPOSED, RVIZ_OF_TRACKER, Bench, bench, expect_shown
from pixloc_helpers import LONG_SIDE
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.datasets.record import Record
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.options import leaves
from vizloc_ros.ros.messages import header_of, pose_with_covariance_to_msg, stamp_to_ns
from vizloc_ros.ros.node_options import NODE_OPTIONS, NODES
from vizloc_ros.ros.qos import POSE

pytestmark = [pytest.mark.ros, pytest.mark.alone]
TRACKER = {"long_side": LONG_SIDE, "threads": 1, "debug_image": True}
PERIOD = 0.1


@pytest.fixture(scope="module")
def running(two_streets, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(two_streets[0], tmp_path_factory.mktemp("log") / "log", NODES, pixloc_tracker=TRACKER) as made:
        yield made


def test_tools_that_ask_for_all_parameters_get_them(running: Bench) -> None:
    shown = running.parameters("pixloc_tracker")
    assert {name for name, _ in leaves(NODE_OPTIONS["pixloc_tracker"])} <= shown.keys()
    assert None not in shown.values()


def drive(running: Bench, records: list[Record]) -> dict[int, Record]:
    """Send images ten times a second; return the records by their stamps."""
    sent: dict[int, Record] = {}
    for record in records:
        begun = time.monotonic()
        running.send_camera_info(record)
        sent[running.send_image(record.read_image())] = record
        running.spin_until(lambda begun=begun: time.monotonic() - begun >= PERIOD)  # type: ignore[misc]
    return sent


def distance(running: Bench, stamp: int, record: Record) -> float:
    assert record.world_from_cam is not None
    return pose_error(running.recorder.tracked[stamp].map_from_base, record.world_from_cam)[0]


def state(running: Bench) -> str:
    return running.recorder.states[-1][1] if running.recorder.states else ""


def settle(running: Bench, record: Record) -> None:
    """Send one image until the tracker tracks."""
    for _ in range(100):
        if state(running) == "TRACKING" and running.recorder.tracked:
            return
        drive(running, [record])
    raise AssertionError(f"not tracking; {running.recorder.messages[-5:]}")


def test_it_takes_over_from_the_localizer_and_follows(running: Bench, two_streets) -> None:
    _, first, _ = two_streets
    settle(running, first[0])
    sent = drive(running, first)
    running.spin_until(lambda: list(sent)[-1] in running.recorder.tracked)
    found = [stamp for stamp in sent if stamp in running.recorder.tracked]
    assert len(found) >= 0.7 * len(sent), "on one busy core, some images are dropped"
    assert max(distance(running, stamp, sent[stamp]) for stamp in found) < 0.25


def test_odometry_has_a_velocity_that_a_filter_can_use(running: Bench, two_streets) -> None:
    """The camera is the base, and looks ahead along z: half a meter from image to image."""
    _, first, _ = two_streets
    settle(running, first[0])
    heard: dict[int, Odometry] = {}
    subscription = running.node.create_subscription(
        Odometry, "odometry", lambda msg: heard.update({stamp_to_ns(msg.header.stamp): msg}), POSE
    )
    sent = drive(running, first)
    running.spin_until(lambda: list(sent)[-1] in heard)
    running.node.destroy_subscription(subscription)
    last = heard[list(sent)[-1]].twist
    linear, variances = last.twist.linear, np.diag(np.reshape(last.covariance, (6, 6)))
    assert linear.z == pytest.approx(5.0, abs=1.0)
    assert np.hypot(linear.x, linear.y) < 1.0
    assert (variances > 0).all()
    assert abs(linear.z - 5.0) < 4 * np.sqrt(variances[2])


def test_rviz_shows_what_it_publishes(running: Bench) -> None:
    expect_shown(running.node, RVIZ_OF_TRACKER)


def test_the_feature_node_rests_meanwhile(running: Bench, two_streets) -> None:
    _, first, _ = two_streets
    settle(running, first[-1])
    before = running.recorder.count("hfnet", "throttled")
    drive(running, [first[-1]] * 8)
    running.spin_until(lambda: running.recorder.count("hfnet", "throttled") >= before + 4)


def test_every_image_is_accounted_for(running: Bench, two_streets) -> None:
    _, first, _ = two_streets
    settle(running, first[-1])
    drive(running, [first[-1]] * 3)

    def counts() -> dict[str, int]:
        names = ("received", "processed", "dropped", "rejected", "tracked", "failed")
        return {name: running.recorder.count("pixloc_tracker", name) for name in names}

    def settled() -> bool:
        now = counts()
        return now["received"] > 0 and now["received"] == now["processed"] + now["dropped"] + now["rejected"]

    running.spin_until(settled)
    # The diagnostics may come between the two counts of the last image.
    running.spin_until(lambda: counts()["processed"] == counts()["tracked"] + counts()["failed"])


def test_kidnapped_it_is_lost_and_found_again(running: Bench, two_streets) -> None:
    """From one image to the next, the vehicle is moved to the other side of the block."""
    _, first, other = two_streets
    settle(running, first[-1])
    recorder = running.recorder
    recorder.states[:] = recorder.states[-1:]
    recorder.poses.clear()
    recorder.tracked.clear()
    jumped = time.monotonic_ns()
    sent = drive(running, other[:3])
    while state(running) != "LOST" and time.monotonic_ns() - jumped < 5e9:
        sent |= drive(running, other[2:3])
    lost = next(at for at, name in recorder.states if name == "LOST")
    assert (lost - jumped) * 1e-9 < 1.0
    while state(running) != "TRACKING" and time.monotonic_ns() - jumped < 30e9:
        sent |= drive(running, other[2:3])
    assert state(running) == "TRACKING", (recorder.messages[-20:], len(recorder.poses), recorder.statuses)
    again = next(at for at, name in recorder.states if name == "TRACKING" and at > lost)
    localized = min(pose.monotonic_ns for stamp, pose in recorder.poses.items() if stamp in sent)
    assert (again - localized) * 1e-9 < 3.0
    sent |= drive(running, other[3:8])
    wrong = [
        recorder.tracked[stamp].monotonic_ns
        for stamp, record in sent.items()
        if stamp in recorder.tracked and distance(running, stamp, record) > 2.0
    ]
    assert not wrong or (max(wrong) - min(wrong)) * 1e-9 < 0.5
    assert any(stamp in recorder.tracked for stamp in list(sent)[-5:])


def test_a_pose_from_rviz_is_where_it_starts(running: Bench, two_streets) -> None:
    _, first, _ = two_streets
    settle(running, first[0])
    record = first[6]
    publisher = running.node.create_publisher(PoseWithCovarianceStamped, "initialpose", POSE)
    running.spin_until(lambda: publisher.get_subscription_count() > 0)
    assert record.world_from_cam is not None
    pose = record.world_from_cam * Rigid3d(Rotation3d(), np.array([0.3, 0, 0.5]))
    publisher.publish(pose_with_covariance_to_msg(pose, np.eye(6), header_of(1, "map")))
    used = running.recorder.count("pixloc_tracker", "priors_used")
    sent: dict[int, Record] = {}
    found: list[int] = []
    begun = time.monotonic()
    while not found and time.monotonic() - begun < 15:
        sent |= drive(running, [record] * 2)
        found = [stamp for stamp in sent if stamp in running.recorder.tracked]
    running.spin_until(lambda: running.recorder.count("pixloc_tracker", "priors_used") > used)
    assert found, running.recorder.messages[-12:]
    assert distance(running, found[-1], record) < 0.25


@pytest.mark.parametrize("pixels", [np.zeros((250, 400), np.uint8), np.full((250, 400), 255, np.uint8)])
def test_images_of_nothing_get_a_reason_and_no_pose(running: Bench, two_streets, pixels: np.ndarray) -> None:
    running.send_camera_info(two_streets[1][0])
    stamp = running.send_image(pixels)
    running.expect_complaint("pixloc_tracker", "the image is")
    assert stamp not in running.recorder.tracked


def test_a_map_without_references_is_refused(street_map: VisualMap, tmp_path: Path) -> None:
    with bench(street_map.folder, tmp_path / "log", COMPOSED, tracking=True) as made:
        made.expect_complaint(
            "pixloc_tracker",
            "has no reference features for the tracker",
            "map add-pixloc",
            level=DiagnosticStatus.ERROR,
        )
