"""PixLoc, Table 1: median errors on Cambridge Landmarks and 7-Scenes, by the prior of the alignment."""

import math
from collections.abc import Callable, Iterator, Mapping
from statistics import mean
from typing import Any

import numpy as np

from vizloc_ros.benchmark.alignments import aligned, open_pixloc
from vizloc_ros.benchmark.benchmark_run import BenchmarkRun
from vizloc_ros.benchmark.paper_table import MISSING, Column, PaperTable, TableRow, paper_rows
from vizloc_ros.benchmark.sources import CAMBRIDGE, SEVEN_SCENES, Present
from vizloc_ros.evaluation.prior_poses import Prior
from vizloc_ros.evaluation.recall import FINE, evaluate_poses, ground_truth
from vizloc_ros.evaluation.trajectories import read_visuallocalization
from vizloc_ros.readers import open_dataset

_CAMBRIDGE = {
    "GreatCourt": "Court",
    "KingsCollege": "King's",
    "OldHospital": "Hospital",
    "ShopFacade": "Shop",
    "StMarysChurch": "St. Mary's",
}
_SEVEN_SCENES = {
    "chess": "Chess",
    "fire": "Fire",
    "heads": "Heads",
    "office": "Office",
    "pumpkin": "Pumpkin",
    "redkitchen": "Kitchen",
    "stairs": "Stairs",
}
_RECALL = "recall"
COLUMNS = (
    *(Column(folder, title) for folder, title in (_CAMBRIDGE | _SEVEN_SCENES).items()),
    Column(_RECALL, "Recall"),
)
PAPERS = paper_rows(
    COLUMNS,
    """
    IR DenseVLAD | - | 280/5.7 | 401/7.1 | 111/7.6 | 231/8.0 | 21/12.5 | 33/13.8 | 15/14.9 | 28/11.2 | 31/11.3 \
| 30/12.3 | 25/15.8 | -
    IR Oracle | 207/7.0 | 137/7.2 | 323/8.3 | 133/7.8 | 204/8.1 | 16/12.3 | 26/13.6 | 12/14.7 | 20/11.5 | 19/14.0 \
| 18/15.0 | 17/18.1 | 0.17
    AS | 24/0.13 | 13/0.22 | 20/0.36 | 4/0.21 | 8/0.25 | 3/0.87 | 2/1.01 | 1/0.82 | 4/1.15 | 7/1.69 \
| 5/1.72 | 4/1.01 | 68.7
    InLoc | - | - | - | - | - | 3/1.05 | 3/1.07 | 2/1.16 | 3/1.05 | 5/1.55 | 4/1.31 | 9/2.47 | 66.3
    hloc | 16/0.11 | 12/0.20 | 15/0.30 | 4/0.20 | 7/0.21 | 2/0.85 | 2/0.94 | 1/0.75 | 3/0.92 | 5/1.30 \
| 4/1.40 | 5/1.47 | 73.1
    DSAC* | 49/0.3 | 15/0.3 | 21/0.4 | 5/0.3 | 13/0.4 | 2/1.10 | 2/1.24 | 1/1.82 | 3/1.15 | 4/1.34 | 4/1.68 \
| 3/1.16 | 85.2
    HACNet | 28/0.2 | 18/0.3 | 19/0.3 | 6/0.3 | 9/0.3 | 2/0.7 | 2/0.9 | 1/0.9 | 3/0.8 | 4/1.0 | 4/1.2 | 3/0.8 | 84.8
    CAMNet | - | - | - | - | - | 4/1.73 | 3/1.74 | 5/1.98 | 4/1.62 | 4/1.64 | 4/1.63 | 4/1.51 | -
    SANet | 328/1.95 | 32/0.54 | 32/0.53 | 10/0.47 | 16/0.57 | 3/0.88 | 3/1.08 | 2/1.48 | 3/1.00 | 5/1.32 \
| 4/1.40 | 16/4.59 | 68.2
    PixLoc | 30/0.14 | 14/0.24 | 16/0.32 | 5/0.23 | 10/0.34 | 2/0.80 | 2/0.73 | 1/0.82 | 3/0.82 | 4/1.21 \
| 3/1.20 | 5/1.30 | 75.7
    PixLoc + Oracle prior | 21/0.12 | 13/0.24 | 16/0.31 | 5/0.22 | 9/0.28 | 2/0.80 | 2/0.70 | 1/0.78 | 3/0.80 \
| 4/1.13 | 3/1.14 | 4/1.08 | 81.7
    """,
)

Report = Mapping[str, Any]


def rows(run: BenchmarkRun) -> Iterator[TableRow]:
    """Rows of each extractor's map: priors, localizer, and alignments from both priors."""
    pixloc = open_pixloc(run)
    scenes = _scenes(run)
    for method in run.extractors:
        localized = {key: run.localized(method, part, "query") for key, part in scenes.items()}
        of_prior = {
            prior: {key: aligned(run, method, part, "query", prior, pixloc) for key, part in scenes.items()}
            for prior in (Prior.RETRIEVAL, Prior.ORACLE)
        }
        for name, prior in (("IR", Prior.RETRIEVAL), ("IR Oracle", Prior.ORACLE)):
            yield _row(f"{name} ({method})", of_prior[prior], _of_priors)
        found = {
            "PixLoc": of_prior[Prior.RETRIEVAL],
            "PixLoc + Oracle prior": of_prior[Prior.ORACLE],
            "localizer": localized,
        }
        for name, reports in found.items():
            yield _row(f"{name} ({method})", reports, lambda key, report: _of_poses(run, scenes[key], report))


def _scenes(run: BenchmarkRun) -> dict[str, Present]:
    """Parts that are present and have a column, by its key, in the order of the columns."""
    found = {part.name.lower(): part for source in (CAMBRIDGE, SEVEN_SCENES) for part in run.present(source)}
    return {key: found[key.lower()] for key in _CAMBRIDGE | _SEVEN_SCENES if key.lower() in found}


Errors = tuple[float, float, float | None]  # medians [m] and [deg], and recall at 5 cm and 5 deg


def _of_priors(key: str, report: Report) -> Errors:
    priors = report["unrefined"]
    return priors["median_translation_m"], priors["median_rotation_deg"], None


def _of_poses(run: BenchmarkRun, part: Present, report: Report) -> Errors:
    """Errors of all queries, also of those without a pose, which are infinitely wrong."""
    truth = ground_truth(run.chosen(open_dataset(part.spec).records("query")))
    errors = evaluate_poses(read_visuallocalization(run.out / report["poses"]), truth).errors
    lost = [math.inf] * (len(truth) - len(errors))
    fine = sum(error.within(FINE) for error in errors.values()) / len(truth)
    return (
        float(np.median([*(error.translation_m for error in errors.values()), *lost])),
        float(np.median([*(error.rotation_deg for error in errors.values()), *lost])),
        fine,
    )


def _row(name: str, reports: Mapping[str, Report], errors_of: Callable[[str, Report], Errors]) -> TableRow:
    """Row with a cell for each scene, and the mean recall of 7-Scenes."""
    errors = {key: errors_of(key, report) for key, report in reports.items()}
    cells = {key: _cell(*found[:2]) for key, found in errors.items()}
    recalls = [fine for key, (_, _, fine) in errors.items() if key in _SEVEN_SCENES and fine is not None]
    if recalls:
        cells[_RECALL] = f"{100 * mean(recalls):.1f}"
    figures = {
        key: {"median_translation_m": found[0], "median_rotation_deg": found[1], "recall_5cm_5deg": found[2]}
        for key, found in errors.items()
    }
    weights = ", ".join(dict.fromkeys(report["weights"] for report in reports.values()))
    return TableRow(name, cells, figures=figures, weights=weights)


def _cell(meters: float, degrees: float) -> str:
    return f"{100 * meters:.0f}/{degrees:.2f}" if math.isfinite(meters) else MISSING


PIXLOC_TABLE1 = PaperTable(
    "pixloc-table1",
    "Localization on Cambridge Landmarks and 7-Scenes",
    "PixLoc, Table 1",
    COLUMNS,
    PAPERS,
    (CAMBRIDGE, SEVEN_SCENES),
    rows,
    "Median errors [cm/deg], and the mean recall [%] of the scenes of 7-Scenes at 5 cm and 5 deg. IR is the pose of "
    "the most similar keyframe, Oracle that of the retrieved one with the most inliers of the localizer. A query "
    "without a pose counts as infinitely wrong. The paper's landmarks of 7-Scenes come from depth maps, ours from "
    "triangulation.",
)
