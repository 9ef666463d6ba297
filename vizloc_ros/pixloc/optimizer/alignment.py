"""Alignment of one image: coarse to fine over the pyramid, then with patches (PixLoc, section 3.1)."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.errors import FeatureError
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera
from vizloc_ros.pixloc.correction import PoseEstimate
from vizloc_ros.pixloc.optimizer.alignment_options import AlignmentOptions, LearnedAlignment
from vizloc_ros.pixloc.optimizer.levels import FeaturesOnLevel, PatchesOnLevel
from vizloc_ros.pixloc.optimizer.pose_optimizer import Alignment, PoseOptimizer
from vizloc_ros.pixloc.optimizer.projection import LevelCamera
from vizloc_ros.pixloc.pyramid import FeaturePyramid
from vizloc_ros.pixloc.references import References


def align(
    pyramid: FeaturePyramid,
    references: References,
    camera: PinholeCamera,
    initial_poses: Sequence[Rigid3d],
    learned: LearnedAlignment,
    options: AlignmentOptions | None = None,
    correction: IntrinsicsCorrection | None = None,
    *,
    coarsest: int | None = None,
    finalists: int | None = None,
    trace: bool = False,
) -> list[Alignment]:
    """Align an image with landmarks, from each of several initial poses.

    Several initial poses cost little more than one if only the best of them go on to the finest feature level. If image
    and references have patches, these are aligned last, see ``_refined``.

    Args:
        pyramid: features of the image, F_q of the paper.
        references: landmarks with reference features F_k, of as many levels.
        camera: camera of the image.
        initial_poses: initial cam_from_map, (R_0, t_0) of the paper; one or more.
        learned: damping and robust cost that belong to the features.
        options: see ``AlignmentOptions``.
        correction: error of the calibration of ``camera``, as the map estimated it.
        coarsest: index of the level to begin with, for accurate initial poses; the last by default.
        finalists: number of poses that go on to the finest level, those of the lowest cost; all by default.
        trace: True to keep the pose of every iteration.

    Returns:
        One outcome for each initial pose, in their order.

    Raises:
        FeatureError: image, reference features and damping differ in their number of levels.
    """
    if not len(pyramid) == len(references.levels) == len(learned.dampings):
        raise FeatureError(
            f"the image has {len(pyramid)} levels, the reference features {len(references.levels)}, and the damping "
            f"{len(learned.dampings)}: they must be of the same network"
        )
    options = options or AlignmentOptions()
    correction = correction or IntrinsicsCorrection()

    def level_at(index: int) -> FeaturesOnLevel:
        level_camera = LevelCamera(camera, correction, pyramid.levels[index].scale)
        level, poses = pyramid.levels[index], len(initial_poses)
        return FeaturesOnLevel(index, level, references, level_camera, poses, learned, options)

    optimizer = PoseOptimizer(initial_poses, len(learned.dampings), options, trace=trace)
    first = len(pyramid) - 1 if coarsest is None else coarsest
    for index in range(first, 0, -1):
        level = level_at(index)
        if index < first:
            optimizer.prefer_initial(level)
        optimizer.run(level)
    finest = level_at(0)
    if first > 0:
        optimizer.prefer_initial(finest)
    image, patches = pyramid.smoothed, references.patches
    if image is not None and patches is not None and options.fine.enabled:
        finest.min_motion = options.coarse_min_motion  # the fine level finds the rest
    if finalists is not None:
        optimizer.keep_best(finalists)
    optimizer.run(finest)
    alignments = optimizer.outcomes(finest)
    if image is None or patches is None or not options.fine.enabled:
        return alignments

    def fine_level_at(cam_from_map: Rigid3d) -> PatchesOnLevel:
        return PatchesOnLevel(image, patches, references.positions, camera, correction, cam_from_map, options)

    return [a if a.failure else _refined(a, fine_level_at(a.cam_from_map), options) for a in alignments]


_SHARPNESS_LANDMARKS = 250  # that the sharpness of an image is judged by


def _refined(coarse: Alignment, level: PatchesOnLevel, options: AlignmentOptions) -> Alignment:
    """Refine an alignment on the fine level; return it as it was where the patches do not tell better.

    So it is in images that are more blurred than the keyframes, because blur moves edges; where few patches look as in
    the map, or they do not fit better than before; and where the pose moves farther than its covariance allows: less
    and less the more an image is blurred.

    The refined pose has the covariance of the fine level. Cost, inliers and number of landmarks stay those of the
    features, by which alignments are verified.
    """
    fine = options.fine
    sharpness = level.sharpness(_SHARPNESS_LANDMARKS)
    if sharpness <= fine.min_sharpness:
        return coarse
    max_deviation = fine.max_deviation * min(1.0, (sharpness - fine.min_sharpness) / (1 - fine.min_sharpness))
    optimizer = PoseOptimizer([coarse.cam_from_map], 1, options, trace=bool(coarse.trace))
    optimizer.run(level)
    (refined,) = optimizer.outcomes(level)
    descended = refined.cost <= optimizer.first_costs()[0]
    if refined.failure or not descended or refined.inlier_ratio < fine.min_inlier_ratio:
        return coarse
    if not _deviation(coarse, refined) <= max_deviation:
        return coarse
    return replace(
        coarse,
        cam_from_map=refined.cam_from_map,
        iterations=(*refined.iterations, *coarse.iterations),
        covariance=refined.covariance,
        trace=(*coarse.trace, *refined.trace[1:]),
    )


def _deviation(coarse: Alignment, refined: Alignment) -> float:
    """Return the Mahalanobis distance of a refined pose from the one before, by the covariance of that; NaN without."""
    before, after = (PoseEstimate(each.cam_from_map.inverse(), each.covariance) for each in (coarse, refined))
    offset = before.offset_to(after)
    try:
        return float(np.sqrt(offset @ np.linalg.solve(coarse.covariance, offset)))
    except np.linalg.LinAlgError:
        return float("nan")
