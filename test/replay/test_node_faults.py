"""Faults of messages and neighbors, and a drive through running nodes in which one image has a wrong stamp."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pixloc_helpers import LONG_SIDE
from repository import REPOSITORY

from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import ConfigError
from vizloc_ros.evaluation.faults import FAULTS
from vizloc_ros.evaluation.trust import TrustRun
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.option_tree import OptionTree
from vizloc_ros.replay.fault_drive import Shot, shots_of
from vizloc_ros.replay.node_faults import NODE_FAULTS, NodeFault, chosen_node_faults, run_node_fault

BEGIN, HOUR_NS = 4, 3600 * 10**9


def named(name: str) -> NodeFault:
    return chosen_node_faults([name])[0]


def altered(name: str, street: SyntheticStreet) -> tuple[list[Shot], list[Shot]]:
    """Shots of twelve images before and after a fault of messages; the fault begins with the fifth."""
    fault = named(name)
    shots = shots_of(street.records("query")[:12], fault.odometry)
    return shots, fault.shots(shots, BEGIN)


def test_every_fault_of_nodes_has_a_name_and_says_what_it_does() -> None:
    assert len({fault.name for fault in NODE_FAULTS}) == len(NODE_FAULTS) >= 30
    assert all(fault.does and fault.expected for fault in NODE_FAULTS)
    with pytest.raises(ConfigError, match="nodes have no fault 'dust'"):
        chosen_node_faults(["dust"])


def test_pairs_of_messages_are_swapped_with_their_stamps(street: SyntheticStreet) -> None:
    shots, sent = altered("reordered", street)
    assert [shot.at_ns for shot in sent] == [shot.at_ns for shot in shots]
    assert [shot.stamp_ns for shot in sent[BEGIN:]] == [shots[i].stamp_ns for i in (5, 4, 7, 6, 9, 8, 11, 10)]
    assert all(shot.stamp_ns == shot.record.timestamp_ns for shot in sent)


def test_one_stamp_is_an_hour_ahead(street: SyntheticStreet) -> None:
    shots, sent = altered("one stamp an hour ahead", street)
    ahead = [after.stamp_ns - before.stamp_ns for before, after in zip(shots, sent, strict=True)]
    assert sorted(ahead) == [0] * 11 + [HOUR_NS]


def test_every_third_camera_info_is_nonsense(street: SyntheticStreet) -> None:
    for name, changed in (("K 1 among good", lambda shot: shot.record.camera.fx == 1), ("D folding among good", None)):
        shots, sent = altered(name, street)
        is_bad = changed or (lambda shot: "d" in (shot.camera_info or {}))
        assert [index for index, shot in enumerate(sent) if is_bad(shot)] == [4, 7, 10]
        assert sent[:BEGIN] == shots[:BEGIN]


def test_wrong_odometry_begins_with_the_fault(street: SyntheticStreet) -> None:
    def moves(shots: list[Shot]) -> np.ndarray:
        return np.linalg.norm(np.diff([shot.odom_from_base.translation for shot in shots], axis=0), axis=1)

    for name, factor in (("odometry stuck", 0.0), ("odometry x 2", 2.0)):
        shots, sent = altered(name, street)
        np.testing.assert_allclose(moves(sent)[: BEGIN - 1], moves(shots)[: BEGIN - 1])
        np.testing.assert_allclose(moves(sent)[BEGIN:], factor * moves(shots)[BEGIN:], atol=1e-9)
    assert all(shot.odom_from_base is None for shot in altered("reordered", street)[0])


@pytest.mark.ros
def test_a_drive_through_the_nodes_counts_poses_by_their_stamps(
    tracked_map: VisualMap, street: SyntheticStreet, tmp_path: Path
) -> None:
    """An image an hour ahead, from elsewhere: its pose, if it gets one, is not taken for that of another one."""
    run = TrustRun(OptionTree(), good_s=0.8, drive_s=1.6)
    fault = named("one stamp an hour ahead")
    rows = run_node_fault(
        fault,
        run,
        tracked_map.folder,
        street.records("query"),
        tmp_path / "log",
        rate=0.4,
        long_side=LONG_SIDE,
    )
    tracker, localizer = rows
    assert (tracker.run, localizer.run) == ("tracker node", "localizer node")
    assert tracker.images == localizer.images == 8
    assert tracker.wrong == localizer.wrong == 0
    assert 0 < max(tracker.poses, localizer.poses) <= 8
    assert replace(tracker, run="") != replace(localizer, run="")


def test_the_page_has_every_fault() -> None:
    page = (REPOSITORY / "docs" / "reliability.md").read_text()
    missing = [
        fault.name
        for fault in (*FAULTS, *NODE_FAULTS)
        if f"| {fault.name} | {fault.does} | {fault.expected} |\n" not in page
    ]
    assert not missing
