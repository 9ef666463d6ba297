"""Lifecycle of the nodes, as processes: every transition, and those that fail."""

import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from node_helpers import COMPOSED, Bench, bench
from pixloc_helpers import LONG_SIDE
from rclpy.duration import Duration

from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.ros.node_options import HFNET, LOCALIZER, NODES, TRACKER, VISUAL_MAP_SERVER

pytestmark = pytest.mark.ros
OF_TRACKER = {"long_side": LONG_SIDE, "threads": 1}
MAP_USERS = (HFNET, VISUAL_MAP_SERVER, TRACKER)


def change(made: Bench, transition: str, nodes: tuple[str, ...] = NODES) -> None:
    for node in nodes:
        assert made.change_state(node, transition), (node, transition, made.recorder.messages[-5:])


def states(made: Bench) -> set[str]:
    return {made.state_of(node) for node in NODES}


def publishers(made: Bench) -> dict[str, int]:
    """Number of publishers of the nodes' outputs."""
    topics = ("features", "candidates", "map/points", "submap", "localization/pose", "pose", "tracker/state")
    return {topic: made.node.count_publishers(topic) for topic in topics}


def mapped(process: int, folder: Path) -> int:
    """Number of the map's files that a process has in its memory."""
    return sum(str(folder) in line for line in Path(f"/proc/{process}/maps").read_text().splitlines())


def resident(process: int) -> int:
    """Memory of a process [bytes]."""
    return 4096 * int(Path(f"/proc/{process}/statm").read_text().split()[1])


def test_every_transition(tracked_map: VisualMap, street: SyntheticStreet, tmp_path: Path) -> None:
    queries, log = street.records("query"), tmp_path / "log"
    folder, given = tracked_map.folder, {"hfnet": {"tracking_period": 0.0}, TRACKER: OF_TRACKER}
    with bench(folder, log, NODES, managed=True, **given) as made:
        ids = made.processes.process_ids
        assert states(made) == {"unconfigured"}
        assert not any(publishers(made).values())
        change(made, "configure")
        assert states(made) == {"inactive"}
        assert not any(publishers(made).values()), "nothing is published before the activation"
        assert made.node.count_subscribers("image") == 0
        assert mapped(ids[VISUAL_MAP_SERVER], folder)

        change(made, "activate")
        made.wait_until_ready()
        assert states(made) == {"active"}
        assert set(publishers(made).values()) == {1}
        made.expect_pose(queries[3])

        change(made, "deactivate")
        made.spin_until(lambda: not any(publishers(made).values()))
        assert made.node.count_subscribers("image") == 0
        made.forget()
        made.recorder.tracked.clear()
        for _ in range(3):
            made.send_image(queries[3].read_image())
        said = {node: f"{node}: inactive" for node in NODES}
        made.spin_until(lambda: {n: f"{n}: {s.message}" for n, s in made.recorder.statuses.items()} == said)
        assert not made.recorder.poses
        assert not made.recorder.tracked

        change(made, "activate")
        made.wait_until_ready()
        made.expect_pose(queries[4])

        change(made, "deactivate")
        loaded = {node: resident(ids[node]) for node in (HFNET, TRACKER)}
        change(made, "cleanup")
        assert states(made) == {"unconfigured"}
        assert not mapped(ids[VISUAL_MAP_SERVER], folder)
        assert not mapped(ids[TRACKER], folder)
        assert resident(ids[TRACKER]) < loaded[TRACKER] - 5 * 2**20, "the network"
        assert resident(ids[HFNET]) < loaded[HFNET]

        change(made, "configure")
        change(made, "activate")
        made.wait_until_ready()
        made.expect_pose(queries[5])

        change(made, "shutdown", NODES[:2])  # from active
        change(made, "deactivate", NODES[2:])
        change(made, "shutdown", NODES[2:])  # from inactive
        assert states(made) == {"finalized"}
        made.spin_until(lambda: not any(publishers(made).values()))
        assert not made.change_state(LOCALIZER, "configure")
        processes = made.processes
    assert processes.exit_codes == dict.fromkeys(NODES, 0)
    assert "Traceback" not in log.read_text()


def lines_about(log: Path, word: str) -> list[str]:
    return [line for line in log.read_text().splitlines() if word in line and "[ERROR]" in line]


def test_transitions_that_fail_name_the_reason_once_and_can_be_sent_again(
    tracked_map: VisualMap, street: SyntheticStreet, tmp_path: Path
) -> None:
    folder, log = tmp_path / "map", tmp_path / "log"
    with bench(folder, log, COMPOSED, tracking=True, managed=True, pixloc_tracker=OF_TRACKER) as made:
        for node in MAP_USERS:
            assert not made.change_state(node, "configure")
            assert made.state_of(node) == "unconfigured"
            assert made.expect_complaint(node, f"{folder}: there is no such map")
            (line,) = lines_about(log, f"[{node}]")
            assert "trying again" not in line
            assert not made.change_state(node, "activate"), "it has nothing to work with"
            assert made.parameters(node)["autostart"] is False, "its parameters can be read all the same"
        shutil.copytree(tracked_map.folder, folder)
        numbers = folder / "landmark_positions.npy"
        whole = numbers.read_bytes()
        numbers.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        assert not made.change_state(VISUAL_MAP_SERVER, "configure")
        assert "landmark_positions.npy" in lines_about(log, f"[{VISUAL_MAP_SERVER}]")[-1]
        numbers.write_bytes(whole)
        change(made, "configure")
        change(made, "activate")
        made.wait_until_ready()
        made.expect_pose(street.records("query")[3])


@pytest.mark.parametrize("state", ["unconfigured", "inactive", "active"])
def test_nodes_end_cleanly_in_every_state(tracked_map: VisualMap, tmp_path: Path, state: str) -> None:
    log = tmp_path / "log"
    steps = {"unconfigured": (), "inactive": ("configure",), "active": ("configure", "activate")}[state]
    with bench(tracked_map.folder, log, COMPOSED, tracking=True, managed=True, pixloc_tracker=OF_TRACKER) as made:
        for step in steps:
            change(made, step)
        assert states(made) == {state}
        processes = made.processes
    assert processes.exit_codes == dict.fromkeys(COMPOSED, 0)
    assert "Traceback" not in log.read_text()


def test_a_bond_tells_the_manager_whether_the_node_lives(point_map: VisualMap, tmp_path: Path) -> None:
    bondpy = pytest.importorskip("bondpy.bondpy", reason="bondpy has no wheel: it comes with a ROS 2 installation")
    with bench(point_map.folder, tmp_path / "log", (VISUAL_MAP_SERVER,), managed=True) as made:
        assert made.change_state(VISUAL_MAP_SERVER, "configure")
        for end in ("deactivate", "end"):
            assert made.change_state(VISUAL_MAP_SERVER, "activate")
            bond = bondpy.Bond(made.node, "bond", VISUAL_MAP_SERVER)
            bond.start()
            destroy = partial(made.node.destroy_subscription, bond.sub)
            bond.sub = SimpleNamespace(destroy=destroy)  # else bondpy does it behind the executor's back
            destroy = partial(made.node.destroy_publisher, bond.pub)
            bond.pub = SimpleNamespace(destroy=destroy, publish=bond.pub.publish)
            made.spin_until(lambda bond=bond: bond.wait_until_formed(Duration(seconds=0.01)))
            assert not bond.is_broken()
            if end == "deactivate":
                assert made.change_state(VISUAL_MAP_SERVER, end)
                made.spin_until(bond.is_broken)
            bond.shutdown()
        processes = made.processes
    assert processes.exit_codes == {VISUAL_MAP_SERVER: 0}, "it ends as without a bond"
    assert "Traceback" not in (tmp_path / "log").read_text()
