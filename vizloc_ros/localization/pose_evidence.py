"""Evidence for and against a pose, and the probability that it is right (not in the HF-Net paper).

A number of inliers alone says little: twenty in one corner of an image fit many poses, and similar facades give a
hundred. Together with what else can be measured, it says more. A logistic model of it was fitted to poses, right and
wrong ones, in worlds that are in no evaluation; its file says which.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from math import exp, log

import yaml
from pydantic import BaseModel, ConfigDict

_MODEL = "pose_probability.yaml"
_LEAST_STD = 1e-4  # m


@dataclass(frozen=True)
class PoseEvidence:
    """What can be measured about a pose.

    Attributes:
        matches: matches in the place.
        inliers: matches that agree with the pose.
        rms: RMS reprojection error of the inliers, as a ratio of the largest one that an inlier may have.
        position_std: standard deviation of the position [m]; large if the inliers are few or in one corner.
        near: landmarks of the place that project near a keypoint.
        alike: those among them whose keypoint looks like the landmark; of a wrong pose, few do.
    """

    matches: int
    inliers: int
    rms: float
    position_std: float
    near: int
    alike: int

    @property
    def terms(self) -> dict[str, float]:
        """Terms of the logistic model by name."""
        return {
            "log_inliers": log(self.inliers + 1),
            "inlier_ratio": self.inliers / max(self.matches, 1),
            "rms": self.rms,
            "log_position_std": log(max(self.position_std, _LEAST_STD)),
            "log_alike": log(self.alike + 1),
            "alike_ratio": self.alike / max(self.near, 1),
        }


class ProbabilityModel(BaseModel):
    """Logistic model of the probability that a pose is within 0.5 m and 5 degrees of the true one.

    Attributes:
        provenance: data and seeds that it was fitted to, and its quality there.
        intercept: constant term.
        weights: weight of each of ``PoseEvidence.terms``.
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
    return ProbabilityModel.model_validate(yaml.safe_load(text))
