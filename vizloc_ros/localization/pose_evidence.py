"""Evidence for and against a pose, and the probability that it is right (not in the HF-Net paper).

A number of inliers alone says little: twenty in one corner of an image fit many poses, and similar facades give a
hundred. Together with what else can be measured, it says more. A logistic model of it was fitted to poses, right and
wrong ones, in worlds that no evaluation of single cameras uses; its file says which. How exact a right pose is, the
covariance says.

Further landmarks take the longest to look at, and only ever speak for a pose. So one that is probable enough without
them, or with some of them, is not asked for more.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import exp, log

import numpy as np
from pycolmap import Rigid3d
from pydantic import BaseModel, ConfigDict

from vizloc_ros.arrays import Float64
from vizloc_ros.bounded import load_yaml
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import transform_points

_MODEL = "pose_probability.yaml"
FURTHER = (8, 1)  # every N-th of the further observations, until a pose is probable enough
_CELLS = (8, 6)  # columns and rows of the grid in which inliers are counted
_DEEPEST = 3.0  # ratio of depths from which a larger one says no more: a few far inliers make it
_FEWEST_NEAR = 20  # landmarks near a keypoint; of fewer, the ratio that is alike says little
_THINNEST = 0.01  # below, inliers are as flat as the map is exact


@dataclass(frozen=True)
class PoseEvidence:
    """Measurements that speak for or against a pose.

    Attributes:
        matches: matches in the place.
        inliers: matches that agree with the pose.
        rms: RMS reprojection error of the inliers, as a ratio of the largest one that an inlier may have.
        cells: number of the cells of a grid over the image that have an inlier; few if all are in one corner.
        depths: ratio of a large depth of the inliers and a small one; about 1 if all are on one wall, or beside the
            vehicle on the road.
        thickness: extent of the inliers across the plane that fits them, as a ratio of the smaller one in it; small if
            all are on the road, or on one wall, and so easily like another one. Those along one line look thick.
        near: landmarks of the place that project near a keypoint; where there are many, more are alike by chance.
        alike: those among them whose keypoint looks like the landmark; of a wrong pose, few do.
        further: support by landmarks that the pose was not found with, 0 or more.
    """

    matches: int
    inliers: int
    rms: float
    cells: int
    depths: float
    thickness: float
    near: int
    alike: int
    further: float

    @property
    def terms(self) -> dict[str, float]:
        """Terms of a logistic model by name."""
        near = max(self.near, _FEWEST_NEAR)
        return {
            "inlier_ratio": self.inliers / max(self.matches, 1),
            "rms": self.rms,
            "cells_ratio": self.cells / (_CELLS[0] * _CELLS[1]),
            "log_depths": log(min(max(self.depths, 1.0), _DEEPEST)),
            "log_thickness": log(max(self.thickness, _THINNEST)),
            "log_near": log(near),
            "alike_ratio": self.alike / near,
            "log_further": log(1 + self.further),
        }


def filled_cells(pixels: Float64, camera: PinholeCamera) -> int:
    """Number of the cells of a grid over the image that have at least one of (N, 2) pixels."""
    columns, rows = _CELLS
    x = (pixels[:, 0] * columns / camera.width).astype(np.int64).clip(0, columns - 1)
    y = (pixels[:, 1] * rows / camera.height).astype(np.int64).clip(0, rows - 1)
    return int(np.count_nonzero(np.bincount(y * columns + x)))


def depth_ratio(cam_from_map: Rigid3d, positions: Float64) -> float:
    """Ratio of the depths [m] that nine and one of ten (N, 3) positions in the map are below; 1 if it is not known."""
    depths = transform_points(cam_from_map, positions)[:, 2]
    small, large = _quantiles(depths, (0.1, 0.9)) if len(depths) else (0.0, 0.0)
    return float(large / small) if small > 0 else 1.0


def relative_thickness(positions: Float64) -> float:
    """Standard deviation of (N, 3) positions across the plane that fits them, as a ratio of the smaller one in it."""
    if len(positions) < 4:
        return 0.0
    across, along, _ = np.sqrt(np.maximum(np.linalg.eigvalsh(np.cov(positions.T)), 0.0))
    return float(across / along) if along > 0 else 0.0


def _quantiles(values: Float64, ratios: tuple[float, ...]) -> Float64:
    """Quantiles of (N,) values; NumPy's function takes four times as long for so few."""
    return np.interp(ratios, np.linspace(0.0, 1.0, len(values)), np.sort(values))


class ProbabilityModel(BaseModel):
    """Logistic model of the probability that a pose is not of another place, nor by chance.

    It is that of a vehicle that drives in its map, where nine poses of ten are right before this is asked. Of those
    that the model was fitted to, a quarter is wrong.

    Attributes:
        provenance: data and seeds that it was fitted to, and its quality there.
        intercept: constant term.
        weights: weight of each term of the evidence.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    provenance: str
    intercept: float
    weights: dict[str, float]

    def probability(self, evidence: PoseEvidence) -> float:
        """Probability that a pose with this evidence is right, 0 to 1."""
        terms = evidence.terms
        logit = self.intercept + sum(weight * terms[name] for name, weight in self.weights.items())
        return 1 / (1 + exp(-logit)) if logit > -500 else 0.0


@cache
def shipped_model() -> ProbabilityModel:
    """Model that comes with the package."""
    text = (files("vizloc_ros") / "weights" / _MODEL).read_text(encoding="utf-8")
    return ProbabilityModel.model_validate(load_yaml(text))
