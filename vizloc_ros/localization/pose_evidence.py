"""Evidence for and against a pose, and the probability that it is right (not in the HF-Net paper).

A number of inliers alone says little: twenty in one corner of an image fit many poses, and similar facades give a
hundred. Together with what else can be measured, it says more. A logistic model of it was fitted to poses, right and
wrong ones, in worlds that are in no evaluation; its file says which. How exact a right pose is, the covariance says.

Most right poses are nearly sure by what their verification has measured anyway. For the others, further landmarks are
looked at, which takes longer.
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
SURE = 0.99  # probability from which a pose needs no further evidence
_CELLS = (8, 6)  # columns and rows of the grid in which inliers are counted


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
        near: landmarks of the place that project near a keypoint.
        alike: those among them whose keypoint looks like the landmark; of a wrong pose, few do.
        further: support by landmarks that the pose was not found with, 0 or more; None if it was not measured.
    """

    matches: int
    inliers: int
    rms: float
    cells: int
    depths: float
    near: int
    alike: int
    further: float | None = None

    @property
    def terms(self) -> dict[str, float]:
        """Terms of a logistic model by name; the last one only if further landmarks were looked at."""
        terms = {
            "inlier_ratio": self.inliers / max(self.matches, 1),
            "rms": self.rms,
            "log_cells": log(self.cells + 1),
            "log_depths": log(max(self.depths, 1.0)),
            "log_alike": log(self.alike + 1),
            "alike_ratio": self.alike / max(self.near, 1),
        }
        if self.further is not None:
            terms["log_further"] = log(1 + self.further)
        return terms


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


def _quantiles(values: Float64, ratios: tuple[float, ...]) -> Float64:
    """Quantiles of (N,) values; NumPy's function takes four times as long for so few."""
    return np.interp(ratios, np.linspace(0.0, 1.0, len(values)), np.sort(values))


class Logistic(BaseModel):
    """Logistic model of some terms.

    Attributes:
        intercept: constant term.
        weights: weight of each term.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    intercept: float
    weights: dict[str, float]

    def probability(self, terms: dict[str, float]) -> float:
        """Probability by the terms, 0 to 1."""
        logit = self.intercept + sum(weight * terms[name] for name, weight in self.weights.items())
        return 1 / (1 + exp(-logit)) if logit > -500 else 0.0


class ProbabilityModel(BaseModel):
    """Model of the probability that a pose is not of another place, nor by chance.

    Attributes:
        provenance: data and seeds that it was fitted to, and its quality there.
        quick: model of the terms without further landmarks.
        thorough: model of all terms.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    provenance: str
    quick: Logistic
    thorough: Logistic

    def probability(self, evidence: PoseEvidence) -> float:
        """Probability that a pose with this evidence is right, 0 to 1."""
        model = self.quick if evidence.further is None else self.thorough
        return model.probability(evidence.terms)


@cache
def shipped_model() -> ProbabilityModel:
    """Model that comes with the package."""
    text = (files("vizloc_ros") / "weights" / _MODEL).read_text(encoding="utf-8")
    return ProbabilityModel.model_validate(load_yaml(text))
