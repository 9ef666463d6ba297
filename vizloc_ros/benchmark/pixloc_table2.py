"""PixLoc, Table 2: recalls on Aachen, RobotCar Seasons and Extended CMU Seasons, by the prior of the alignment."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vizloc_ros.benchmark.alignments import aligned, open_pixloc
from vizloc_ros.benchmark.benchmark_run import BenchmarkRun
from vizloc_ros.benchmark.hfnet_table3 import combined, conditions, table_column
from vizloc_ros.benchmark.paper_table import Column, PaperTable, TableRow, paper_rows, recalls
from vizloc_ros.benchmark.sources import AACHEN, CMU, ROBOTCAR_SEASONS, Present, Source
from vizloc_ros.benchmark.submission_files import write_submission
from vizloc_ros.evaluation.prior_poses import Prior
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor

COLUMNS = (
    Column("aachen_day", "Aachen day"),
    Column("aachen_night", "Aachen night"),
    Column("robotcar_day", "RobotCar day"),
    Column("robotcar_night", "RobotCar night"),
    Column("cmu_urban", "CMU urban"),
    Column("cmu_suburban", "CMU suburban"),
    Column("cmu_park", "CMU park"),
)
PAPERS = paper_rows(
    COLUMNS,
    """
    IR DenseVLAD | 0.0 / 0.1 / 22.8 | 0.0 / 1.0 / 19.4 | 7.6 / 31.2 / 91.2 | 1.0 / 4.4 / 22.7 | 14.7 / 36.3 / 83.9 \
| 5.3 / 18.7 / 73.9 | 5.2 / 19.1 / 62.0
    IR NetVLAD | 0.0 / 0.2 / 18.9 | 0.0 / 0.0 / 14.3 | 6.4 / 26.3 / 90.9 | 0.3 / 2.3 / 15.9 | 12.2 / 31.5 / 89.8 \
| 3.7 / 13.9 / 74.7 | 2.6 / 10.4 / 55.9
    IR Oracle | 0.0 / 0.2 / 22.1 | 0.0 / 1.0 / 22.4 | 9.6 / 38.1 / 96.3 | 4.3 / 16.4 / 84.9 | 21.2 / 52.2 / 98.2 \
| 8.6 / 29.5 / 94.3 | 8.2 / 31.5 / 90.2
    ESAC | 42.6 / 59.6 / 75.5 | 6.1 / 10.2 / 18.4 | - | - | - | - | -
    PixLoc | 64.3 / 69.3 / 77.4 | 51.0 / 55.1 / 67.3 | 52.7 / 77.5 / 93.9 | 12.0 / 20.7 / 45.4 | 88.3 / 90.4 / 93.7 \
| 79.6 / 81.1 / 85.2 | 61.0 / 62.5 / 69.4
    PixLoc + Oracle prior | 68.0 / 74.6 / 80.8 | 57.1 / 69.4 / 76.5 | 55.8 / 80.8 / 96.4 | 23.6 / 40.3 / 77.8 \
| 92.8 / 95.1 / 98.5 | 91.9 / 93.4 / 95.8 | 84.0 / 85.8 / 90.9
    AS | 85.3 / 92.2 / 97.9 | 39.8 / 49.0 / 64.3 | 50.9 / 80.2 / 96.6 | 6.9 / 15.6 / 31.7 | 81.0 / 87.3 / 92.4 \
| 62.6 / 70.9 / 81.0 | 45.5 / 51.6 / 62.0
    D2-Net | 84.3 / 91.9 / 96.2 | 75.5 / 87.8 / 95.9 | 54.5 / 80.0 / 95.3 | 20.4 / 40.1 / 55.0 | 94.0 / 97.7 / 99.1 \
| 93.0 / 95.7 / 98.3 | 89.2 / 93.2 / 95.0
    S2DNet | 84.5 / 90.3 / 95.3 | 74.5 / 82.7 / 94.9 | 53.9 / 80.6 / 95.8 | 14.5 / 40.2 / 69.7 | - | - | -
    hloc | 89.6 / 95.4 / 98.8 | 86.7 / 93.9 / 100. | 56.9 / 81.7 / 98.1 | 33.3 / 65.9 / 88.8 | 95.5 / 98.6 / 99.3 \
| 90.9 / 94.2 / 97.1 | 85.7 / 89.0 / 91.6
    hloc + PixLoc refine | 84.7 / 94.2 / 98.8 | 81.6 / 93.9 / 100. | 56.9 / 82.0 / 98.1 | 34.9 / 67.7 / 89.5 \
| 96.9 / 98.9 / 99.3 | 93.3 / 95.4 / 97.1 | 87.0 / 89.5 / 91.6
    """,
)
_PRIORS = {AACHEN: Prior.TOP3, ROBOTCAR_SEASONS: Prior.RETRIEVAL, CMU: Prior.RETRIEVAL}  # PixLoc, section 5.2

Report = Mapping[str, Any]
Localize = Callable[[Source, Present, str], Report]


def rows(run: BenchmarkRun) -> Iterator[TableRow]:
    """Rows of each extractor's map."""
    pixloc = open_pixloc(run)
    for method in run.extractors:
        yield from _rows_of(run, method, pixloc)


def _rows_of(run: BenchmarkRun, method: str, pixloc: PyramidExtractor) -> Iterator[TableRow]:
    """Rows of priors, alignments, the localizer and its refinement, with their submissions."""

    def from_prior(source: Source, part: Present, split: str) -> Report:
        return aligned(run, method, part, split, _PRIORS[source], pixloc)

    def from_oracle(source: Source, part: Present, split: str) -> Report:
        return aligned(run, method, part, split, Prior.ORACLE, pixloc)

    def localized(source: Source, part: Present, split: str) -> Report:
        return run.localized(method, part, split)

    def refined(source: Source, part: Present, split: str) -> Report:
        return aligned(run, method, part, split, None, pixloc)

    yield _row(run, f"IR ({method})", lambda *of: _of_prior(from_prior(*of)))
    yield _row(run, f"IR Oracle ({method})", lambda *of: _of_prior(from_oracle(*of)))
    yield _row(run, f"PixLoc ({method})", from_prior, f"{method}_pixloc")
    yield _row(run, f"PixLoc + Oracle prior ({method})", from_oracle, f"{method}_pixloc_oracle")
    yield _row(run, f"localizer ({method})", localized, method)
    yield _row(run, f"localizer ({method}) + PixLoc refine", refined, f"{method}_pixloc_refined")


def _of_prior(report: Report) -> Report:
    """Report with the figures of the priors."""
    return {**report, **report["unrefined"]}


def _row(run: BenchmarkRun, name: str, localize: Localize, submitted_as: str = "") -> TableRow:
    """Row of a method, and its submissions if they have a name."""
    reports: dict[str, list[Report]] = {}
    submissions: list[str] = []
    for source in _PRIORS:
        localized = [
            (part, split, localize(source, part, split))
            for part in run.present(source)
            for split in conditions(source, part)
        ]
        for part, split, report in localized:
            reports.setdefault(_column(source, part, split), []).append(report)
        if submitted_as:
            submissions += write_submission(
                run, source, submitted_as, [(part, report) for part, _, report in localized]
            )
    figures = {key: combined(found) for key, found in reports.items()}
    cells = {key: recalls(found["recall"]) for key, found in figures.items() if found["recall"]}
    weights = ", ".join(dict.fromkeys(report["weights"] for found in reports.values() for report in found))
    return TableRow(name, cells, figures=figures, weights=weights, submissions=submissions)


def _column(source: Source, part: Present, split: str) -> str:
    if source is ROBOTCAR_SEASONS:
        return "robotcar_night" if "night" in split else "robotcar_day"
    return table_column(source, part, split)


PIXLOC_TABLE2 = PaperTable(
    "pixloc-table2",
    "Large-scale localization",
    "PixLoc, Table 2",
    COLUMNS,
    PAPERS,
    (AACHEN, ROBOTCAR_SEASONS, CMU),
    rows,
    "Recall [%] at 0.25 / 0.5 / 5 m and 2 / 5 / 10 deg. IR is the prior of PixLoc: the weighted average of three "
    "keyframes for Aachen, the most similar one for the others. Oracle is the retrieved keyframe with the most inliers "
    "of the localizer. Where ground truth is private, our cell is empty and there is a file to submit. Our recalls of "
    "RobotCar are those of the training images of version 2, of CMU those of training slices.",
)
