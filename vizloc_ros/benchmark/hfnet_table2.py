"""HF-Net, Table 2: homographies and matches of local descriptors."""

from collections.abc import Iterator

from vizloc_ros.benchmark.benchmark_run import BenchmarkRun
from vizloc_ros.benchmark.paper_table import Column, PaperTable, TableRow, paper_rows
from vizloc_ros.benchmark.planar_matching import NO_SFM, SETUP, planar_matching
from vizloc_ros.benchmark.sources import HPATCHES

COLUMNS = (
    Column("hpatches_homography", "HPatches Homography"),
    Column("hpatches_ms", "HPatches MS"),
    Column("hpatches_map", "HPatches mAP"),
    Column("sfm_pose", "SfM Pose"),
    Column("sfm_ms", "SfM MS"),
    Column("sfm_map", "SfM mAP"),
)
PAPERS = paper_rows(
    COLUMNS,
    """
    Root-SIFT | 0.681 | 0.307 | 0.651 | 0.700 | 0.199 | 0.236
    LF-Net | 0.629 | 0.305 | 0.572 | 0.676 | 0.221 | 0.207
    SuperPoint | 0.810 | 0.441 | 0.846 | 0.794 | 0.418 | 0.488
    Harris / SuperPoint | 0.669 | 0.448 | 0.737 | 0.684 | 0.404 | 0.397
    SuperPoint / DOAP | - | - | - | 0.838 | 0.448 | 0.554
    SuperPoint / NetVLAD | 0.788 | 0.419 | 0.798 | 0.800 | 0.374 | 0.423
    """,
)


def rows(run: BenchmarkRun) -> Iterator[TableRow]:
    """Row of each extractor's keypoints and descriptors."""
    for method, extractor in run.extractors.items():
        found = planar_matching(run, method)
        cells = {
            "hpatches_homography": f"{found['homography']['3px']:.3f}",
            "hpatches_ms": f"{found['matching_score']:.3f}",
            "hpatches_map": f"{found['map']:.3f}",
        }
        yield TableRow(method, cells, figures={"hpatches": found}, weights=extractor.feature_id)


HFNET_TABLE2 = PaperTable(
    "hfnet-table2",
    "Evaluation of the local descriptors",
    "HF-Net, Table 2",
    COLUMNS,
    PAPERS,
    (HPATCHES,),
    rows,
    "Ratio of right homographies (corners within 3 px), matching score (MS) and mean average precision (mAP). "
    f"{SETUP} {NO_SFM}",
)
