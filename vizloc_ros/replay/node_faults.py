"""Faults of messages, processes and neighbors, which only running nodes have: ``vizloc evaluate trust --nodes``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import ConfigError
from vizloc_ros.evaluation.altered_records import Alter, Drive, images_of, unaltered
from vizloc_ros.evaluation.faults import FAULTS, FRONTS, STREET
from vizloc_ros.evaluation.trust import Claim, TrustRow, TrustRun
from vizloc_ros.replay.fault_drive import Action, Shot, drive_nodes, jpeg, shots_of
from vizloc_ros.ros.node_options import VISUAL_MAP_SERVER
from vizloc_ros.timing import NANOSECONDS

ShotAlter = Callable[[list[Shot], int], list[Shot]]  # of the shots, and the index at which the fault begins
_HOUR_NS = 3600 * NANOSECONDS


def _as_sent(shots: list[Shot], begin: int) -> list[Shot]:
    return shots


@dataclass(frozen=True)
class NodeFault:
    """Fault of running nodes.

    Attributes:
        name: name of the row.
        does: what it does.
        expected: what should become of the poses.
        alter: alteration of the records, as offline.
        shots: alteration of the messages.
        actions: what is done to the processes, with the time since the begin of the fault [s].
        odometry: whether the tracker has odometry.
        world: name of the world.
        second_world: world of the map of a second map server; empty for none.
    """

    name: str
    does: str
    expected: str
    alter: Alter = unaltered
    shots: ShotAlter = _as_sent
    actions: Sequence[Action] = ()
    odometry: bool = False
    world: str = STREET
    second_world: str = ""


def _each(change: Callable[[Shot, int], Shot]) -> ShotAlter:
    """Change every shot of the fault, by its number since the begin."""
    return lambda shots, begin: [
        *shots[:begin],
        *(change(shot, number) for number, shot in enumerate(shots[begin:])),
    ]


def _every_third(change: Callable[[Shot], Shot]) -> ShotAlter:
    return _each(lambda shot, number: change(shot) if number % 3 == 0 else shot)


def _with_focal(pixels: float) -> Callable[[Shot], Shot]:
    def change(shot: Shot) -> Shot:
        camera = replace(shot.record.camera, fx=pixels, fy=pixels)
        return replace(shot, record=replace(shot.record, camera=camera))

    return change


def _reordered(shots: list[Shot], begin: int) -> list[Shot]:
    """Send the messages of each pair in reverse order, each with its own stamp."""
    sent = list(shots[:begin])
    for first, second in zip(shots[begin::2], shots[begin + 1 :: 2], strict=False):
        sent += [replace(second, at_ns=first.at_ns), replace(first, at_ns=second.at_ns)]
    return sent


def _moved(change: Callable[[Rigid3d, Rigid3d, int], Rigid3d]) -> ShotAlter:
    """Change the odometry, by that of the begin of the fault and the number of the shot."""

    def altered(shots: list[Shot], begin: int) -> list[Shot]:
        at = shots[begin].odom_from_base or Rigid3d()
        return _each(
            lambda shot, number: replace(shot, odom_from_base=change(shot.odom_from_base or Rigid3d(), at, number))
        )(shots, begin)

    return altered


def _translated(pose: Rigid3d, translation: object) -> Rigid3d:
    return Rigid3d(pose.rotation, np.asarray(translation, np.float64))


def _late(lag_s: float, for_s: float = inf) -> Alter:
    """Show what was some seconds ago, for a time since the begin of the fault."""

    def source(drive: Drive, index: int) -> int:
        is_late = for_s == inf or index < drive.begin + drive.frames(for_s)
        return max(0, index - drive.frames(lag_s)) if is_late else index

    return images_of(source)


def _flipped(image: np.ndarray) -> bytes:
    data = np.frombuffer(jpeg(image), np.uint8).copy()
    rng = np.random.default_rng(len(data))
    data[rng.integers(min(700, len(data) // 2), len(data), 10)] ^= rng.integers(1, 256, 10, dtype=np.uint8)
    return data.tobytes()


def _with_jpeg(shots: list[Shot], begin: int) -> list[Shot]:
    return [replace(shot, jpeg=jpeg if number < begin else _flipped) for number, shot in enumerate(shots)]


# Of the faults without ROS, those that concern how nodes see a camera; they get the same names.
_SHARED = (
    "none", "upper half covered", "85 % covered", "aliased street", "equal house fronts", "beyond the map's end",
    "camera frozen", "camera frozen, noisy", "camera stutters", "focal length x 1.3", "focal length x 1.05",
    "principal point + 40 px", "fx = 1", "fx = 1e300", "fy = fx / 10", "mirrored", "half black", "images twice",
    "images missing", "kidnapped",
)  # fmt: skip

NODE_FAULTS: tuple[NodeFault, ...] = (
    *(
        NodeFault(fault.name, fault.does, fault.expected, fault.alter, world=fault.world)
        for fault in FAULTS
        if fault.name in _SHARED
    ),
    NodeFault("JPEG bytes flipped", "ten bytes of each JPEG are others", "right poses, or none", shots=_with_jpeg),
    NodeFault(
        "K 1e300 among good", "every third camera_info has fx and fy of 1e300", "refused",
        shots=_every_third(_with_focal(1e300)),
    ),
    NodeFault(
        "K 1 among good", "every third camera_info has fx and fy of 1", "refused", shots=_every_third(_with_focal(1.0))
    ),
    NodeFault(
        "D folding among good", "every third camera_info has D (0.5, -0.5, 0, 0, 0)", "refused",
        shots=_every_third(lambda shot: replace(shot, camera_info={"d": [0.5, -0.5, 0.0, 0.0, 0.0]})),
    ),
    NodeFault(
        "no camera_info", "camera_info ends, images go on", "right poses",
        shots=_each(lambda shot, number: replace(shot, camera_info=None)),
    ),
    NodeFault("reordered", "messages of each pair of images come in reverse order", "right poses", shots=_reordered),
    NodeFault(
        "one stamp an hour ahead", "one image is stamped an hour ahead", "one image is withheld",
        shots=_each(lambda shot, number: replace(shot, stamp_ns=shot.stamp_ns + _HOUR_NS) if number == 5 else shot),
    ),
    NodeFault(
        "stamps of zero", "all stamps are 0", "withheld: no time",
        shots=_each(lambda shot, number: replace(shot, stamp_ns=0)),
    ),
    NodeFault(
        "images of 1 s ago", "images are a second older than their stamps, the odometry is live",
        "withheld: the odometry has moved on",
        _late(1.0), odometry=True,
    ),
    NodeFault(
        "images of 0.3 s ago", "images are 0.3 s older than their stamps, the odometry is live",
        "withheld: the odometry has moved on", _late(0.3), odometry=True,
    ),
    NodeFault(
        "late for 2 s", "images are a second older than their stamps, and live again after two seconds",
        "withheld, then right poses", _late(1.0, 2.0), odometry=True,
    ),
    NodeFault("good odometry", "the odometry is exact", "right poses", odometry=True),
    NodeFault("odometry stuck", "the wheels are stuck", "right poses: the odometry is left out",
              shots=_moved(lambda pose, at, number: at), odometry=True),
    NodeFault("odometry x 2", "the odometry measures twice the distance", "right poses: the odometry is left out",
              shots=_moved(lambda pose, at, number: _translated(
                  pose, at.translation + 2 * (pose.translation - at.translation))), odometry=True),
    NodeFault("odometry jumps", "the odometry jumps by 5 m once a second", "right poses: the odometry is left out",
              shots=_moved(lambda pose, at, number: _translated(
                  pose, pose.translation + np.array([5.0 * (number // 10 % 2), 0.0, 0.0]))), odometry=True),
    NodeFault("map server away", "the map server is killed, and starts again 5 s later",
              "the last submap, then withheld",
              actions=(Action(0.0, lambda nodes: nodes.kill(VISUAL_MAP_SERVER)),
                       Action(5.0, lambda nodes: nodes.start(VISUAL_MAP_SERVER)))),
    NodeFault("two map servers", "a second map server has another map", "withheld: two publishers",
              second_world=FRONTS),
)  # fmt: skip


def chosen_node_faults(names: Sequence[str]) -> list[NodeFault]:
    """Faults of these names, or all. Raises ``ConfigError`` that lists the names, for an unknown one."""
    by_name = {fault.name: fault for fault in NODE_FAULTS}
    if unknown := [name for name in names if name not in by_name]:
        raise ConfigError(f"nodes have no fault {', '.join(map(repr, unknown))}; there is: {', '.join(by_name)}")
    return [by_name[name] for name in names] or list(NODE_FAULTS)


def run_node_fault(
    fault: NodeFault,
    run: TrustRun,
    map_path: Path,
    records: Sequence[Record],
    log: Path,
    *,
    rate: float,
    second_map: Path | None = None,
    provider: str = "cpu",
    long_side: int | None = None,
) -> list[TrustRow]:
    """Drive through running nodes with a fault; rows of the tracker's and of the localizer's poses.

    Args:
        fault: what happens.
        run: times of the drive and of the begin of the fault.
        map_path: map of the fault's world, with reference features.
        records: drive, with poses in the map.
        log: file for the nodes' output.
        rate: speed of the drive; 1 is real time.
        second_map: map of the fault's second world.
        provider: device of the networks.
        long_side: longer side of the tracker's images [px].

    Raises:
        RosError: a node ended or did not start.
    """
    drive = Drive(records, 0, records)
    drive = Drive(records[: drive.frames(run.drive_s)], drive.frames(run.good_s), records)
    begin_ns = drive.records[drive.begin].timestamp_ns
    altered = fault.alter(drive)
    begin = sum(record.timestamp_ns < begin_ns for record in altered)
    shots = sorted(fault.shots(shots_of(altered, fault.odometry), begin), key=lambda shot: shot.at_ns)
    actions = [replace(action, seconds=action.seconds + run.good_s) for action in fault.actions]
    driven = drive_nodes(
        shots,
        map_path,
        log,
        rate=rate,
        actions=actions,
        second_map=second_map,
        provider=provider,
        long_side=long_side,
    )
    rows = []
    for name, poses in (("tracker node", driven.tracked), ("localizer node", driven.localized)):
        faulty = [shot for shot in shots if shot.at_ns >= begin_ns]
        claims = [replace(Claim.of(shot.record, poses.get(shot.stamp_ns), ""), stamp_ns=shot.at_ns) for shot in faulty]
        rows.append(replace(TrustRow.of(fault.name, name, fault.expected, claims), reasons=driven.reasons))
    return rows
