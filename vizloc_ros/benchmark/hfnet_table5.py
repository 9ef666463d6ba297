"""HF-Net, Table 5: milliseconds of each stage of the localization."""

from collections.abc import Iterator

from vizloc_ros.benchmark.benchmark_run import BenchmarkRun
from vizloc_ros.benchmark.paper_table import Column, PaperTable, TableRow, paper_rows
from vizloc_ros.benchmark.sources import AACHEN, KITTI00, ROBOTCAR_SEASONS
from vizloc_ros.readers import open_dataset

COLUMNS = (
    Column("extract", "Features"),
    Column("retrieve", "Global"),
    Column("cluster", "Covis."),
    Column("match", "Local"),
    Column("pose", "PnP"),
    Column("total", "Total"),
)
PAPERS = paper_rows(
    COLUMNS,
    """
    Aachen day | AS | 263 | - | - | - | 112 | 375
    Aachen day | NV+SIFT | 92+263 | 7 | 8 | 1220 | 29 | 1356
    Aachen day | NV+SP | 92+26 | 7 | 5 | 9 | 9 | 148
    Aachen day | HF-Net | 15 | 7 | 5 | 9 | 9 | 45
    Aachen night | AS | 263 | - | - | - | 132 | 395
    Aachen night | NV+SIFT | 92+263 | 7 | 8 | 1492 | 56 | 1655
    Aachen night | NV+SP | 92+26 | 7 | 5 | 10 | 18 | 158
    Aachen night | HF-Net | 15 | 7 | 5 | 10 | 18 | 55
    RobotCar dusk | AS | 189 | - | - | - | 283 | 472
    RobotCar dusk | NV+SIFT | 92+189 | 13 | 3 | 264 | 14 | 575
    RobotCar dusk | NV+SP | 92+26 | 13 | 1 | 3 | 4 | 139
    RobotCar dusk | HF-Net | 15 | 13 | 1 | 3 | 4 | 36
    RobotCar night | AS | 189 | - | - | - | 1021 | 1210
    RobotCar night | NV+SIFT | 92+189 | 13 | 3 | 389 | 149 | 835
    RobotCar night | NV+SP | 92+26 | 13 | 1 | 6 | 38 | 176
    RobotCar night | HF-Net | 15 | 13 | 1 | 6 | 38 | 73
    """,
    grouped=True,
)
_SETS = (
    (AACHEN, "day", "Aachen day"),
    (AACHEN, "night", "Aachen night"),
    (ROBOTCAR_SEASONS, "dusk", "RobotCar dusk"),
    (ROBOTCAR_SEASONS, "night", "RobotCar night"),
    (KITTI00, "query", "kitti00"),
)


def rows(run: BenchmarkRun) -> Iterator[TableRow]:
    """Row of each set of queries and each extractor."""
    for source, split, group in _SETS:
        for part in run.present(source):
            if split not in open_dataset(part.spec).splits:
                continue
            for method in run.extractors:
                report = run.localized(method, part, split)
                timings = report["timings_ms"]
                cells = {c.key: f"{timings[c.key]['p50']:.1f}" for c in COLUMNS if c.key in timings}
                yield TableRow(method, cells, group, {group: report}, report["weights"])


HFNET_TABLE5 = PaperTable(
    "hfnet-table5",
    "Timings of the localization",
    "HF-Net, Table 5",
    COLUMNS,
    PAPERS,
    (AACHEN, ROBOTCAR_SEASONS, KITTI00),
    rows,
    "Milliseconds of feature extraction, global search, covisibility clustering, local matching, PnP, and in total. "
    "Ours are medians on the machine below, one image at a time; reading and rectifying is not included. The "
    "paper used a Core i7-7820X with a GeForce GTX 1080. kitti00 is not in the paper.",
)
