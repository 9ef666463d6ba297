"""HF-Net, Table 1: repeatability and localization error of keypoint detectors."""

from collections.abc import Iterator

from vizloc_ros.benchmark.benchmark_run import BenchmarkRun
from vizloc_ros.benchmark.paper_table import MISSING, Column, PaperTable, TableRow, paper_rows
from vizloc_ros.benchmark.planar_matching import NO_SFM, SETUP, planar_matching
from vizloc_ros.benchmark.sources import HPATCHES

COLUMNS = (
    Column("hpatches_rep", "HPatches Rep."),
    Column("hpatches_mle", "HPatches MLE"),
    Column("sfm_rep", "SfM Rep."),
    Column("sfm_mle", "SfM MLE"),
)
PAPERS = paper_rows(
    COLUMNS,
    """
    DoG | 0.307 | 0.94 | 0.284 | 1.20
    Harris | 0.535 | 1.14 | 0.510 | 1.46
    SuperPoint | 0.495 | 1.04 | 0.509 | 1.45
    LF-Net | 0.460 | 1.13 | 0.454 | 1.44
    """,
)


def rows(run: BenchmarkRun) -> Iterator[TableRow]:
    """Row of each extractor's detector."""
    for method, extractor in run.extractors.items():
        found = planar_matching(run, method)
        error = found["localization_error_px"]
        cells = {
            "hpatches_rep": f"{found['repeatability']:.3f}",
            "hpatches_mle": MISSING if error is None else f"{error:.2f}",
        }
        yield TableRow(method, cells, figures={"hpatches": found}, weights=extractor.feature_id)


HFNET_TABLE1 = PaperTable(
    "hfnet-table1",
    "Evaluation of the keypoint detectors",
    "HF-Net, Table 1",
    COLUMNS,
    PAPERS,
    (HPATCHES,),
    rows,
    f"Repeatability (Rep., a ratio) and mean localization error (MLE, in pixels). {SETUP} {NO_SFM}",
)
