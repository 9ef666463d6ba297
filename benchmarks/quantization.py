"""Accuracy of int8 descriptors: matching and localization with them and with float32 descriptors, in one run.

The code is the same in both cases; for float32, extractors do not quantize, and the map stores float32.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
from measure import Cell, Table

from vizloc_ros.datasets.homographies import open_homographies
from vizloc_ros.datasets.record import every as every_nth
from vizloc_ros.errors import DatasetError
from vizloc_ros.evaluation.homography_matching import evaluate_extractor
from vizloc_ros.evaluation.matching_metrics import HOMOGRAPHY_THRESHOLDS_PX
from vizloc_ros.evaluation.offline_localization import localize_records
from vizloc_ros.evaluation.recall import evaluate_poses, ground_truth
from vizloc_ros.features import onnx_features, rootsift
from vizloc_ros.features.device import Device
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.features.hfnet import runtime
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.mapping import check, map_writer, visual_map
from vizloc_ros.mapping.builder import build_map
from vizloc_ros.mapping.visual_map import ARRAYS, VisualMap
from vizloc_ros.readers import open_dataset

_DATA = Path(os.environ.get("VIZLOC_DATA", Path(__file__).parents[1] / "../shared/data"))
_KINDS = ("float32", "int8")
_KEYPOINTS = 1000
_MAP_STEPS = (1, 8)  # the whole map, and one with so few keyframes that localization is hard


def benchmark(out: Path, extractor: str = "hfnet", every: int = 1) -> list[Table]:
    """Measure matching on oxford_affine and localization on kitti00.

    Args:
        out: folder for temporary maps.
        extractor: name as for ``open_extractor``.
        every: keep every N-th query of kitti00, and every N-th pair of oxford_affine.
    """
    localization = [_localization_table(out, extractor, step, every) for step in _MAP_STEPS]
    return [_matching_table(extractor, every), *localization]


@contextmanager
def descriptors_as(kind: str) -> Iterator[None]:
    """Set the type of descriptors of extractors and maps inside the block; ``dequantize`` reads both types."""
    with ExitStack() as stack:
        if kind == "float32":
            as_float = {**ARRAYS, "observation_descriptors": (np.float32, ARRAYS["observation_descriptors"][1])}
            for module in (runtime, onnx_features, rootsift):
                stack.enter_context(patch.object(module, "quantize", lambda descriptors: descriptors))
            for module in (check, map_writer, visual_map):
                stack.enter_context(patch.object(module, "ARRAYS", as_float))
        yield


def _folder(name: str) -> Path:
    if not (_DATA / name).is_dir():
        raise DatasetError(f"{_DATA / name}: not there; set VIZLOC_DATA to the folder that holds {name}")
    return _DATA / name


def _matching_table(extractor: str, every: int) -> Table:
    pairs = open_homographies(f"oxford:{_folder('oxford_affine')}")[::every]
    figures = []
    for kind in _KINDS:
        with descriptors_as(kind):
            runs = evaluate_extractor(open_extractor(extractor), pairs, [_KEYPOINTS])
        overall = runs[_KEYPOINTS].overall
        figures.append(
            {
                "matches": overall.matches,
                "MMA@3 [%]": 100 * overall.mma_at(3),
                "matching score [%]": 100 * overall.matching_score,
                "mAP [%]": 100 * overall.mean_average_precision,
                "homography within 3 px [%]": 100 * overall.homography[HOMOGRAPHY_THRESHOLDS_PX.index(3)],
            }
        )
    notes = [f"{extractor}, {len(pairs)} pairs, {_KEYPOINTS} keypoints."]
    return _compared("int8 descriptors: matching on oxford_affine", figures, notes)


def _localization_table(out: Path, extractor: str, map_every: int, every: int) -> Table:
    dataset = open_dataset(f"folder:{_folder('kitti00')}")
    mapped, queries = every_nth(dataset.records("map"), map_every), every_nth(dataset.records("query"), every)
    truth = ground_truth(queries)
    figures = []
    for kind in _KINDS:
        with descriptors_as(kind), TemporaryDirectory(dir=out) as folder:
            opened = open_extractor(extractor, device=Device(threads=1))  # images are processed in parallel
            report = build_map(mapped, opened, Path(folder) / "map", dataset=dataset.name)
            built = VisualMap.open(Path(folder) / "map")
            run = localize_records(queries, built, HierarchicalLocalizer(built))
        poses = evaluate_poses(run.estimates, truth)
        figures.append(
            {
                **{f"recall {tolerance} [%]": 100 * ratio for tolerance, ratio in poses.recall.items()},
                "median error [mm]": 1e3 * (poses.median_translation_m or np.nan),
                "median error [deg]": poses.median_rotation_deg or np.nan,
                "matches, median": float(np.median([outcome.matches for outcome in run.outcomes.values()])),
                "inliers, median": float(np.median([outcome.inliers for outcome in run.outcomes.values()])),
                "landmarks": float(report.landmarks),
                "local descriptors of a keyframe [kB]": built.observation_descriptors.nbytes / 1e3 / len(mapped),
            }
        )
    notes = [f"{extractor}; {len(mapped)} mapped images, {len(queries)} queries; maps built and queries localized so."]
    return _compared(f"int8 descriptors: kitti00, 1 of {map_every} images mapped", figures, notes)


def _compared(title: str, figures: Sequence[dict[str, float]], notes: Sequence[str]) -> Table:
    before, after = figures
    rows: list[list[Cell]] = [[name, before[name], after[name], after[name] - before[name]] for name in before]
    return Table(title, ("", *_KINDS, "difference"), rows, notes)
