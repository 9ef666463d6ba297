"""Endurance of the nodes: laps around the demo's street at 10 images a second, for half an hour.

    python benchmarks/endurance.py --out endurance --minutes 30

The street is a closed block, and all motion along it repeats with every lap. With a speed at which a whole number of
images makes a lap, the first image of a lap follows the last one as any other: the vehicle goes on forwards for ever,
and no place in the drive jumps. Only the stamps go on. The nodes are processes in real time, without ``/clock``.

Compared are the begin, after a fifteenth of the time for warm-up, and the last sixth of the time: of 30 minutes, the
memory of the minutes 2 to 5 and the latencies of the minutes 2 to 7 with the last five. Once a minute the map server
gives back the pages of the map that it has read, so memory with files is the maximum of the samples, and what is a
process's own their median. It fails (exit code 1) if a node's resident or own memory has grown by more than 2 %, the
99th percentile of the latency from the image to its pose by more than 10 %, or if a pose is wrong. ``report.json`` has
the figures, ``memory.png`` and ``latency.png`` show them.
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from measure import memory_mb
from sensor_msgs.msg import CameraInfo, Image

from vizloc_ros.cli.progress import bar
from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic.route import LOOP_LENGTH
from vizloc_ros.evaluation.faults import STREET
from vizloc_ros.evaluation.plots import BLUE, GREEN, GRID, INK, MUTED, ORANGE, RED, figure_at
from vizloc_ros.evaluation.report import write_report
from vizloc_ros.evaluation.trust import Claim
from vizloc_ros.evaluation.trust_worlds import TrustWorld, open_world
from vizloc_ros.features.device import Device
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.pixloc.extractors.pyramid_extractor import open_pyramid_extractor
from vizloc_ros.replay.bag_replay import is_ready, private_domain, spinning_recorder, wait_until
from vizloc_ros.replay.processes import NodeProcesses
from vizloc_ros.replay.recorder import Recorder
from vizloc_ros.ros.messages import header_of, rectified_camera_to_msg, stamp_from_ns
from vizloc_ros.ros.node_options import HFNET, LOCALIZER, NODES, TRACKER, VISUAL_MAP_SERVER
from vizloc_ros.ros.qos import POSE
from vizloc_ros.ros.runner import ros
from vizloc_ros.timing import NANOSECONDS, percentiles

MAX_MEMORY_GROWTH, MAX_LATENCY_GROWTH = 0.02, 0.10
WARM_UP, PART = 1 / 15, 1 / 6  # of the time
_SAMPLE_S, _START_S, _LAST_S = 5.0, 120.0, 2.0
_SPEED, _MAP_RATE = 5.0, 10.0  # m/s, about, and 1/s; the demo's
_COLORS = (BLUE, GREEN, ORANGE, RED)
_IDENTITY = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
_KINDS = ("resident", "proportional", "unique", "own", "peak")


@dataclass
class Drive:
    """Images that were sent, and the memory that was seen.

    Attributes:
        begin_ns: time of the first image, which is its stamp [ns].
        seconds: time of the drive [s].
        sent_ns: ``time.monotonic_ns()`` of the publication of each image, by its stamp [ns].
        records: image and true pose in the map, by the stamp [ns].
        memory: memory of each process [MB] by kind, with "seconds" since the first image and its "cpu" time [s].
    """

    begin_ns: int
    seconds: float
    sent_ns: dict[int, int] = field(default_factory=dict)
    records: dict[int, Record] = field(default_factory=dict)
    memory: dict[str, list[dict[str, float]]] = field(default_factory=dict)


def shares_mb(pid: int) -> dict[str, float]:
    """Memory of a process [MB], what it shares divided among its users ("proportional"), or left out ("unique")."""
    rollup = Path(f"/proc/{pid}/smaps_rollup")
    if not rollup.exists():
        return {}
    found = dict(line.split(":", 1) for line in rollup.read_text().splitlines()[1:])
    sizes = {key: 1.024e-3 * float(text.split()[0]) for key, text in found.items()}
    return {"proportional": sizes["Pss"], "unique": sizes["Private_Clean"] + sizes["Private_Dirty"]}


def cpu_s(pid: int) -> float:
    """CPU time of a process and its threads [s]."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def drive_laps(
    lap: Sequence[Record], rate: float, seconds: float, recorder: Recorder, processes: NodeProcesses
) -> Drive:
    """Publish lap after lap at a rate [1/s], and sample the memory of the processes."""
    image_publisher = recorder.create_publisher(Image, "image", POSE)
    info_publisher = recorder.create_publisher(CameraInfo, "camera_info", POSE)
    messages = [_message(record) for record in lap]
    camera_info = rectified_camera_to_msg(lap[0].camera, header_of(0, "camera"))
    wait_until(lambda: is_ready(recorder, NODES), _START_S, processes, "the nodes did not start")
    recorder.forget_problems()
    drive = Drive(time.time_ns(), seconds)
    begin, next_sample = time.monotonic(), 0.0
    for number in range(int(seconds * rate)):
        stamp_ns = drive.begin_ns + round(number / rate * NANOSECONDS)
        time.sleep(max(0.0, begin + number / rate - time.monotonic()))
        message = messages[number % len(lap)]
        message.header.stamp = camera_info.header.stamp = stamp_from_ns(stamp_ns)
        info_publisher.publish(camera_info)
        drive.records[stamp_ns] = lap[number % len(lap)]
        drive.sent_ns[stamp_ns] = time.monotonic_ns()
        image_publisher.publish(message)
        if number / rate >= next_sample:  # beside the next image's wait
            next_sample += _SAMPLE_S
            processes.require_alive()
            for name, pid in processes.process_ids.items():
                sample = {"seconds": number / rate, **memory_mb(pid), **shares_mb(pid), "cpu": cpu_s(pid)}
                drive.memory.setdefault(name, []).append(sample)
    time.sleep(_LAST_S)
    return drive


def _message(record: Record) -> Image:
    image = record.read_image()
    message = Image(header=header_of(0, "camera"), height=image.shape[0], width=image.shape[1], step=image[0].nbytes)
    message.encoding = "mono8" if image.ndim == 2 else "bgr8"
    message.data.frombytes(image.tobytes())
    return message


def memory_report(drive: Drive) -> dict[str, Any]:
    """Memory [MB] of each process at the begin and in the end by kind, its growth, and the cores that it took."""
    first, last = (drive.seconds * WARM_UP, drive.seconds * PART), (drive.seconds * (1 - PART), drive.seconds)
    found: dict[str, Any] = {}
    for name, samples in drive.memory.items():
        kinds: dict[str, Any] = {}
        for kind in (kind for kind in _KINDS if kind in samples[0]):
            begin, end = (_memory(samples, kind, part) for part in (first, last))
            kinds[kind] = {"begin_mb": begin, "end_mb": end, "growth": end / begin - 1}
        cores = (samples[-1]["cpu"] - samples[0]["cpu"]) / max(samples[-1]["seconds"] - samples[0]["seconds"], 1e-9)
        found[name] = {**kinds, "cores": cores}
    return found


def _memory(samples: Sequence[Mapping[str, float]], kind: str, part: tuple[float, float]) -> float:
    found = [sample[kind] for sample in samples if part[0] <= sample["seconds"] <= part[1]] or [math.nan]
    return float(np.median(found)) if kind == "own" else max(found)


def latencies_ms(drive: Drive, recorder: Recorder) -> tuple[Any, Any]:
    """Times of the images with a pose since the first image [s], and their latencies [ms], (N,) each."""
    found = [
        ((stamp - drive.begin_ns) / NANOSECONDS, (recorder.tracked[stamp].monotonic_ns - sent) * 1e-6)
        for stamp, sent in drive.sent_ns.items()
        if stamp in recorder.tracked
    ]
    return tuple(np.array(found).reshape(-1, 2).T)


def latency_report(at_s: Any, latency_ms: Any, seconds: float) -> dict[str, Any]:
    """Percentiles [ms] of the latency at the begin, in the end and of each minute, and the growth of both."""
    begins, length = (seconds * WARM_UP, seconds * (1 - PART)), seconds * PART
    first, last = (latency_ms[(at_s >= begin) & (at_s < begin + length)] for begin in begins)
    if not (len(first) and len(last)):
        return {}
    begin, end = percentiles(first), percentiles(last)
    minutes = [latency_ms[(at_s >= m) & (at_s < m + 60)] for m in np.arange(0, seconds, 60)]
    return {
        "all_ms": percentiles(latency_ms),
        "begin_ms": begin,
        "end_ms": end,
        "growth": {key: end[key] / begin[key] - 1 for key in begin},
        "minutes_ms": [percentiles(minute) if len(minute) else None for minute in minutes],
    }


def report(drive: Drive, recorder: Recorder, rate: float) -> dict[str, Any]:
    """Figures of a drive, with ``problems``, which are empty if it is passed."""
    poses = {stamp: pose.map_from_base for stamp, pose in recorder.tracked.items()}
    claims = [Claim.of(record, poses.get(stamp), "") for stamp, record in drive.records.items()]
    errors = [claim.error for claim in claims if claim.error is not None]
    wrong = sum(claim.is_wrong for claim in claims)
    memory, latency = memory_report(drive), latency_report(*latencies_ms(drive, recorder), drive.seconds)
    growth = {(name, kind): memory[name][kind]["growth"] for name in memory for kind in ("resident", "own")}
    problems = [
        *(f"{name}: {kind} memory grew by {x:.1%}" for (name, kind), x in growth.items() if not x <= MAX_MEMORY_GROWTH),
        *(["no poses to compare"] if not latency else []),
        *([f"{wrong} wrong poses"] if wrong else []),
    ]
    if latency and latency["growth"]["p99"] > MAX_LATENCY_GROWTH:
        problems.append(f"latency p99 grew by {latency['growth']['p99']:.1%}")
    return {
        "minutes": drive.seconds / 60,
        "rate_hz": rate,
        "laps": len(claims) / max(len({record.name for record in drive.records.values()}), 1),
        "begin_ns": drive.begin_ns,
        "images": len(claims),
        "poses": len(errors),
        "wrong": wrong,
        "median_error_m": float(np.median([error.translation_m for error in errors])) if errors else None,
        "largest_error_m": max((error.translation_m for error in errors), default=None),
        "became_lost": recorder.count(TRACKER, "became_lost"),
        "dropped": {node: recorder.count(node, "dropped") for node in NODES},
        "memory": memory,
        "latency": latency,
        "reasons": {**recorder.reasons.images, **recorder.reasons.warnings},
        "load_average": os.getloadavg(),
        "problems": problems,
    }


def plot_memory(path: Path, drive: Drive) -> None:
    """Draw the resident memory of each process, and the two parts of the time that are compared."""
    with figure_at(path, 8, 4) as figure:
        axes = figure.add_subplot(title="Memory of the nodes", xlabel="time [min]", ylabel="memory [MB]")
        for color, (name, samples) in zip(_COLORS, drive.memory.items(), strict=False):
            minutes = [sample["seconds"] / 60 for sample in samples]
            axes.plot(minutes, [sample["resident"] for sample in samples], color=color, lw=1.2, label=name)
            if "unique" in samples[0]:
                axes.plot(minutes, [sample["unique"] for sample in samples], color=color, lw=1.2, ls=":")
        for begin, end in ((WARM_UP, PART), (1 - PART, 1.0)):
            axes.axvspan(begin * drive.seconds / 60, end * drive.seconds / 60, color=GRID, alpha=0.6, lw=0)
        axes.plot([], [], color=INK, lw=1.2, ls=":", label="without what others use, too")
        axes.set_ylim(bottom=0)
        axes.legend(ncols=2, loc="lower right")


def plot_latency(path: Path, at_s: Any, latency_ms: Any) -> None:
    """Draw the latency of each pose, and the median and 99th percentile of each minute."""
    with figure_at(path, 8, 4) as figure:
        axes = figure.add_subplot(title="From an image to its pose", xlabel="time [min]", ylabel="latency [ms]")
        axes.plot(at_s / 60, latency_ms, ".", color=MUTED, ms=1.5, alpha=0.5)
        minutes = np.unique(at_s // 60)
        for color, name, percent in ((BLUE, "median of a minute", 50), (RED, "99th percentile of a minute", 99)):
            values = [np.percentile(latency_ms[at_s // 60 == minute], percent) for minute in minutes]
            axes.plot(minutes + 0.5, values, "o-", color=color, ms=3, lw=1.2, label=name)
        axes.set_yscale("log")
        axes.grid(axis="y")
        axes.legend(loc="upper right")


def open_closed(rate: float, seed: int) -> TrustWorld:
    """Street with a lap of a whole number of images at a rate [1/s]."""
    images = round(LOOP_LENGTH / _SPEED * rate)
    world = open_world(STREET, seed, f"rate={rate!r}&speed={LOOP_LENGTH * rate / images!r}")
    return replace(world, mapped=world.mapped[:images], driven=world.driven[:images])


def run(
    out: Path,
    minutes: float,
    rate: float,
    seed: int,
    *,
    composed: bool,
    maps: Path | None = None,
    beside: Callable[[Recorder, Path], AbstractContextManager[object]] = lambda recorder, folder: nullcontext(),
) -> dict[str, Any]:
    """Build the map, unless it is there, drive, write the report and the figures, and return the report.

    Args:
        out: folder of report and figures.
        minutes: time of the drive.
        rate: images a second.
        seed: seed of the street.
        composed: True for all nodes in one process.
        maps: folder of the map; a folder in ``out`` by default.
        beside: context of the drive, of the recorder and the folder of the map.
    """
    world, driven = open_closed(_MAP_RATE, seed), open_closed(rate, seed).driven
    extractor = open_extractor("hfnet", device=Device(threads=1))
    visual_map = world.map_in(
        maps or out / "maps", extractor, open_pyramid_extractor(device=Device(threads=1)), seed, bar
    )
    lap = visual_map.info.place.records_in_map(driven)
    of_map, mounting = {"map_path": str(visual_map.folder)}, {"base_from_cam": _IDENTITY}
    domain = private_domain()
    processes = NodeProcesses(
        {
            HFNET: {**of_map, **mounting},
            VISUAL_MAP_SERVER: of_map,
            LOCALIZER: {**mounting, "path_length": 0},
            TRACKER: {**of_map, **mounting},
        },
        executables=("vizloc_node",) if composed else NODES,
        log=out / "nodes.log",
        environment={"ROS_DOMAIN_ID": str(domain)},
    )
    with ros([], domain), processes, spinning_recorder() as recorder:
        with beside(recorder, visual_map.folder):
            drive = drive_laps(lap, rate, minutes * 60, recorder, processes)
        figures = report(drive, recorder, rate)
        at_s, latency_ms = latencies_ms(drive, recorder)
    write_report(out / "report.json", {**figures, "seed": seed, "composed": composed})
    write_report(out / "samples.json", {"memory": drive.memory, "at_s": at_s, "latency_ms": latency_ms})
    plot_memory(out / "memory.png", drive)
    plot_latency(out / "latency.png", at_s, latency_ms)
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of map, report and figures")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=10.0, help="images a second")
    parser.add_argument("--composed", action="store_true", help="all nodes in one process")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    found = run(given.out.resolve(), given.minutes, given.rate, given.seed, composed=given.composed)
    print(json.dumps({key: value for key, value in found.items() if key != "reasons"}, indent=1))
    sys.exit(bool(found["problems"]))
