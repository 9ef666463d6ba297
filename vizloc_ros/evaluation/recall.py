"""How many queries were localized, and how well: recall at three tolerances, medians, and each image's errors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.geometry.poses import pose_error


class Tolerance(NamedTuple):
    """Largest errors of a pose that counts as right."""

    translation_m: float
    rotation_deg: float

    def __str__(self) -> str:
        return f"{self.translation_m:g}m_{self.rotation_deg:g}deg"


# Sattler et al., "Benchmarking 6DOF Outdoor Visual Localization in Changing Conditions", section 4.
TOLERANCES = (Tolerance(0.25, 2.0), Tolerance(0.5, 5.0), Tolerance(5.0, 10.0))


class PoseError(NamedTuple):
    """Distance of the origins [m] and angle between the axes [deg]."""

    translation_m: float
    rotation_deg: float

    def within(self, tolerance: Tolerance) -> bool:
        """Whether both errors are at most the tolerance's."""
        return self.translation_m <= tolerance.translation_m and self.rotation_deg <= tolerance.rotation_deg


@dataclass(frozen=True)
class RecallReport:
    """Errors of the estimated poses.

    Attributes:
        num_images: the images asked for, i.e. with a true pose.
        errors: by image name, for those with an estimate.
    """

    num_images: int
    errors: dict[str, PoseError]

    @property
    def num_poses(self) -> int:
        """The images with an estimate."""
        return len(self.errors)

    @property
    def recall(self) -> dict[str, float]:
        """By tolerance ("0.25m_2deg", ...), the share of all images that is right; empty when none was asked for."""
        return {
            str(tolerance): sum(error.within(tolerance) for error in self.errors.values()) / self.num_images
            for tolerance in TOLERANCES
            if self.num_images
        }

    @property
    def median_translation_m(self) -> float | None:
        """Median over the images with an estimate, or None when there is none."""
        return float(np.median([e.translation_m for e in self.errors.values()])) if self.errors else None

    @property
    def median_rotation_deg(self) -> float | None:
        """Median over the images with an estimate, or None when there is none."""
        return float(np.median([e.rotation_deg for e in self.errors.values()])) if self.errors else None

    def as_dict(self) -> dict[str, object]:
        """The keys of ``report.json`` (without the errors of each image)."""
        return {
            "num_images": self.num_images,
            "num_poses": self.num_poses,
            "recall": self.recall,
            "median_translation_m": self.median_translation_m,
            "median_rotation_deg": self.median_rotation_deg,
        }


def evaluate_poses(estimates: Mapping[str, Rigid3d], truth: Mapping[str, Rigid3d]) -> RecallReport:
    """Compares poses a_from_b by image name.

    Args:
        estimates: the poses found; a missing one counts as wrong. Those without a true pose cannot be judged and are
            left out.
        truth: the true poses of all images asked for, between the same two frames.
    """
    errors = {name: PoseError(*pose_error(estimates[name], pose)) for name, pose in truth.items() if name in estimates}
    return RecallReport(len(truth), errors)
