"""HF-Net, Table 3: recalls of localization by condition, on Aachen, RobotCar Seasons and CMU Seasons."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vizloc_ros.benchmark.benchmark_run import BenchmarkRun
from vizloc_ros.benchmark.paper_table import Column, PaperTable, TableRow, paper_rows, recalls
from vizloc_ros.benchmark.sources import AACHEN, CMU, ROBOTCAR_SEASONS, Present, Source
from vizloc_ros.benchmark.submission_files import write_submission
from vizloc_ros.evaluation.recall import TOLERANCES
from vizloc_ros.readers import open_dataset

COLUMNS = (
    Column("aachen_day", "Aachen day"),
    Column("aachen_night", "Aachen night"),
    Column("robotcar_dusk", "RobotCar dusk"),
    Column("robotcar_sun", "RobotCar sun"),
    Column("robotcar_night", "RobotCar night"),
    Column("robotcar_night-rain", "RobotCar night-rain"),
    Column("cmu_urban", "CMU urban"),
    Column("cmu_suburban", "CMU suburban"),
)
PAPERS = paper_rows(
    COLUMNS,
    """
    AS | 57.3 / 83.7 / 96.6 | 19.4 / 30.6 / 43.9 | 44.7 / 74.6 / 95.9 | 25.0 / 46.5 / 69.1 | 0.5 / 1.1 / 3.4 \
| 1.4 / 3.0 / 5.2 | 55.2 / 60.3 / 65.1 | 20.7 / 25.9 / 29.9
    CSL | 52.3 / 80.0 / 94.3 | 24.5 / 33.7 / 49.0 | 56.6 / 82.7 / 95.9 | 28.0 / 47.0 / 70.4 | 0.2 / 0.9 / 5.3 \
| 0.9 / 4.3 / 9.1 | 36.7 / 42.0 / 53.1 | 8.6 / 11.7 / 21.1
    DenseVLAD | 0.0 / 0.1 / 22.8 | 0.0 / 2.0 / 14.3 | 10.2 / 38.8 / 94.2 | 5.7 / 16.3 / 80.2 | 0.9 / 3.4 / 19.9 \
| 1.1 / 5.5 / 25.5 | 22.2 / 48.7 / 92.8 | 9.9 / 26.6 / 85.2
    NetVLAD | 0.0 / 0.2 / 18.9 | 0.0 / 2.0 / 12.2 | 7.4 / 29.7 / 92.9 | 5.7 / 16.5 / 86.7 | 0.2 / 1.8 / 15.5 \
| 0.5 / 2.7 / 16.4 | 17.4 / 40.3 / 93.2 | 7.7 / 21.0 / 80.5
    SMC | - | - | (53.8 / 83.0 / 97.7) | (46.7 / 74.6 / 95.9) | (6.2 / 18.5 / 44.3) \
| (8.0 / 26.4 / 46.4) | 75.0 / 82.1 / 87.8 | 44.0 / 53.6 / 63.7
    NV+SIFT | 82.8 / 88.1 / 93.1 | 30.6 / 43.9 / 58.2 | 55.6 / 83.5 / 95.3 | 46.3 / 67.4 / 90.9 | 4.1 / 9.1 / 24.4 \
| 2.3 / 10.2 / 20.5 | 63.9 / 71.9 / 92.8 | 28.7 / 39.0 / 82.1
    NV+SP | 79.7 / 88.0 / 93.7 | 40.8 / 56.1 / 74.5 | 54.8 / 83.0 / 96.2 | 51.7 / 73.9 / 92.4 | 6.6 / 17.1 / 32.2 \
| 5.2 / 17.0 / 26.6 | 91.7 / 94.6 / 97.7 | 74.6 / 81.6 / 91.4
    HF-Net | 75.7 / 84.3 / 90.9 | 40.8 / 55.1 / 72.4 | 53.9 / 81.5 / 94.2 | 48.5 / 69.1 / 85.7 | 2.7 / 6.6 / 15.8 \
| 4.7 / 16.8 / 21.8 | 90.4 / 93.1 / 96.1 | 71.8 / 78.2 / 87.1
    """,
)
_NOT_CONDITIONS = ("map", "query", "posed", "train", "test")
_URBAN, _SUBURBAN = range(2, 9), range(9, 18)  # slices; the paper's CMU Seasons has 9, 10 and 17 of the suburban ones

Report = Mapping[str, Any]


def rows(run: BenchmarkRun) -> Iterator[TableRow]:
    """Row of each extractor, and its submissions."""
    for method in run.extractors:
        reports: dict[str, list[Report]] = {}
        submissions: list[str] = []
        for source in (AACHEN, ROBOTCAR_SEASONS, CMU):
            localized = []
            for part in run.present(source):
                for split in conditions(source, part):
                    localized.append((part, run.localized(method, part, split)))
                    reports.setdefault(table_column(source, part, split), []).append(localized[-1][1])
            submissions += write_submission(run, source, method, localized)
        figures = {key: combined(found) for key, found in reports.items()}
        cells = {key: recalls(found["recall"]) for key, found in figures.items() if found["recall"]}
        weights = ", ".join(dict.fromkeys(report["weights"] for found in reports.values() for report in found))
        yield TableRow(method, cells, figures=figures, weights=weights, submissions=submissions)


def conditions(source: Source, part: Present) -> list[str]:
    """Splits of a part to localize: all conditions, or all queries where there are none; slices of CMU are whole."""
    splits = open_dataset(part.spec).splits
    named = [split for split in splits if split not in _NOT_CONDITIONS]
    return ["query"] if source is CMU or not named else named


def table_column(source: Source, part: Present, split: str) -> str:
    """Key of the column, or of figures that have none, such as ``robotcar_snow`` and ``cmu_park``."""
    if source is not CMU:
        return f"{source.key.partition('-')[0]}_{split}"
    number = re.search(r"\d+$", part.name)
    slice_number = int(number[0]) if number else 0
    return f"cmu_{'urban' if slice_number in _URBAN else 'suburban' if slice_number in _SUBURBAN else 'park'}"


def combined(reports: Sequence[Report]) -> dict[str, Any]:
    """Figures of several reports of ``BenchmarkRun.localized`` together; ``recall`` is of the images with truth."""
    posed = sum(report["num_posed"] for report in reports)
    recall = {
        str(tolerance): sum(r["recall"][str(tolerance)] * r["num_posed"] for r in reports if r["num_posed"]) / posed
        for tolerance in TOLERANCES
        if posed
    }
    counts = {key: sum(report[key] for report in reports) for key in ("num_images", "num_poses", "num_failed")}
    return {**counts, "num_posed": posed, "recall": recall}


HFNET_TABLE3 = PaperTable(
    "hfnet-table3",
    "Evaluation of the localization",
    "HF-Net, Table 3",
    COLUMNS,
    PAPERS,
    (AACHEN, ROBOTCAR_SEASONS, CMU),
    rows,
    "Recall [%] at 0.25 / 0.5 / 5 m (Aachen night: 0.5 / 1 / 5 m) and 2 / 5 / 10 deg. In brackets: trained with labels "
    "of the queries. Where ground truth is private, our cell is empty and there is a file to submit. Our recalls of "
    "RobotCar are those of the training images of version 2, of CMU those of the training slices of Extended CMU "
    "Seasons; the paper's are of version 1 and of CMU Seasons.",
)
