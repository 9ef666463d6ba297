"""What a replay prints at its end."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from vizloc_ros.evaluation.report import report_table

_NOT_SHOWN = ("reasons",)


def print_replay(console: Console, report: Mapping[str, Any]) -> None:
    """The table of a replay's report and, where images were dropped, why and what to do."""
    console.print(report_table({key: value for key, value in report.items() if key not in _NOT_SHOWN}))
    if report["dropped"] and report["processed_hz"]:
        arriving = report["processed_hz"] * report["num_images"] / max(report["num_processed"], 1)
        console.print(
            f"{report['dropped']} of {report['num_images']} images were dropped: this machine processes "
            f"{report['processed_hz']:.1f} of {arriving:.1f} images a second and takes the newest ones; recall counts "
            "the dropped ones as wrong, recall of processed does not. Play slower with --rate to have all of them."
        )
