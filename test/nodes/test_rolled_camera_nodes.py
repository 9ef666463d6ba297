"""All nodes with a camera that is mounted sideways on the vehicle: they localize and track it."""

import time
from pathlib import Path

import numpy as np
import pytest
from node_helpers import Bench, bench
from pixloc_helpers import LONG_SIDE, with_references
from pycolmap import Rigid3d, Rotation3d
from rolled_records import rolled_by

from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.features.device import Device
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.geometry.poses import array_of, pose_error
from vizloc_ros.geometry.quarter_turns import Roll
from vizloc_ros.mapping.builder import build_map
from vizloc_ros.ros.node_options import NODES

pytestmark = [pytest.mark.ros, pytest.mark.e2e]
FORWARD = Rigid3d(Rotation3d(np.array([-0.5, 0.5, -0.5, 0.5])), np.array([1.2, 0.0, 1.5]))
BASE_FROM_CAM = FORWARD * Roll.CLOCKWISE.upright_from_cam
PERIOD = 0.3  # s


def shown(running: Bench, node: str, key: str) -> str | None:
    status = running.recorder.statuses.get(node)
    return next((pair.value for pair in status.values if pair.key == key), None) if status else None


def send_until(running: Bench, records: list[Record], poses: dict) -> dict[int, Record]:
    """Send the records in turn until a pose has come; return them by their stamps."""
    sent: dict[int, Record] = {}
    for record in records * 20:
        begun = time.monotonic()
        running.send_camera_info(record)
        sent[running.send_image(record.read_image())] = record
        running.spin_until(lambda begun=begun: time.monotonic() - begun >= PERIOD)  # type: ignore[misc]
        if poses.keys() & sent.keys():
            return sent
    raise AssertionError(f"no pose; diagnostics: {running.recorder.messages[-5:]}")


def expect_right(poses: dict, sent: dict[int, Record]) -> None:
    for stamp in poses.keys() & sent.keys():
        map_from_base = sent[stamp].world_from_cam * BASE_FROM_CAM.inverse()
        distance, angle = pose_error(poses[stamp].map_from_base, map_from_base)
        assert distance < 0.2
        assert angle < 1.0


def test_a_camera_that_is_mounted_sideways_is_localized_and_tracked(street: SyntheticStreet, tmp_path: Path) -> None:
    """Of a map of upright images, with the parameters' defaults: the mounting is all that the nodes are told."""
    mapped = street.records("map")[:12]
    build_map(mapped, open_extractor("hfnet", device=Device(threads=1)), tmp_path / "plain", dataset=street.name)
    folder = with_references(tmp_path / "plain", mapped, tmp_path / "map")
    sideways = [rolled_by(record, Roll.CLOCKWISE) for record in street.records("query")[3:6]]
    mounted = {"base_from_cam": tuple(map(float, array_of(BASE_FROM_CAM)))}
    tracker = {**mounted, "long_side": LONG_SIDE, "threads": 1}
    with bench(folder, tmp_path / "log", NODES, hfnet=mounted, localizer=mounted, pixloc_tracker=tracker) as running:
        recorder = running.recorder
        sent = send_until(running, sideways[:1], recorder.poses)
        expect_right(recorder.poses, sent)
        sent = send_until(running, sideways[:1], recorder.tracked)
        expect_right(recorder.tracked, sent)
        running.spin_until(lambda: shown(running, "hfnet", "roll") == Roll.CLOCKWISE.value)
        sent = send_until(running, sideways[1:], recorder.tracked)
        expect_right(recorder.tracked, sent)
