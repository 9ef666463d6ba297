"""``make bench``: run the benchmarks and write benchmarks.json and benchmarks.md.

``make bench ARGS="--only kitti00 --only nodes"`` runs some of them.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import alignment
import build_scale
import demo
import extraction
import kitti00
import nodes
import quantization
import retrieval_scale
import rig
import rig_tracking
import robotcar_size
import sessions
import typer
import vehicle
from machine import machine_table
from measure import Table
from peers import comparison
from rich.console import Console

from vizloc_ros.errors import VizlocError
from vizloc_ros.evaluation.report import write_report

BENCHMARKS: dict[str, Callable[[Path], list[Table]]] = {
    "extraction": extraction.benchmark,
    "quantization": quantization.benchmark,
    "kitti00": kitti00.benchmark,
    "sessions": sessions.benchmark,
    "peers": comparison.benchmark,
    "alignment": alignment.benchmark,
    "build_scale": build_scale.benchmark,
    "robotcar_size": robotcar_size.benchmark,
    "retrieval_scale": retrieval_scale.benchmark,
    "nodes": nodes.benchmark,
    "demo": demo.benchmark,
    "rig": rig.benchmark,
    "rig_tracking": rig_tracking.benchmark,
    "vehicle": vehicle.benchmark,
}


def run(
    out: Annotated[Path, typer.Option(help="Folder for benchmarks.json and benchmarks.md")] = Path("bench_output"),
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help=f"One of {', '.join(BENCHMARKS)}")] = None,
    keyframes: Annotated[
        int, typer.Option(help="Simulated keyframes of retrieval_scale", min=1000)
    ] = retrieval_scale.KEYFRAMES,
    extractor: Annotated[
        str, typer.Option(metavar="hfnet|PATH.onnx", help="HF-Net of extraction and quantization")
    ] = "hfnet",
    every: Annotated[int, typer.Option(help="quantization and peers take every N-th pair and query", min=1)] = 1,
    degrade: Annotated[
        str, typer.Option(metavar="KIND:LEVEL", help="Degradation of the second part of peers; empty for none")
    ] = comparison.DEGRADE,
) -> None:
    """Measure the machine and the stages of mapping and localization."""
    chosen = only or list(BENCHMARKS)
    if unknown := set(chosen) - set(BENCHMARKS):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: give {', '.join(BENCHMARKS)}", param_hint="--only")
    out.mkdir(parents=True, exist_ok=True)
    benchmarks = BENCHMARKS | {
        "extraction": partial(extraction.benchmark, extractor=extractor),
        "quantization": partial(quantization.benchmark, extractor=extractor, every=every),
        "peers": partial(comparison.benchmark, degrade=degrade, every=every),
        "retrieval_scale": partial(retrieval_scale.benchmark, keyframes=keyframes),
    }
    console = Console()
    if not console.is_terminal:
        console.width = 120
    results = {"machine": [machine_table()]}
    console.print(results["machine"][0].as_rich())
    for name in chosen:
        results[name] = benchmarks[name](out)
        for table in results[name]:
            console.print(table.as_rich())
    write_report(out / "benchmarks.json", {name: [t.as_dict() for t in tables] for name, tables in results.items()})
    markdown = "\n".join(table.as_markdown() for tables in results.values() for table in tables)
    (out / "benchmarks.md").write_text(markdown, encoding="utf-8")
    console.print(f"written to {out}")


if __name__ == "__main__":
    try:
        typer.run(run)
    except VizlocError as error:
        Console(stderr=True).print(f"error: {error}", style="bold red", markup=False, soft_wrap=True)
        sys.exit(1)
