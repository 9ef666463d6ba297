"""Verification of the pose of a rig by the cameras that support it, with the limits and evidence of one camera.

A camera without inliers says nothing: it may be covered. So evidence counts where there is some: that of all supporting
cameras together, or of the one with the most inliers alone, whichever makes the pose more probable.

Poses of the cameras on the rig that are wrong by some degrees still give a pose, between those of the cameras. So each
camera's own pose is compared with it, and what they differ by is uncertainty.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from pycolmap import Rigid3d
from scipy.special import chdtri

from vizloc_ros.arrays import Bool, Float64
from vizloc_ros.geometry.covariance import max_position_std, move_to_base, with_map_covariance
from vizloc_ros.geometry.se3 import so3_log
from vizloc_ros.localization.absolute_pose import (
    Matches,
    are_blurred,
    correlation_factor,
    pose_covariance,
    reprojection_errors,
)
from vizloc_ros.localization.guided_matching import GuidedMatches, further_support, guided_matches
from vizloc_ros.localization.localization_options import PoseOptions
from vizloc_ros.localization.outcome import LocalizedPose
from vizloc_ros.localization.pose_evidence import (
    FURTHER,
    PoseEvidence,
    depth_ratio,
    filled_cells,
    relative_thickness,
    shipped_model,
)
from vizloc_ros.localization.pose_refinement import RigMatches, refine_absolute_pose, refine_rig_pose
from vizloc_ros.localization.pose_solver import GUIDED_RADIUS, WIDE_RADIUS, without
from vizloc_ros.localization.rig_candidate import RigCandidate
from vizloc_ros.localization.rig_pose import errors_of, rig_covariance
from vizloc_ros.localization.rig_view import RigPose, RigView

_FEWEST_ALONE = 30  # inliers of a camera whose own pose is compared with the rig's
_BY_CHANCE = 0.05  # probability that cameras with exact poses seem to disagree; it only makes the pose less certain


class RejectedError(Exception):
    """Reason why a pose is not verified."""


def verify(candidate: RigCandidate, views: Sequence[RigView], options: PoseOptions) -> RigPose:
    """Verified pose, refined with the further matches that it finds, see ``PoseSolver``. Raises ``RejectedError``."""
    supporters = candidate.supporters(options.min_inlier_ratio)
    matches, inliers = candidate.counts(supporters)
    if not supporters:
        all_matches, all_inliers = candidate.counts(range(len(views)))
        needed = f"{options.min_inlier_ratio:.0%} are needed"
        raise RejectedError(f"only {all_inliers} of {all_matches} matches are inliers, {needed}")
    if inliers < options.min_inliers:
        raise RejectedError(f"only {inliers} inliers, {options.min_inliers} are needed")
    rig_from_map = candidate.estimate.rig_from_map
    supports = [
        _Support(views[c], candidate.places[c], candidate.matches[c], candidate.estimate.inliers[c], rig_from_map)
        for c in supporters
    ]
    scatter, disagreement = _disagreement(supports, options)
    covariance = _covariance(supports, scatter, options)
    radius = GUIDED_RADIUS * options.max_reprojection_error
    blurred = [are_blurred(each.errors, radius) for each in supports]
    found = [
        each.guided(rig_from_map, WIDE_RADIUS * each.rms if wide else radius)
        for each, wide in zip(supports, blurred, strict=True)
    ]
    refined = refine_rig_pose(
        rig_from_map, [each.on_rig(guided.matches) for each, guided in zip(supports, found, strict=True)]
    )
    evidence = []
    for each, guided, wide in zip(supports, found, blurred, strict=True):
        evidence.append(each.evidence(each.guided(refined, radius) if wide else guided, options))
    probability = rig_probability(evidence)
    for every in FURTHER:
        if probability >= options.min_probability:
            break
        further = [each.further(refined, max(radius, each.rms), every) for each in supports]
        evidence = [replace(each, further=found) for each, found in zip(evidence, further, strict=True)]
        probability = rig_probability(evidence)
    if probability < options.min_probability:
        alike, near = sum(each.alike for each in evidence), sum(each.near for each in evidence)
        raise RejectedError(
            f"{inliers} of {matches} matches and {alike} of {near} landmarks agree, which is "
            f"right with a probability of {probability:.2g}; {options.min_probability:g} is needed"
        )
    map_from_rig = (refined if options.guided else rig_from_map).inverse()
    cameras = {
        each.view.name: each.localized(map_from_rig, covariance, guided.matches, probability, options)
        for each, guided in zip(supports, found, strict=True)
    }
    return RigPose(map_from_rig, covariance, cameras, disagreement)


def rig_probability(evidence: Sequence[PoseEvidence]) -> float:
    """Probability that the pose of a rig is right, by the evidence of one or more cameras that support it."""
    strongest = max(evidence, key=lambda each: each.inliers)
    return max(shipped_model().probability(each) for each in (strongest, _pooled(evidence)))


def _pooled(evidence: Sequence[PoseEvidence]) -> PoseEvidence:
    """Evidence of several cameras as that of one: counts add up, but for the spread, which is that of the best.

    A few inliers are easily thick, so those of the strongest camera tell whether they are on a plane.
    """
    inliers = sum(each.inliers for each in evidence)
    squared = sum(each.inliers * each.rms**2 for each in evidence)
    return PoseEvidence(
        matches=sum(each.matches for each in evidence),
        inliers=inliers,
        rms=float(np.sqrt(squared / inliers)),
        cells=max(each.cells for each in evidence),
        depths=max(each.depths for each in evidence),
        thickness=max(evidence, key=lambda each: each.inliers).thickness,
        near=sum(each.near for each in evidence),
        alike=sum(each.alike for each in evidence),
        further=sum(each.further for each in evidence),
    )


@dataclass(frozen=True)
class _Support:
    """Camera that supports a pose.

    Attributes:
        view: its image.
        place: index of its place.
        matches: its matches there.
        inliers: mask of those that agree with the pose.
        rig_from_map: the pose.
    """

    view: RigView
    place: int
    matches: Matches
    inliers: Bool
    rig_from_map: Rigid3d

    @cached_property
    def cam_from_rig(self) -> Rigid3d:
        """Pose of the camera on the rig."""
        return self.view.rig_from_cam.inverse()

    @cached_property
    def verified(self) -> Matches:
        """Matches that are inliers."""
        return self.matches.chosen(self.inliers)

    @cached_property
    def errors(self) -> Float64:
        """Reprojection errors (N,) of the inliers [px]."""
        return errors_of(self.rig_from_map, self.on_rig(self.verified))

    @property
    def rms(self) -> float:
        """RMS of the errors [px]."""
        return _rms(self.errors)

    def on_rig(self, matches: Matches) -> RigMatches:
        """Matches of this camera with its pose on the rig."""
        return RigMatches(self.view.camera, self.cam_from_rig, matches.pixels, matches.positions)

    def guided(self, rig_from_map: Rigid3d, radius: float) -> GuidedMatches:
        """Matches of all keypoints within a radius [px] of the landmarks of the place, seen from a pose."""
        view, pose = self.view, self.cam_from_rig * rig_from_map
        return guided_matches(view.features, view.places[self.place], self.verified, pose, view.camera, radius)

    def further(self, rig_from_map: Rigid3d, radius: float, every: int) -> float:
        """Support of a pose by the landmarks of the place that it was not found with."""
        view, pose = self.view, self.cam_from_rig * rig_from_map
        return further_support(view.features, view.places[self.place], self.verified, pose, view.camera, radius, every)

    def evidence(self, guided: GuidedMatches, options: PoseOptions) -> PoseEvidence:
        """Evidence of this camera for or against the pose, without further landmarks."""
        return PoseEvidence(
            matches=len(self.matches),
            inliers=len(self.verified),
            rms=self.rms / options.max_reprojection_error,
            cells=filled_cells(self.verified.pixels, self.view.camera),
            depths=depth_ratio(self.cam_from_rig * self.rig_from_map, self.verified.positions),
            thickness=relative_thickness(self.verified.positions),
            near=guided.near,
            alike=guided.alike,
            further=0.0,
        )

    def own_error(self, options: PoseOptions) -> tuple[Float64, float] | None:
        """Error (6,) [m, rad] of the rig's pose by this camera's inliers alone, in the order of a covariance.

        With its square in units of the covariance of the camera's own pose. None for too few inliers.
        """
        view, verified = self.view, self.verified
        if len(verified) < _FEWEST_ALONE:
            return None
        at_rig = self.cam_from_rig * self.rig_from_map
        own = refine_absolute_pose(at_rig, verified.pixels, verified.positions, view.camera)
        map_from_cam = own.inverse()
        try:
            covariance, _ = pose_covariance(
                map_from_cam, verified.positions, verified.pixels, view.camera, options.pixel_sigma
            )
        except np.linalg.LinAlgError:
            return None
        errors = reprojection_errors(own, verified.pixels, verified.positions, view.camera)
        covariance = with_map_covariance(
            options.covariance_scale * correlation_factor(errors) * covariance,
            options.map_position_std,
            options.map_rotation_std,
        )
        covariance = move_to_base(covariance, map_from_cam, self.cam_from_rig)
        map_from_rig, own_from_rig = self.rig_from_map.inverse(), map_from_cam * self.cam_from_rig
        turned = so3_log(own_from_rig.rotation * map_from_rig.rotation.inverse())
        error = np.concatenate([own_from_rig.translation - map_from_rig.translation, turned])
        return error, float(error @ np.linalg.solve(covariance, error))

    def localized(
        self, map_from_rig: Rigid3d, covariance: Float64, found: Matches, probability: float, options: PoseOptions
    ) -> LocalizedPose:
        """Pose of the camera with its inliers among the matches that the pose found, or else those that verified it."""
        errors = errors_of(map_from_rig.inverse(), self.on_rig(found))
        near = errors <= options.max_reprojection_error
        rejected = self.matches.keypoints[~self.inliers]
        inliers = self.verified
        if options.guided and near.sum() >= 0.5 * len(inliers):
            inliers, errors = found.chosen(near), errors[near]
            rejected = without(rejected, found.keypoints, len(self.view.features))
        else:
            errors = errors_of(map_from_rig.inverse(), self.on_rig(inliers))
        return LocalizedPose(
            map_from_cam=map_from_rig * self.view.rig_from_cam,
            covariance=move_to_base(covariance, map_from_rig, self.view.rig_from_cam),
            keypoints=inliers.keypoints,
            landmark_ids=inliers.landmark_ids,
            positions=inliers.positions,
            rejected=rejected,
            reprojection_rms=_rms(errors),
            place=self.place,
            probability=probability,
        )


def _rms(errors: Float64) -> float:
    return float(np.sqrt(np.square(errors).mean()))


def _disagreement(supports: Sequence[_Support], options: PoseOptions) -> tuple[Float64, tuple[float, float]]:
    """(6, 6) mean square of how far the cameras' own poses are from the rig's [m^2, rad^2], and the largest [m, deg].

    Zero if the noise of the matches and the map explains it.
    """
    own = [error for support in supports if (error := support.own_error(options)) is not None]
    if len(own) < 2 or sum(squared for _, squared in own) <= chdtri(6 * (len(own) - 1), _BY_CHANCE):
        return np.zeros((6, 6)), (0.0, 0.0)
    errors = np.array([error for error, _ in own])
    distance, angle = (float(np.linalg.norm(part, axis=1).max()) for part in (errors[:, :3], errors[:, 3:]))
    return errors.T @ errors / len(errors), (distance, float(np.degrees(angle)))


def _covariance(supports: Sequence[_Support], scatter: Float64, options: PoseOptions) -> Float64:
    """Covariance of the pose by the inliers of its supporters. Raises ``RejectedError`` for a large one."""
    verified = [each.on_rig(each.verified) for each in supports]
    map_from_rig = supports[0].rig_from_map.inverse()
    try:
        covariance = rig_covariance(map_from_rig, verified, options.pixel_sigma, options.covariance_scale)
    except np.linalg.LinAlgError:
        raise RejectedError(f"the {sum(len(one.pixels) for one in verified)} inliers do not fix the pose") from None
    covariance = with_map_covariance(covariance, options.map_position_std, options.map_rotation_std)
    accepted = f"at most {options.max_position_std:g} m is accepted"
    if not (std := max_position_std(covariance)) <= options.max_position_std:
        raise RejectedError(f"the position is uncertain by {std:.2g} m, {accepted}")
    if not (std := max_position_std(covariance + scatter)) <= options.max_position_std:
        names = " and ".join(each.view.name for each in supports)
        raise RejectedError(
            f"{names} disagree by {std:.2g} m, {accepted}: is the pose of one on the vehicle wrong, or its stamp?"
        )
    return covariance + scatter
