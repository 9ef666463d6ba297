"""Nodes that run: thresholds that are set, all or none, and services that forget the track."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from node_helpers import COMPOSED, Bench, bench
from pixloc_helpers import LONG_SIDE
from std_msgs.msg import String
from std_srvs.srv import Trigger

from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.ros.node_options import HFNET, LOCALIZER, TRACKER
from vizloc_ros.ros.qos import STATE

pytestmark = pytest.mark.ros
GIVEN = {TRACKER: {"long_side": LONG_SIDE, "threads": 1}, HFNET: {"tracking_period": 0.0}}


@pytest.fixture(scope="module")
def running(tracked_map: VisualMap, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    log = tmp_path_factory.mktemp("log") / "log"
    with bench(tracked_map.folder, log, COMPOSED, tracking=True, **GIVEN) as made:
        yield made


def track(made: Bench, street: SyntheticStreet) -> None:
    """Send an image until it is tracked."""
    record = street.records("query")[3]
    made.recorder.tracked.clear()
    for _ in range(60):
        made.send_camera_info(record)
        stamp = made.send_image(record.read_image())
        try:
            made.spin_until(lambda stamp=stamp: stamp in made.recorder.tracked, timeout_s=0.5)  # type: ignore[misc]
        except AssertionError:
            continue
        return
    raise AssertionError(f"not tracked; {made.recorder.messages[-5:]}")


def test_a_threshold_that_is_set_decides_on_the_next_image(running: Bench, street: SyntheticStreet) -> None:
    record = street.records("query")[3]
    running.expect_pose(record)
    running.forget()
    assert running.set_parameters(LOCALIZER, pose__min_inliers=10_000).successful
    stamp = running.send_image(record.read_image())
    running.expect_complaint(LOCALIZER, "not localized", level=DiagnosticStatus.WARN)
    assert stamp not in running.recorder.poses
    assert running.set_parameters(LOCALIZER, pose__min_inliers=15).successful
    running.expect_pose(record)


def test_the_tracker_s_thresholds_are_taken_without_losing_the_track(running: Bench, street: SyntheticStreet) -> None:
    track(running, street)
    before = running.recorder.count(TRACKER, "became_lost")
    assert running.set_parameters(TRACKER, tracker__verification__min_landmarks=10_000, tracker__lost_after=1000,
                                  tracker__lost_after_seconds=60.0).successful  # fmt: skip
    running.forget()
    running.send_image(street.records("query")[3].read_image())
    running.expect_complaint(TRACKER, "TRACKING:", "landmarks", level=DiagnosticStatus.WARN)
    assert running.set_parameters(TRACKER, tracker__verification__min_landmarks=40).successful
    track(running, street)
    assert running.recorder.count(TRACKER, "became_lost") == before
    assert running.set_parameters(TRACKER, tracker__lost_after=4, tracker__lost_after_seconds=0.4).successful


@pytest.mark.parametrize(
    ("node", "values", "named"),
    [
        (LOCALIZER, {"pose__min_inliers": 20, "pose__ratio": 1.5}, "pose.ratio"),
        (LOCALIZER, {"pose__min_inliers": 20, "pose__max_trials": 1000.0}, "parameter pose.max_trials"),
        (LOCALIZER, {"pose__min_inliers": 20, "pose__places": "all"}, "pose.places"),
        (LOCALIZER, {"pose__min_inliers": 20, "base_frame": "other"}, "read-only parameter: base_frame"),
        (TRACKER, {"tracker__lost_after": 9, "threads": 2}, "read-only parameter: threads"),
        (HFNET, {"map_path": "/maps/b"}, "read-only parameter: map_path"),
        ("visual_map_server", {"map_path": ""}, "parameter: map_path: is empty"),
    ],
)
def test_a_request_is_refused_as_a_whole_and_names_the_parameter(
    running: Bench, node: str, values: dict[str, object], named: str
) -> None:
    before = running.parameters(node)
    result = running.set_parameters(node, **values)
    assert not result.successful
    assert named in result.reason
    assert running.parameters(node) == before


@pytest.mark.parametrize("service", ["relocalize", "reset"])
def test_a_track_that_is_forgotten_begins_anew(running: Bench, street: SyntheticStreet, service: str) -> None:
    track(running, street)
    states = running.recorder.states
    count = len(states)
    answer = running.call(Trigger, f"{TRACKER}/{service}")
    assert answer.success
    assert answer.message
    running.send_image(street.records("query")[3].read_image())
    running.spin_until(lambda: [name for _, name in states[count:]][:1] == ["NOT_LOCALIZED"])
    track(running, street)


def test_the_localizer_can_be_reset(running: Bench, street: SyntheticStreet) -> None:
    running.expect_pose(street.records("query")[3])
    answer = running.call(Trigger, f"{LOCALIZER}/reset")
    assert (answer.success, answer.message) == (True, "all images and poses before are forgotten")
    running.expect_pose(street.records("query")[4])


def test_a_fault_ends_with_the_check_that_found_it(running: Bench, street: SyntheticStreet) -> None:
    faults: list[str] = []
    running.node.create_subscription(String, "localization/fault", lambda msg: faults.append(msg.data), STATE)
    record = street.records("query")[3]
    zoomed = replace(record, camera=replace(record.camera, fx=1.3 * record.camera.fx, fy=1.3 * record.camera.fy))

    def send() -> None:
        running.send_camera_info(zoomed)
        running.send_image(record.read_image())

    def until(is_so: Callable[[], bool]) -> None:
        for _ in range(60):
            send()
            try:
                running.spin_until(is_so, timeout_s=0.5)
            except AssertionError:
                continue
            return
        raise AssertionError(f"{faults}; {running.recorder.messages[-5:]}")

    until(lambda: bool(faults and faults[-1]))
    assert running.set_parameters(LOCALIZER, check_calibration=False).successful
    until(lambda: faults[-1] == "")
