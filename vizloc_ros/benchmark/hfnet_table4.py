"""HF-Net, Table 4: ablation of global descriptors and local features."""

from collections.abc import Iterator

from vizloc_ros.benchmark.benchmark_run import BenchmarkRun
from vizloc_ros.benchmark.mixed_map import mix_maps
from vizloc_ros.benchmark.paper_table import Column, PaperTable, TableRow, paper_rows, recalls
from vizloc_ros.benchmark.sources import AACHEN, KITTI00
from vizloc_ros.benchmark.submission_files import write_submission

COLUMNS = (Column("aachen_day", "Aachen day"), Column("aachen_night", "Aachen night"), Column("kitti00", "kitti00"))
PAPERS = paper_rows(
    COLUMNS,
    """
    NV+SP | 79.7 / 88.0 / 93.7 | 40.8 / 56.1 / 74.5 | -
    NV+HF-Net | 81.2 / 88.2 / 94.2 | 40.8 / 56.1 / 76.5 | -
    NV+DOAP | 80.0 / 88.5 / 93.3 | 34.7 / 52.0 / 72.4 | -
    HF-Net | 75.7 / 84.3 / 90.9 | 40.8 / 55.1 / 72.4 | -
    """,
)
_SPLITS = ((AACHEN, ("day", "night")), (KITTI00, ("query",)))


def rows(run: BenchmarkRun) -> Iterator[TableRow]:
    """Row of each pair of extractors: global descriptors of one, local features of the other."""
    for of_global in run.extractors:
        for of_local in run.extractors:
            yield _row(run, of_global, of_local)


def _row(run: BenchmarkRun, of_global: str, of_local: str) -> TableRow:
    method = of_local if of_global == of_local else f"{of_global}+{of_local}"
    figures, weights, submissions = {}, "", []
    for source, splits in _SPLITS:
        for part in run.present(source):
            visual_map = run.visual_map(of_local, part)
            if of_global != of_local:
                visual_map = mix_maps(run.visual_map(of_global, part), visual_map)
            reports = [(part, run.localized_in(visual_map, method, part, split)) for split in splits]
            for split, (_, report) in zip(splits, reports, strict=True):
                figures[source.key if split == "query" else f"{source.key}_{split}"] = report
                weights = report["weights"]
            if source.submission:
                submissions += write_submission(run, source, method, reports)
    cells = {key: recalls(found["recall"]) for key, found in figures.items() if found["recall"]}
    return TableRow(method, cells, figures=figures, weights=weights, submissions=submissions)


HFNET_TABLE4 = PaperTable(
    "hfnet-table4",
    "Ablation study",
    "HF-Net, Table 4",
    COLUMNS,
    PAPERS,
    (AACHEN, KITTI00),
    rows,
    "Recall [%] at 0.25 / 0.5 / 5 m (Aachen night: 0.5 / 1 / 5 m) and 2 / 5 / 10 deg. X+Y: global descriptors of X, "
    "local features of Y; rootsift's global descriptor is a VLAD, learned on the map. Poses of Aachen's queries are "
    "private, so there are files to submit; kitti00 is not in the paper.",
)
