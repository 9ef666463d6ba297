import threading
import tracemalloc

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from ros_helpers import ros_nodes, spin_until
from std_msgs.msg import Empty

from vizloc_ros import timing as stage_timings
from vizloc_ros.ros import qos
from vizloc_ros.ros.diagnostics import Diagnostics, Level, node_of
from vizloc_ros.timing import StageTimings

pytestmark = pytest.mark.ros


class ManualClock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def nodes():
    with ros_nodes("localizer", "listener") as nodes:
        yield nodes


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def diagnostics(nodes, clock):
    return Diagnostics(nodes[0], "localization", period_s=3600.0, monotonic=clock)


def shown(status):
    return status.level, status.message


def values_of(status):
    return {pair.key: pair.value for pair in status.values}


def test_the_worst_since_the_last_publication_wins_and_then_is_gone(diagnostics):
    for level, message in ((0, "localized"), (1, "few inliers"), (2, "no map"), (2, "wrong map"), (1, "x"), (0, "y")):
        diagnostics.report(Level(level), message)
    assert shown(diagnostics.take_status()) == (DiagnosticStatus.ERROR, "wrong map")
    assert shown(diagnostics.take_status()) == (DiagnosticStatus.OK, "ok")
    diagnostics.report(Level.OK, "localized")
    assert shown(diagnostics.take_status()) == (DiagnosticStatus.OK, "localized")


def test_values_counts_and_timings_as_text(diagnostics):
    diagnostics.set_value("provider", "cpu")
    diagnostics.set_value("gpu", False)
    diagnostics.set_value("score", 2 / 3)
    diagnostics.count("dropped", 0)
    diagnostics.count("frames")
    diagnostics.count("frames", 2)
    for milliseconds in range(1, 101):
        diagnostics.timings.add("extract", milliseconds)
    status = diagnostics.take_status()
    assert status.name == "localizer: localization"
    assert node_of(status) == "localizer"
    assert values_of(status) == {
        "provider": "cpu",
        "gpu": "false",
        "score": "0.666667",
        "dropped": "0",
        "frames": "3",
        "extract_p50_ms": "50.5",
        "extract_p99_ms": "99.01",
    }
    assert values_of(diagnostics.take_status())["frames"] == "3"


def test_threads_lose_no_count(diagnostics):
    threads = [threading.Thread(target=lambda: [diagnostics.count("frames") for _ in range(2000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values_of(diagnostics.take_status())["frames"] == "8000"


class TestSilentTopics:
    def test_a_topic_nobody_publishes(self, diagnostics, clock):
        diagnostics.expect("camera/image", 2.0, "is the camera driver running?")
        clock.now += 2.0
        assert shown(diagnostics.take_status()) == (DiagnosticStatus.OK, "ok")
        clock.now += 3.0
        assert shown(diagnostics.take_status()) == (
            DiagnosticStatus.WARN,
            "no message on /camera/image for 5.0 s (publishers: 0): is the camera driver running?",
        )
        diagnostics.seen("camera/image")
        assert shown(diagnostics.take_status()) == (DiagnosticStatus.OK, "ok")

    def test_a_topic_whose_publisher_is_silent(self, diagnostics, clock, nodes):
        publisher = nodes[1].create_publisher(Empty, "silent", qos.SENSOR)
        spin_until(lambda: nodes[0].count_publishers("/silent") == 1, *nodes)
        diagnostics.expect("silent", 1.0)
        clock.now += 1.5
        assert "/silent for 1.5 s (publishers: 1): they send nothing" in diagnostics.take_status().message
        nodes[1].destroy_publisher(publisher)

    def test_beside_other_reports(self, diagnostics, clock):
        diagnostics.expect("image", 1.0)
        clock.now += 2
        diagnostics.report(Level.WARN, "few inliers")
        level, message = shown(diagnostics.take_status())
        assert level == DiagnosticStatus.WARN
        assert message.startswith("no message on /image")
        assert message.endswith("; few inliers")
        diagnostics.report(Level.ERROR, "no map")
        assert shown(diagnostics.take_status()) == (DiagnosticStatus.ERROR, "no map")


def test_is_published_on_its_own(nodes):
    received = []
    subscription = nodes[1].create_subscription(DiagnosticArray, "/diagnostics", received.append, qos.DIAGNOSTICS)
    diagnostics = Diagnostics(nodes[0], "localization", period_s=0.05)
    diagnostics.report(Level.ERROR, "no map")
    spin_until(lambda: any(msg.status[0].message == "ok" for msg in received), *nodes)
    assert received[0].header.stamp.sec > 0
    nodes[1].destroy_subscription(subscription)


def test_a_refused_publication_is_counted(diagnostics):
    with ros_nodes("gone") as (node,):
        publisher = node.create_publisher(Empty, "gone", qos.POSE)
        assert diagnostics.send(publisher, Empty())
        node.context.shutdown()
        assert not diagnostics.send(publisher, Empty())
    status = diagnostics.take_status()
    assert values_of(status) == {"publish_failed": "1"}
    assert status.level == DiagnosticStatus.WARN
    assert status.message.startswith("Empty could not be published: ")


def test_a_node_that_runs_for_long_takes_no_more_memory(diagnostics):
    def work(inputs):
        for number in range(inputs):
            diagnostics.count("processed")
            diagnostics.set_value("inlier_ratio", number / inputs)
            diagnostics.report(Level.OK, f"image {number}")
            diagnostics.notice(f"image {number}")
            diagnostics.timings.add_all({"decode": number / 3, "align": number / 7})

    tracemalloc.start()
    try:
        work(1000)
        before, _ = tracemalloc.get_traced_memory()
        work(10_000)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 100_000  # bytes; one number of each input takes 320,000


class TestStageTimings:
    @pytest.mark.parametrize("last", [None, 200])
    def test_percentiles_of_all_and_of_the_last(self, last):
        timings, milliseconds = StageTimings(last), np.random.default_rng(0).exponential(10.0, 1000)
        for value in milliseconds:
            timings.add("match", value)
        kept = milliseconds[-(last or 1000) :]
        expected = {"p50": np.percentile(kept, 50), "p99": np.percentile(kept, 99)}
        assert timings.percentiles() == {"match": pytest.approx(expected)}

    def test_the_sample_of_a_long_run_is_fair(self, monkeypatch):
        """Of a ramp, the median of any fair sample of 2000 lies within 5 % of the ramp's with near certainty."""
        monkeypatch.setattr(stage_timings, "_MAX_SAMPLE", 2000)
        timings = StageTimings()
        for value in range(20_000):
            timings.add("match", value)
        assert timings.percentiles()["match"]["p50"] == pytest.approx(10_000, abs=1000)
