"""The demo with HF-Net and with RootSIFT, in turn, so that both meet the same load of the machine."""

from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from measure import Cell, Table

from vizloc_ros.bags.writer import write_bag
from vizloc_ros.datasets.open import open_dataset
from vizloc_ros.features.device import Device
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.mapping.builder import build_map
from vizloc_ros.nodes.replay_evaluation import evaluate_replay

_EXTRACTORS = ("hfnet", "rootsift")
_TURNS = 2
_DATASET = "synthetic:"


def benchmark(out: Path) -> list[Table]:
    """Builds both maps, and replays one bag through the nodes twice with each."""
    source = open_dataset(_DATASET)
    with TemporaryDirectory(dir=out) as temporary:
        folder = Path(temporary)
        write_bag(source.records("query"), folder / "bag")
        for name in _EXTRACTORS:
            extractor = open_extractor(name, device=Device(threads=1))
            build_map(source.records("map"), extractor, folder / name, dataset=_DATASET)
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in _EXTRACTORS}
        for turn in range(_TURNS):
            for name in _EXTRACTORS:
                replayed = folder / f"replay_{turn}_{name}"
                results[name].append(evaluate_replay(folder / "bag", folder / name, replayed))
    rows: list[list[Cell]] = [
        [figure, *(median(of(result) for result in results[name]) for name in _EXTRACTORS)]
        for figure, of in {
            "image to pose, p50 [ms]": lambda r: r["latency_ms"]["p50"],
            "image to pose, p99 [ms]": lambda r: r["latency_ms"]["p99"],
            "processed [images / s]": lambda r: r["processed_hz"],
            "extract, p50 [ms]": lambda r: r["timings_ms"]["extract"]["p50"],
            "match, p50 [ms]": lambda r: r["timings_ms"]["match"]["p50"],
            "pose, p50 [ms]": lambda r: r["timings_ms"]["pose"]["p50"],
            "recall of processed, 0.25 m, 2 deg": lambda r: r["recall_of_processed"]["0.25m_2deg"],
        }.items()
    ]
    notes = [
        f"The synthetic street at 10 images a second through three processes; medians of {_TURNS} replays in turn."
    ]
    return [Table("The demo: HF-Net and RootSIFT", ("", *_EXTRACTORS), rows, notes)]
