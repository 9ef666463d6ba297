"""Verification of an alignment: its pose is accepted, ambiguous or not accepted (not in the PixLoc paper)."""

from dataclasses import dataclass
from math import inf

import numpy as np
from pydantic import Field

from vizloc_ros.geometry.covariance import max_position_std, position_and_rotation_std
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.options import Options
from vizloc_ros.pixloc.motion import Prediction
from vizloc_ros.pixloc.optimizer.pose_optimizer import Alignment

_DOUBTFUL_STD = 0.6  # of max_position_std, with fewer inliers than confident_inlier_ratio


class VerificationOptions(Options):
    """Conditions for an accepted alignment. Inlier ratios are those of the landmarks in the image, by confidence."""

    min_inlier_ratio: float = Field(0.35, ge=0, le=1, description="minimum inlier ratio of an accepted pose")
    confident_inlier_ratio: float = Field(
        0.6, ge=0, le=1, description="inlier ratio below which other initial poses must end at the same pose"
    )
    min_landmarks: int = Field(40, ge=10, le=10_000, description="minimum landmarks in the image")
    max_position_std: float = Field(
        0.075,
        gt=0,
        le=1000,
        description="maximum standard deviation of an accepted position, before covariance_scale; 0.6 of it with fewer "
        "inliers than confident_inlier_ratio [m]",
    )
    gate: float = Field(
        4.0,
        gt=0,
        le=1000,
        description="deviation from the prediction above which other initial poses must end at the same pose "
        "[standard deviations]",
    )
    max_deviation: float = Field(
        6.0, gt=0, le=1000, description="maximum deviation from the prediction [standard deviations]"
    )
    agreement_distance: float = Field(0.15, gt=0, le=100, description="poses nearer than this are the same [m]")
    agreement_angle: float = Field(1.0, gt=0, le=180, description="poses turned by less than this are the same [deg]")
    agreement: float = Field(
        0.5, ge=0, le=1, description="ratio of the other initial poses that must end at an ambiguous pose"
    )


@dataclass(frozen=True)
class Verification:
    """Result of the verification of an alignment.

    Attributes:
        reason: reason why the pose is not accepted; empty when it is.
        ambiguous: True if it is accepted only when alignments from other initial poses end there too.
        contradicts: True if the image looks as in the map, but the camera cannot have moved there.
        is_settled: True if no further alignment would change the result.
    """

    reason: str
    ambiguous: bool = False
    contradicts: bool = False
    is_settled: bool = False


def verify(
    alignment: Alignment, prediction: Prediction | None, options: VerificationOptions, max_contradiction: float = inf
) -> Verification:
    """Verify an alignment by its inliers, its covariance, and its deviation from the prediction, if there is one.

    Every view must look as in the map, and contradict the pose by no more than a limit. The inliers of all views count,
    or those of the strongest one.
    """
    if alignment.failure:
        return Verification(alignment.failure)
    if alignment.num_points < options.min_landmarks:
        return Verification(f"only {alignment.num_points} landmarks in the image, {options.min_landmarks} are needed")
    if unlike := unlike_views(alignment, options):
        return Verification(next(iter(unlike.values())))
    if do_contradict(alignment, max_contradiction):
        return Verification("the cameras contradict each other")
    strong = [fit.inlier_ratio for fit in alignment.fits if fit.num_points >= options.min_landmarks]
    inlier_ratio = max(alignment.inlier_ratio, *strong, 0.0)
    if inlier_ratio < options.min_inlier_ratio:
        return Verification(_too_few(inlier_ratio, options))
    std, accepted = max_position_std(alignment.covariance), options.max_position_std
    if inlier_ratio < options.confident_inlier_ratio:
        accepted *= _DOUBTFUL_STD
    if not std <= accepted:
        return Verification(f"the position is uncertain by {std:.2g} m, at most {accepted:.2g} m is accepted")
    away = 0.0 if prediction is None else deviation(alignment, prediction)
    if away > options.max_deviation:
        return Verification(
            f"{away:.2g} standard deviations away from the prediction, {options.max_deviation:g} at most are accepted",
            contradicts=inlier_ratio >= options.confident_inlier_ratio,
        )
    return Verification("", inlier_ratio < options.confident_inlier_ratio or away > options.gate)


def unlike_views(alignment: Alignment, options: VerificationOptions) -> dict[int, str]:
    """Return the reason for each of several views, by its index, that does not look as in the map at the pose."""
    ratios = {index: fit.inlier_ratio for index, fit in enumerate(alignment.fits)}
    return {index: _too_few(ratio, options) for index, ratio in ratios.items() if ratio < options.min_inlier_ratio}


def do_contradict(alignment: Alignment, max_contradiction: float) -> bool:
    """Tell whether the pose of several views is held off the minimum of one of them by the others."""
    return any(fit.contradiction > max_contradiction for fit in alignment.fits)


def _too_few(inlier_ratio: float, options: VerificationOptions) -> str:
    return f"only {inlier_ratio:.0%} of the landmarks look as in the map, {options.min_inlier_ratio:.0%} are needed"


def is_unlike(alignment: Alignment, options: VerificationOptions) -> bool:
    """Tell whether hardly anything in the image looks as in the map."""
    return alignment.inlier_ratio < options.min_inlier_ratio / 2


def deviation(alignment: Alignment, prediction: Prediction) -> float:
    """Return the distance between an aligned and a predicted pose, in standard deviations of both together.

    The larger of the deviations in position and in rotation.
    """
    distance, angle = pose_error(alignment.cam_from_map.inverse(), prediction.map_from_cam)
    position_std, rotation_std = position_and_rotation_std(alignment.covariance)
    position = np.hypot(prediction.position_std, position_std)
    rotation = np.hypot(prediction.rotation_std, rotation_std)
    return float(max(distance / position, np.radians(angle) / rotation))


def agreement_ratio(alignments: list[Alignment], best: Alignment, options: VerificationOptions) -> float:
    """Return the ratio of alignments from other initial poses that end at the pose of the best one; 0 for none."""
    if not alignments:
        return 0.0
    same = 0
    for other in alignments:
        distance, angle = pose_error(other.cam_from_map.inverse(), best.cam_from_map.inverse())
        same += distance <= options.agreement_distance and angle <= options.agreement_angle
    return same / len(alignments)
