"""Soak of the running nodes: a drive to and fro with a fault every five seconds, and what became of the poses.

    PYTHONPATH=. python test/soak.py --minutes 10 --out /tmp/soak

Faults, in turn, at every node: killed and started again, stopped for two seconds, its map swapped for a copy, and
messages with random faults on its topics. It fails (exit code 1) if poses are not right again within five seconds of
the end of the last fault, or wrong after that, if a node's memory passes a gigabyte or it ends by itself, and if a file
or process is left over. ``soak.json`` has the figures, and the wrong poses meanwhile with their errors.
"""

import argparse
import itertools
import json
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from message_mutations import MAX_BYTES, mutated, originals
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from vizloc_ros.datasets.record import Record
from vizloc_ros.evaluation.altered_records import with_image
from vizloc_ros.evaluation.faults import STREET
from vizloc_ros.evaluation.trust import Claim
from vizloc_ros.evaluation.trust_worlds import open_world
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.mapping.map_writer import replacing_map
from vizloc_ros.parallel import silent
from vizloc_ros.pixloc.extractors.pyramid_extractor import open_pyramid_extractor
from vizloc_ros.replay.fault_drive import Action, Driven, Shot, drive_nodes, shots_of
from vizloc_ros.replay.processes import NodeProcesses
from vizloc_ros.ros.node_options import NODES
from vizloc_ros.ros.qos import FEATURES, POSE
from vizloc_ros.timing import NANOSECONDS
from vizloc_ros.wording import short_text

EVERY_S, LASTS_S, QUIET_S = 5.0, 2.0, 15.0  # between faults, of a fault, after the last one and before the first
AGAIN_S = 5.0
_WORLD = "length=12&speed=1.5&width=400&height=250"  # slow: a vehicle that turns round at 5 m/s would jump
_MESSAGES = 30
_TOPICS: dict[str, tuple[Any, Any]] = {
    "image": (Image, POSE),
    "camera_info": (CameraInfo, POSE),
    "features": (PointCloud2, FEATURES),
    "features/camera_info": (CameraInfo, FEATURES),
    "global_descriptor": (PointCloud2, FEATURES),
    "candidates": (PointCloud2, FEATURES),
}


@dataclass
class Soak:
    """Faults of a drive, and what was seen of the processes meanwhile."""

    map_path: Path
    seed: int
    processes: NodeProcesses | None = None
    done: Counter[str] = field(default_factory=Counter)
    most_memory: int = 0
    ended: list[str] = field(default_factory=list)
    _sender: Any = None

    def actions(self, seconds: float) -> list[Action]:
        """Faults at their times, each with its end."""
        kinds = ("killed", "stopped", "map swapped", "garbage")
        every = itertools.cycle(itertools.product(kinds, NODES))
        found = []
        for begin, (kind, node) in zip(np.arange(QUIET_S, seconds - QUIET_S, EVERY_S), every, strict=False):
            found.append(Action(float(begin), partial(self._begin, kind, node)))
            found.append(Action(float(begin) + LASTS_S, partial(self._end, kind, node)))
        return found

    def _begin(self, kind: str, node: str, processes: NodeProcesses) -> None:
        self.processes = processes
        self._look(processes)
        self.done[f"{kind} {node}" if kind in ("killed", "stopped") else kind] += 1
        if kind == "killed":
            processes.kill(node)
        elif kind == "stopped":
            os.kill(processes.process_ids[node], signal.SIGSTOP)
        elif kind == "map swapped":
            with replacing_map(self.map_path) as staging:
                shutil.copytree(self.map_path, staging, dirs_exist_ok=True)
        else:
            self._sender = rclpy.create_node("sender_of_garbage")
            self._publishers = {
                topic: self._sender.create_publisher(message, topic, qos) for topic, (message, qos) in _TOPICS.items()
            }

    def _end(self, kind: str, node: str, processes: NodeProcesses) -> None:
        if kind == "killed":
            processes.start(node)
        elif kind == "stopped":
            os.kill(processes.process_ids[node], signal.SIGCONT)
        elif kind == "garbage":
            rng, valid = np.random.default_rng((self.seed, self.done[kind])), originals()
            for _ in range(_MESSAGES):
                for topic, publisher in self._publishers.items():
                    publisher.publish(mutated(valid[topic], rng))
            self._sender.destroy_node()

    def _look(self, processes: NodeProcesses) -> None:
        """Note the memory of the nodes, and those that have ended by themselves."""
        self.ended += [f"{name}: {code}" for name, code in processes.exit_codes.items() if code is not None]
        for process in processes.process_ids.values():
            for line in Path(f"/proc/{process}/status").read_text().splitlines():
                if line.startswith("VmHWM"):
                    self.most_memory = max(self.most_memory, 1024 * int(line.split()[1]))


def to_and_fro(records: Sequence[Record], seconds: float) -> list[Shot]:
    """Shots of a drive that goes back at both ends, so that no place in it jumps."""
    period = records[1].timestamp_ns - records[0].timestamp_ns
    images = [record.read_image() for record in records]
    lap = [*range(len(records)), *range(len(records) - 2, 0, -1)]
    driven = [
        replace(with_image(records[k], lambda k=k: images[k]), timestamp_ns=records[0].timestamp_ns + number * period)
        for number, k in zip(range(int(seconds * NANOSECONDS / period)), itertools.cycle(lap), strict=False)
    ]
    return shots_of(driven, odometry=False)


def report(soak: Soak, driven: Driven, shots: Sequence[Shot], last_end_s: float, litter: list[str]) -> dict[str, Any]:
    """Figures of a soak, with ``problems``, which are empty if it is passed."""
    claims = [Claim.of(shot.record, driven.tracked.get(shot.stamp_ns), "") for shot in shots]
    wrong = [claim for claim in claims if claim.is_wrong]
    end_ns = shots[0].at_ns + round(last_end_s * NANOSECONDS)
    settled_ns = end_ns + round(AGAIN_S * NANOSECONDS)
    right_ns = [claim.stamp_ns for claim in claims if claim.error is not None and not claim.is_wrong]
    again_s = next(((stamp - end_ns) / NANOSECONDS for stamp in right_ns if stamp >= end_ns), None)

    def at_s(claim: Claim) -> float:
        return round((claim.stamp_ns - shots[0].at_ns) / NANOSECONDS, 1)

    problems = [
        *(f"wrong pose at the end: {at_s(claim)} s" for claim in wrong if claim.stamp_ns > settled_ns),
        *(["poses are not right again"] if again_s is None or again_s > AGAIN_S else []),
        *(f"ended by itself: {node}" for node in soak.ended),
        *([f"memory of {soak.most_memory / 1e6:.0f} MB"] if soak.most_memory > MAX_BYTES else []),
        *(f"left over: {path}" for path in litter),
    ]
    return {
        "images": len(claims),
        "right": len(right_ns),
        "wrong": len(wrong),
        "wrong_s_m_deg": [(at_s(claim), *(round(value, 2) for value in claim.error)) for claim in wrong if claim.error],
        "right_again_s": again_s,
        "most_memory_mb": round(soak.most_memory / 1e6),
        "faults": dict(soak.done),
        "reasons": {short_text(reason, 200): count for reason, count in list(driven.reasons.items())[:20]},
        "problems": problems,
    }


def run(out: Path, minutes: float, rate: float, seed: int) -> dict[str, Any]:
    """Build a map, drive, and return the figures."""
    world = open_world(STREET, seed, _WORLD)
    pyramids = open_pyramid_extractor()
    visual_map = world.map_in(out / "maps", open_extractor("rootsift"), pyramids, seed, silent)
    seconds = minutes * 60 + QUIET_S
    shots = to_and_fro(visual_map.info.place.records_in_map(world.driven), seconds)
    soak = Soak(visual_map.folder, seed)
    actions = soak.actions(seconds)
    files = {path for path in out.rglob("*") if path.is_file()}
    driven = drive_nodes(shots, soak.map_path, out / "nodes.log", rate=rate, actions=actions)
    litter = [str(path) for path in out.rglob("*") if path.is_file() and path not in files and path.name != "nodes.log"]
    if soak.processes is not None:
        codes = soak.processes.exit_codes.items()
        litter += [f"process {node} ended with {code}" for node, code in codes if code != 0]
    return report(soak, driven, shots, actions[-1].seconds, litter)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=1.0, help="speed of the drive; less on a slow machine")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    figures = run(given.out.resolve(), given.minutes, given.rate, given.seed)
    text = json.dumps(figures, indent=1)
    (given.out / "soak.json").write_text(text)
    print(text)  # noqa: T201
    sys.exit(bool(figures["problems"]))
