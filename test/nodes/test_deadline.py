"""Images that are too old when their turn comes are skipped by each node and counted; cores of the nodes' process."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from node_helpers import COMPOSED, Bench, bench
from pixloc_helpers import LONG_SIDE
from ros_domains import own_domain

from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.replay.processes import NodeProcesses
from vizloc_ros.ros.node_options import HFNET, LOCALIZER, NODES, TRACKER, VISUAL_MAP_SERVER

pytestmark = pytest.mark.ros
DEADLINE = 30.0  # s; the machine may be slow, and the images of the bench are from 1970
CORE = min(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0


@pytest.fixture(scope="module")
def running(tracked_map: VisualMap, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    cores = {"cpu_affinity": [CORE]} if hasattr(os, "sched_setaffinity") else {}
    given: dict[str, dict[str, Any]] = {
        VISUAL_MAP_SERVER: cores,
        HFNET: {**cores, "threads": 0, "deadline": DEADLINE, "tracking_period": 0.0},
        LOCALIZER: {**cores, "deadline": DEADLINE, "threads": 1},
        TRACKER: {**cores, "deadline": DEADLINE, "long_side": LONG_SIDE, "threads": 0},
    }
    with bench(tracked_map.folder, tmp_path_factory.mktemp("log") / "log", COMPOSED, tracking=True, **given) as made:
        yield made


def is_overdue(made: Bench, node: str, record: object) -> None:
    """Send images until the node says that one is overdue."""
    made.forget()
    before = made.recorder.count(node, "overdue")
    made.send_camera_info(record)  # type: ignore[arg-type]
    made.send_image(record.read_image())  # type: ignore[attr-defined]
    made.expect_complaint(node, "an image is skipped: it is", "the deadline is 30 s", level=DiagnosticStatus.WARN)
    made.spin_until(lambda: made.recorder.count(node, "overdue") > before)


def test_each_node_skips_and_counts_images_past_their_deadline(running: Bench, street: SyntheticStreet) -> None:
    record = street.records("query")[3]
    recorder = running.recorder
    for node in (HFNET, TRACKER):
        is_overdue(running, node, record)
    assert recorder.count(LOCALIZER, "overdue") == 0  # hfnet gave it nothing
    assert running.set_parameters(HFNET, deadline=0.0).successful
    is_overdue(running, LOCALIZER, record)
    assert not recorder.poses
    assert running.set_parameters(LOCALIZER, deadline=0.0).successful
    running.expect_pose(record)
    assert recorder.count(LOCALIZER, "rejected") == recorder.count(HFNET, "rejected") == 0


def test_images_in_time_are_used(running: Bench, street: SyntheticStreet) -> None:
    for node in (HFNET, LOCALIZER):
        assert running.set_parameters(node, deadline=DEADLINE).successful
    record = street.records("query")[3]
    running.stamp_ns = time.time_ns()
    running.send_camera_info(record)
    for _ in range(60):
        stamp = running.send_image(record.read_image(), time.time_ns())
        try:
            running.spin_until(lambda stamp=stamp: stamp in running.recorder.tracked, timeout_s=0.5)  # type: ignore[misc]
        except AssertionError:
            continue
        return
    raise AssertionError(f"no pose; {running.recorder.messages[-5:]}")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes are bound on Linux alone")
def test_the_process_runs_on_the_cores_that_are_named(running: Bench) -> None:
    [process] = running.processes.process_ids.values()
    threads = [int(thread.name) for thread in Path(f"/proc/{process}/task").iterdir()]
    assert len(threads) > len(NODES)
    assert {core for thread in threads for core in os.sched_getaffinity(thread)} == {CORE}


def test_a_core_that_there_is_not_is_named_and_ends_the_node(tracked_map: VisualMap, tmp_path: Path) -> None:
    given = {VISUAL_MAP_SERVER: {"map_path": str(tracked_map.folder), "cpu_affinity": [4000]}}
    with own_domain() as domain:
        environment = {"ROS_DOMAIN_ID": str(domain)}
        of_one = NodeProcesses(given, {}, (VISUAL_MAP_SERVER,), log=tmp_path / "log", environment=environment)
        with of_one as processes:
            assert processes.wait(VISUAL_MAP_SERVER, 60.0) == 1
    assert "parameter cpu_affinity: names 4000" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("values", "named"),
    [({"deadline": -1.0}, "deadline"), ({"cpu_affinity": [0]}, "read-only parameter: cpu_affinity")],
)
def test_what_cannot_be_is_refused(running: Bench, values: dict[str, object], named: str) -> None:
    for node in (HFNET, LOCALIZER, TRACKER):
        result = running.set_parameters(node, **values)
        assert not result.successful
        assert named in result.reason
