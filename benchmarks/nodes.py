"""Latency from the publication of an image to its pose, through the three nodes as processes, on kitti00."""

from pathlib import Path
from tempfile import TemporaryDirectory

import kitti00
from measure import Cell, Table

from vizloc_ros.bags.bag_camera import open_camera
from vizloc_ros.bags.writer import write_bag
from vizloc_ros.datasets.record import every
from vizloc_ros.replay.bag_replay import replay_bag
from vizloc_ros.timing import percentiles

_EVERY, _RATE = 2, 0.2  # of 10 images a second: one a second, so that none is dropped on two cores


def benchmark(out: Path) -> list[Table]:
    """Replay every second query and measure its latency."""
    folder, _ = kitti00.built_map(out)
    with TemporaryDirectory(dir=out) as temporary:
        bag = Path(temporary) / "bag"
        write_bag(every(kitti00.records("query"), _EVERY), bag)
        replay = replay_bag(open_camera(bag), folder, rate=_RATE, tracking=False, log=out / "nodes.log")
    stages = {"image to pose": percentiles(replay.latency_ms.values()), **replay.timings_ms} if replay.poses else {}
    rows: list[list[Cell]] = [[stage, times["p50"], times["p99"]] for stage, times in stages.items()]
    notes = [
        f"{replay.num_images} images at {replay.num_images / replay.duration_s:.2g} Hz, {len(replay.poses)} poses, "
        f"{replay.dropped} dropped. The first row is measured outside the nodes, the stages are what they report.",
    ]
    return [Table("kitti00: through the nodes", ("", "p50 [ms]", "p99 [ms]"), rows, notes)]
