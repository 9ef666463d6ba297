"""Is a pose that an alignment ended at to be believed?"""

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.pixloc.motion import Prediction
from vizloc_ros.pixloc.optimizer.alignment import Alignment


class VerificationOptions(BaseModel):
    """What a believed alignment must fulfil. The shares are of the landmarks in the image, by confidence."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_inlier_share: float = Field(0.35, ge=0, le=1, description="least share of landmarks that look as in the map")
    sure_inlier_share: float = Field(
        0.6, ge=0, le=1, description="share from which other starts need not end at the same pose"
    )
    min_points: int = Field(40, ge=10, description="fewest landmarks in the image")
    max_position_std: float = Field(1.0, gt=0, description="largest standard deviation of a believed position [m]")
    gate: float = Field(
        4.0, gt=0, description="farthest from the prediction, in its standard deviations; beyond, it is in doubt"
    )
    max_deviation: float = Field(
        8.0, gt=0, description="farther from the prediction than this, in its standard deviations, is not believed"
    )
    agreement_distance: float = Field(0.15, gt=0, description="poses nearer than this are the same [m]")
    agreement_angle: float = Field(1.0, gt=0, description="poses turned by less than this are the same [deg]")
    agreement: float = Field(0.5, ge=0, le=1, description="share of the starts that must end at a pose in doubt")


@dataclass(frozen=True)
class Verdict:
    """What becomes of an alignment.

    Attributes:
        reason: why it is not believed; empty when it is.
        doubtful: believed only if other starts end there too.
    """

    reason: str
    doubtful: bool = False


def judge(alignment: Alignment, prediction: Prediction | None, options: VerificationOptions) -> Verdict:
    """Judges an alignment by what it says about itself, and by how far it is from what was predicted."""
    if alignment.failure:
        return Verdict(alignment.failure)
    if alignment.points < options.min_points:
        return Verdict(f"only {alignment.points} landmarks in the image, {options.min_points} are needed")
    if alignment.inlier_share < options.min_inlier_share:
        return Verdict(
            f"only {alignment.inlier_share:.0%} of the landmarks look as in the map, "
            f"{options.min_inlier_share:.0%} are needed"
        )
    std = position_std(alignment)
    if not std <= options.max_position_std:
        return Verdict(f"the position is uncertain by {std:.2g} m, at most {options.max_position_std:g} m is believed")
    away = 0.0 if prediction is None else deviation(alignment, prediction)
    if away > options.max_deviation:
        return Verdict(
            f"{away:.2g} standard deviations away from the prediction, {options.max_deviation:g} at most are believed"
        )
    return Verdict("", alignment.inlier_share < options.sure_inlier_share or away > options.gate)


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
