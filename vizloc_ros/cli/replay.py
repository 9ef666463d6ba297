"""``vizloc replay``: a bag, localized in a map by the ROS 2 nodes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from vizloc_ros.cli.arguments import (
    BagArgument,
    LongSideOption,
    MapArgument,
    ProviderOption,
    TrackerModelOption,
    command_line,
)
from vizloc_ros.evaluation.report import report_table
from vizloc_ros.pixloc.tracking_options import LONG_SIDE


def replay(
    bag: BagArgument,
    map_path: MapArgument,
    out: Annotated[Path, typer.Option(help="Folder for poses, report.json and figures", file_okay=False)],
    rate: Annotated[float, typer.Option(help="Speed of playback; 1: real time")] = 1.0,
    model: TrackerModelOption = "",
    long_side: LongSideOption = LONG_SIDE,
    provider: ProviderOption = "cpu",
    composed: Annotated[bool, typer.Option(help="All nodes in one process instead of one each")] = False,
) -> None:
    """Replay a bag through the nodes and evaluate the published poses."""
    from vizloc_ros.replay.bag_replay import private_domain
    from vizloc_ros.replay.replay_report import evaluate_replay

    console = Console()
    domain = private_domain()
    console.print(f"on ROS domain {domain}: watch it with ROS_DOMAIN_ID={domain} rviz2")

    report = evaluate_replay(
        bag,
        map_path,
        out,
        rate=rate,
        provider=provider,
        model=model,
        long_side=long_side,
        composed=composed,
        domain_id=domain,
        details={"command": command_line()},
    )
    print_replay(console, report)
    console.print(f"written to {out}")


_NOT_SHOWN = ("reasons",)


def print_replay(console: Console, report: Mapping[str, Any]) -> None:
    """Show the report of a replay and, if images were dropped, the reason and a remedy."""
    console.print(report_table({key: value for key, value in report.items() if key not in _NOT_SHOWN}))
    if report["dropped"] and report["processed_hz"]:
        arriving = report["processed_hz"] * report["num_images"] / max(report["num_processed"], 1)
        console.print(
            f"{report['dropped']} of {report['num_images']} images were dropped: this machine processes "
            f"{report['processed_hz']:.1f} of {arriving:.1f} images a second and takes the newest ones; recall counts "
            "the dropped ones as wrong, recall of processed does not. A slower --rate processes all of them."
        )
