"""Two cameras of one vehicle through the nodes as processes, on the synthetic street: each alone, both, one covered."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from measure import Cell, Table
from pycolmap import Rigid3d

from vizloc_ros.arrays import UInt8
from vizloc_ros.bags.bag_camera import open_camera
from vizloc_ros.bags.writer import write_bag
from vizloc_ros.datasets.record import Record, every
from vizloc_ros.datasets.synthetic.lens_covers import HIDDEN_GRAY, covered
from vizloc_ros.evaluation.recall import evaluate_poses
from vizloc_ros.features.device import Device
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.mapping.builder import build_map
from vizloc_ros.readers import open_dataset
from vizloc_ros.replay.bag_replay import is_ready, private_domain, replay_bag, spinning_recorder, wait_until
from vizloc_ros.replay.player import BagPlayer, PublishedImages
from vizloc_ros.replay.processes import NodeProcesses
from vizloc_ros.ros.node_options import HFNET, LOCALIZER, VISUAL_MAP_SERVER
from vizloc_ros.ros.runner import ros
from vizloc_ros.timing import percentiles

CAMERAS = ("front", "rear")
DATASET = f"synthetic:cameras={','.join(CAMERAS)}"
_EVERY, _RATE = 2, 0.3  # of 10 instants a second: 1.5 a second, so that none is dropped on two busy cores
_FINISH_S = 5.0
_START_S = 60.0


@dataclass(frozen=True)
class _Run:
    """Poses map_from_base of a replay by stamp, and latencies from the first camera's image to the pose [ms]."""

    poses: dict[int, Rigid3d]
    latency_ms: list[float]


def benchmark(out: Path) -> list[Table]:
    """Replay a lap with each camera alone, with both, and with the front one covered for its second half."""
    source = open_dataset(DATASET)
    records = every(source.records("query"), _EVERY)
    half = records[len(records) // 2].timestamp_ns
    systems: dict[str, Callable[[Path], _Run]] = {}
    with TemporaryDirectory(dir=out) as temporary:
        folder = Path(temporary)
        build_map(
            source.records("map"), open_extractor("hfnet", device=Device(threads=1)), folder / "map", dataset=DATASET
        )
        for name in CAMERAS:
            systems[f"{name} alone"] = partial(
                _run_alone, [record for record in records if record.mounting.camera == name], folder / "map"
            )
        systems["front and rear"] = partial(_run_rig, records, folder / "map")
        for kind, cover in (("covered", hide), ("85 % covered", partial(covered, kind="most", seed=0, seconds=0.0))):
            changed = [altered(record, cover) if is_covered(record, half) else record for record in records]
            systems[f"both, front {kind} for half the lap"] = partial(_run_rig, changed, folder / "map")
        runs = {name: run(folder / f"bag_{index}") for index, (name, run) in enumerate(systems.items())}
    truth = {
        str(record.timestamp_ns): record.world_from_cam * record.mounting.base_from_cam.inverse()
        for record in records
        if record.world_from_cam is not None and record.mounting.base_from_cam is not None
    }
    rows: list[Sequence[Cell]] = []
    for name, run in runs.items():
        recall = evaluate_poses({str(stamp): pose for stamp, pose in run.poses.items()}, truth)
        errors = np.array([error[0] for error in recall.errors.values()]) if run.poses else np.full(1, np.nan)
        latency = percentiles(run.latency_ms) if run.latency_ms else {"p50": None, "p99": None}
        rows.append(
            [
                name,
                len(run.poses),
                recall.recall["0.25m_2deg"],
                1e3 * float(np.median(errors)),
                latency["p50"],
                latency["p99"],
            ]
        )
    columns = ("", "poses", "recall 0.25 m, 2 deg", "median error [mm]", "image to pose, p50 [ms]", "p99 [ms]")
    notes = [
        f"{len(truth)} instants at {5 * _RATE:g} Hz, poses of the vehicle. An hfnet for each camera, one map server, "
        "one localizer, each a process, no tracker. The map has the first lap of both cameras.",
    ]
    return [Table("Two cameras: through the nodes", columns, rows, notes)]


def is_covered(record: Record, from_ns: int) -> bool:
    """Tell whether a record is of the camera that is covered from a time on."""
    return record.mounting.camera == CAMERAS[0] and record.timestamp_ns >= from_ns


def altered(record: Record, change: Callable[[UInt8], UInt8]) -> Record:
    """Record with another image."""
    return replace(record, read_image=lambda: change(record.read_image()))


def hide(image: UInt8) -> UInt8:
    """Image of a camera whose lens is covered."""
    return np.full_like(image, HIDDEN_GRAY)


def _run_alone(records: Sequence[Record], map_path: Path, bag: Path) -> _Run:
    write_bag(records, bag)
    found = replay_bag(open_camera(bag), map_path, rate=_RATE, tracking=False)
    return _Run(found.poses, list(found.latency_ms.values()))


def _run_rig(records: Sequence[Record], map_path: Path, bag: Path) -> _Run:
    write_bag(records, bag)
    hfnets = [f"{name}/{HFNET}" for name in CAMERAS]
    of_map = {"map_path": str(map_path)}
    parameters = {
        HFNET: of_map,
        VISUAL_MAP_SERVER: {**of_map, "cameras": CAMERAS},
        LOCALIZER: {"cameras": CAMERAS},
    }
    nodes, domain = [*hfnets, VISUAL_MAP_SERVER, LOCALIZER], private_domain()
    processes = NodeProcesses(
        parameters,
        executables=nodes,
        use_sim_time=True,
        log=bag.with_suffix(".log"),
        environment={"ROS_DOMAIN_ID": str(domain)},
    )
    published = PublishedImages(f"/{CAMERAS[0]}/image")
    with ros([], domain), processes, spinning_recorder() as recorder:
        player = BagPlayer(recorder, bag, rate=_RATE, on_published=published.add)
        wait_until(lambda: is_ready(recorder, nodes), _START_S, processes, "the nodes did not start")
        player.wait_for_subscribers({f"/{name}/{topic}": 1 for name in CAMERAS for topic in ("image", "camera_info")})
        player.play()
        time.sleep(_FINISH_S)
        player.close()
    sent = published.monotonic_ns
    found = recorder.poses.items()
    return _Run(
        {stamp: pose.map_from_base for stamp, pose in found},
        [(pose.monotonic_ns - sent[stamp]) * 1e-6 for stamp, pose in found if stamp in sent],
    )
