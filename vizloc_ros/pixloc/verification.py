"""Is a pose that an alignment ended at to be accepted?"""

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.options import Options
from vizloc_ros.pixloc.motion import Prediction
from vizloc_ros.pixloc.optimizer.alignment import Alignment


class VerificationOptions(Options):
    """Conditions for an accepted alignment. Inlier ratios are those of the landmarks in the image, by confidence."""

    min_inlier_ratio: float = Field(0.35, ge=0, le=1, description="minimum inlier ratio of an accepted pose")
    confident_inlier_ratio: float = Field(
        0.6, ge=0, le=1, description="inlier ratio below which other initial poses must end at the same pose"
    )
    min_landmarks: int = Field(40, ge=10, le=10_000, description="minimum landmarks in the image")
    max_position_std: float = Field(
        1.0, gt=0, le=1000, description="maximum standard deviation of an accepted position [m]"
    )
    gate: float = Field(
        4.0,
        gt=0,
        le=1000,
        description="deviation from the prediction above which other initial poses must end at the same pose "
        "[standard deviations]",
    )
    max_deviation: float = Field(
        8.0, gt=0, le=1000, description="maximum deviation from the prediction [standard deviations]"
    )
    agreement_distance: float = Field(0.15, gt=0, le=100, description="poses nearer than this are the same [m]")
    agreement_angle: float = Field(1.0, gt=0, le=180, description="poses turned by less than this are the same [deg]")
    agreement: float = Field(
        0.5, ge=0, le=1, description="ratio of the other initial poses that must end at an ambiguous pose"
    )


@dataclass(frozen=True)
class Verification:
    """What becomes of an alignment.

    Attributes:
        reason: why it is not accepted; empty when it is.
        ambiguous: accepted only if other starts end there too.
    """

    reason: str
    ambiguous: bool = False


def verify(alignment: Alignment, prediction: Prediction | None, options: VerificationOptions) -> Verification:
    """Judges an alignment by what it says about itself, and by how far it is from what was predicted."""
    if alignment.failure:
        return Verification(alignment.failure)
    if alignment.points < options.min_landmarks:
        return Verification(f"only {alignment.points} landmarks in the image, {options.min_landmarks} are needed")
    if alignment.inlier_ratio < options.min_inlier_ratio:
        return Verification(
            f"only {alignment.inlier_ratio:.0%} of the landmarks look as in the map, "
            f"{options.min_inlier_ratio:.0%} are needed"
        )
    std = position_std(alignment)
    if not std <= options.max_position_std:
        return Verification(
            f"the position is uncertain by {std:.2g} m, at most {options.max_position_std:g} m is accepted"
        )
    away = 0.0 if prediction is None else deviation(alignment, prediction)
    if away > options.max_deviation:
        return Verification(
            f"{away:.2g} standard deviations away from the prediction, {options.max_deviation:g} at most are accepted"
        )
    return Verification("", alignment.inlier_ratio < options.confident_inlier_ratio or away > options.gate)


def deviation(alignment: Alignment, prediction: Prediction) -> float:
    """How far an alignment ended from the prediction, in standard deviations of both together."""
    distance, angle = pose_error(alignment.cam_from_map.inverse(), prediction.map_from_cam)
    own = np.sqrt(np.maximum(np.diag(alignment.covariance), 0))
    position = np.hypot(prediction.position_std, np.linalg.norm(own[:3]))
    rotation = np.hypot(prediction.rotation_std, np.linalg.norm(own[3:]))
    return float(max(distance / position, np.radians(angle) / rotation))


def position_std(alignment: Alignment) -> float:
    """Standard deviation [m] of the position in its most uncertain direction; NaN without a covariance."""
    if not np.isfinite(alignment.covariance).all():
        return float("nan")
    return float(np.sqrt(max(np.linalg.eigvalsh(alignment.covariance[:3, :3])[-1], 0.0)))


def agreeing(alignments: list[Alignment], best: Alignment, options: VerificationOptions) -> float:
    """Share of alignments from other starts that end at the best one's pose."""
    if not alignments:
        return 0.0
    same = 0
    for other in alignments:
        distance, angle = pose_error(other.cam_from_map.inverse(), best.cam_from_map.inverse())
        same += distance <= options.agreement_distance and angle <= options.agreement_angle
    return same / len(alignments)
