"""Accuracy of estimated poses: recall at four tolerances, wrong poses, median errors, and the errors of each image."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.datasets.record import Record
from vizloc_ros.geometry.poses import pose_error


class Tolerance(NamedTuple):
    """Maximum errors of a pose that counts as correct."""

    translation_m: float
    rotation_deg: float

    def __str__(self) -> str:
        return f"{self.translation_m:g}m_{self.rotation_deg:g}deg"


# Sattler et al., "Benchmarking 6DOF Outdoor Visual Localization in Changing Conditions", section 4.
TOLERANCES = (Tolerance(0.25, 2.0), Tolerance(0.5, 5.0), Tolerance(5.0, 10.0))
FINE = Tolerance(0.05, 5.0)  # Shotton et al., "Scene Coordinate Regression Forests", section 4.2: rooms
WRONG = TOLERANCES[1]  # a pose beyond it is worse than none


def readable(key: str) -> str:
    """Text of a report's key in tables and figures: "0.25m_2deg" as "0.25 m, 2 deg", others as they are."""
    return re.sub(r"^([\d.]+)m_([\d.]+)deg$", r"\1 m, \2 deg", key)


class PoseError(NamedTuple):
    """Distance of the origins [m] and angle between the axes [deg] of two poses."""

    translation_m: float
    rotation_deg: float

    def within(self, tolerance: Tolerance) -> bool:
        """Return true if neither error exceeds the tolerance."""
        return self.translation_m <= tolerance.translation_m and self.rotation_deg <= tolerance.rotation_deg


@dataclass(frozen=True)
class RecallReport:
    """Errors of the estimated poses.

    Attributes:
        num_images: number of images with a ground-truth pose.
        errors: errors by image name, of the images with an estimate.
    """

    num_images: int
    errors: dict[str, PoseError]

    @property
    def num_poses(self) -> int:
        """Number of images with an estimate."""
        return len(self.errors)

    @property
    def num_wrong(self) -> int:
        """Number of images with an estimate that is wrong: over 0.5 m or 5 deg off."""
        return sum(not error.within(WRONG) for error in self.errors.values())

    @property
    def recall(self) -> dict[str, float]:
        """Ratio of correct images to all images by tolerance ("0.05m_5deg", ...); empty if there are no images."""
        return {
            str(tolerance): sum(error.within(tolerance) for error in self.errors.values()) / self.num_images
            for tolerance in (FINE, *TOLERANCES)
            if self.num_images
        }

    @property
    def median_translation_m(self) -> float | None:
        """Median over the images with an estimate, or None if there is none."""
        return float(np.median([e.translation_m for e in self.errors.values()])) if self.errors else None

    @property
    def median_rotation_deg(self) -> float | None:
        """Median over the images with an estimate, or None if there is none."""
        return float(np.median([e.rotation_deg for e in self.errors.values()])) if self.errors else None

    def as_dict(self) -> dict[str, object]:
        """Keys of ``report.json``, without the errors of each image."""
        return {
            "num_images": self.num_images,
            "num_poses": self.num_poses,
            "num_wrong": self.num_wrong,
            "recall": self.recall,
            "median_translation_m": self.median_translation_m,
            "median_rotation_deg": self.median_rotation_deg,
        }


def evaluate_poses(estimates: Mapping[str, Rigid3d], truth: Mapping[str, Rigid3d]) -> RecallReport:
    """Compare poses a_from_b by image name.

    Args:
        estimates: estimated poses. An image of ``truth`` without an estimate counts as wrong; an estimate without a
            ground-truth pose is left out.
        truth: ground-truth poses of all images, between the same two frames.
    """
    errors = {name: PoseError(*pose_error(estimates[name], pose)) for name, pose in truth.items() if name in estimates}
    return RecallReport(len(truth), errors)


def ground_truth(records: Iterable[Record]) -> dict[str, Rigid3d]:
    """Ground-truth poses world_from_cam by image name, of the records that have one."""
    return {record.name: record.world_from_cam for record in records if record.world_from_cam is not None}
