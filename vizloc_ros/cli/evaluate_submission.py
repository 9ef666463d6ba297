"""``vizloc evaluate submission``: check of a file for visuallocalization.net."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vizloc_ros.cli.arguments import DATASET_HELP
from vizloc_ros.evaluation.report import report_table
from vizloc_ros.evaluation.submission import check_submission, query_names
from vizloc_ros.readers import open_dataset

console = Console()


def submission(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Poses, such as poses_visuallocalization.txt")],
    dataset: Annotated[list[str], typer.Argument(metavar="DATASET...", help=f"{DATASET_HELP}; all slices of CMU")],
    split: Annotated[str, typer.Option(help="Split with the queries; test for RobotCar Seasons v2")] = "query",
) -> None:
    """Check a file of poses for visuallocalization.net.

    Its lines are checked, and its names against the queries.
    """
    records = [record for spec in dataset for record in open_dataset(spec).records(split)]
    found = check_submission(file, query_names(records, f"{', '.join(dataset)}, split {split}"))
    console.print(report_table(found.as_dict()))
