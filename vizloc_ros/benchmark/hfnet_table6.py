"""HF-Net, Table 6 (appendix C): statistics of the 3D models."""

import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pycolmap

from vizloc_ros.benchmark.benchmark_run import BenchmarkRun
from vizloc_ros.benchmark.hfnet_table3 import table_column
from vizloc_ros.benchmark.paper_table import Column, PaperTable, TableRow, paper_rows
from vizloc_ros.benchmark.sources import AACHEN, CMU, KITTI00, ROBOTCAR_SEASONS, Present
from vizloc_ros.mapping.map_format import INFO_FILE
from vizloc_ros.mapping.visual_map import MODEL_FOLDER, VisualMap

COLUMNS = (
    Column("landmarks", "3D points"),
    Column("keypoints_per_image", "Keypoints per image"),
    Column("matched", "Matched keypoints [%]"),
    Column("track_length", "Track length"),
    Column("observations_per_image", "Observations per image"),
    Column("reprojection_error_px", "Reprojection error [px]"),
)
PAPERS = paper_rows(
    COLUMNS,
    """
    Aachen | SIFT | 1,900k | 10,230 | 18.8 | 5.85 | - | -
    Aachen | HF-Net | 685k | 2,576 | 33.8 | 5.87 | - | -
    RobotCar | SIFT | 6,869k | 4,409 | 39.4 | 5.34 | - | -
    RobotCar | HF-Net | 2,525k | 970 | 59.9 | 4.71 | - | -
    CMU | SIFT | 961k | - | - | 4.11 | - | -
    CMU | HF-Net | 553k | 1,446 | 45.3 | 4.95 | - | -
    """,
    grouped=True,
)
_GROUPS = ((AACHEN, "Aachen"), (ROBOTCAR_SEASONS, "RobotCar"), (CMU, "CMU"), (KITTI00, "kitti00"))


def rows(run: BenchmarkRun) -> Iterator[TableRow]:
    """Row of each dataset and each extractor; the slices of CMU together, without those of the park."""
    for source, group in _GROUPS:
        parts = [part for part in run.present(source) if table_column(source, part, "") != "cmu_park"]
        for method in run.extractors if parts else ():
            found = [_model_figures(run, method, part) for part in parts]
            figures = combined_models(found)
            cells = {
                "landmarks": f"{figures['landmarks'] / 1000:,.1f}k",
                "keypoints_per_image": f"{figures['keypoints_per_image']:,.0f}",
                "matched": f"{100 * figures['matched_keypoints']:.1f}",
                "track_length": f"{figures['track_length']:.2f}",
                "observations_per_image": f"{figures['observations_per_image']:,.0f}",
                "reprojection_error_px": f"{figures['reprojection_error_px']:.2f}",
            }
            weights = ", ".join(dict.fromkeys(of_part["weights"] for of_part in found))
            yield TableRow(method, cells, group, {group: figures}, weights)


def _model_figures(run: BenchmarkRun, method: str, part: Present) -> dict[str, Any]:
    visual_map = run.visual_map(method, part)
    origin = {"map": f"{zlib.crc32((visual_map.folder / INFO_FILE).read_bytes()):08x}"}
    return run.kept(method, f"{part.name}-model", origin, lambda: model_figures(visual_map))


def model_figures(visual_map: VisualMap) -> dict[str, Any]:
    """Counts of a map's COLMAP model, mean reprojection error [px], size of the map, and ``weights``."""
    model = pycolmap.Reconstruction(visual_map.folder / MODEL_FOLDER)
    info = visual_map.info
    return {
        "num_images": info.keyframes,
        "landmarks": info.landmarks,
        "observations": info.observations,
        "keypoints": sum(len(image.points2D) for image in model.images.values()),
        "reprojection_error_px": float(info.build["mean_reprojection_error_px"]),
        "map_bytes_per_keyframe": info.bytes / info.keyframes,
        "weights": info.extractor.feature_id,
    }


def combined_models(models: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Statistics of several models together; the reprojection error and the size are weighted means."""
    counts = {key: sum(m[key] for m in models) for key in ("num_images", "landmarks", "observations", "keypoints")}
    images, observations = [m["num_images"] for m in models], [m["observations"] for m in models]
    return {
        **counts,
        "keypoints_per_image": counts["keypoints"] / counts["num_images"],
        "observations_per_image": counts["observations"] / counts["num_images"],
        "matched_keypoints": counts["observations"] / counts["keypoints"],
        "track_length": counts["observations"] / counts["landmarks"],
        "reprojection_error_px": float(np.average([m["reprojection_error_px"] for m in models], weights=observations)),
        "map_bytes_per_keyframe": float(np.average([m["map_bytes_per_keyframe"] for m in models], weights=images)),
    }


HFNET_TABLE6 = PaperTable(
    "hfnet-table6",
    "Statistics of the 3D models",
    "HF-Net, Table 6",
    COLUMNS,
    PAPERS,
    (AACHEN, ROBOTCAR_SEASONS, CMU, KITTI00),
    rows,
    "Number of 3D points, mean number of keypoints of an image, ratio of the keypoints that observe a point, and mean "
    "number of observations of a point. RobotCar: the rear camera alone, all three in the paper. The last two columns "
    "and kitti00 are not in the paper.",
)
