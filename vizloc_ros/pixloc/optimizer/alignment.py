"""Alignment of a camera, or of a rig: coarse to fine over the pyramid, then with patches (PixLoc, section 3.1).

The cameras of a rig have one pose. Their landmarks are one problem: the normal equations of its views add up.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.errors import FeatureError
from vizloc_ros.pixloc.correction import PoseEstimate
from vizloc_ros.pixloc.optimizer.aligned_view import View
from vizloc_ros.pixloc.optimizer.alignment_options import AlignmentOptions, LearnedAlignment
from vizloc_ros.pixloc.optimizer.levels import FeaturesOnLevel, PatchesOnLevel
from vizloc_ros.pixloc.optimizer.pose_optimizer import Alignment, PoseOptimizer


def align(
    views: Sequence[View],
    initial_poses: Sequence[Rigid3d],
    learned: LearnedAlignment,
    options: AlignmentOptions | None = None,
    *,
    coarsest: int | None = None,
    finalists: int | None = None,
    accurate: bool = False,
    trace: bool = False,
) -> list[Alignment]:
    """Align images of one instant with landmarks, from each of several initial poses.

    Several initial poses cost little more than one if only the best of them go on to the finest feature level. If
    images and references have patches, these are aligned last, see ``_refined``.

    Args:
        views: image of the camera, or those of the cameras of a rig; one or more.
        initial_poses: initial rig_from_map, (R_0, t_0) of the paper; one or more.
        learned: damping and robust cost that belong to the features.
        options: see ``AlignmentOptions``.
        coarsest: index of the level to begin with, for accurate initial poses; the last by default.
        finalists: number of poses that go on to the finest level, those of the lowest cost; all by default.
        accurate: True if the initial poses are accurate: coarse levels that lead away from them are undone.
        trace: True to keep the pose of every iteration.

    Returns:
        One outcome for each initial pose, in their order.

    Raises:
        FeatureError: images, reference features and damping differ in their number of levels.
    """
    levels = len(learned.dampings)
    for view in views:
        if not len(view.pyramid) == len(view.references.levels) == levels:
            raise FeatureError(
                f"the image has {len(view.pyramid)} levels, the reference features {len(view.references.levels)}, and "
                f"the damping {levels}: they must be of the same network"
            )
    options = options or AlignmentOptions()

    def level_at(index: int) -> list[FeaturesOnLevel]:
        return [FeaturesOnLevel(index, view, len(initial_poses), learned, options) for view in views]

    optimizer = PoseOptimizer(initial_poses, levels, options, accurate=accurate, trace=trace)
    first = levels - 1 if coarsest is None else coarsest
    for index in range(first, 0, -1):
        of_views = level_at(index)
        if accurate and index < first:
            optimizer.prefer_initial(of_views)
        optimizer.run(of_views)
    finest, has_fine = level_at(0), options.fine.enabled and any(view.patches for view in views)
    if accurate and first > 0:
        optimizer.prefer_initial(finest)
    if has_fine:
        for each in finest:
            each.min_motion = options.coarse_min_motion  # the fine level finds the rest
    if finalists is not None:
        optimizer.keep_best(finalists)
    optimizer.run(finest)
    alignments = optimizer.outcomes(finest)
    if not has_fine:
        return alignments
    return [a if a.failure else _refined(a, views, options) for a in alignments]


_SHARPNESS_LANDMARKS = 250  # that the sharpness of an image is judged by


def _refined(coarse: Alignment, views: Sequence[View], options: AlignmentOptions) -> Alignment:
    """Refine an alignment on the fine level; return it as it was where the patches do not tell better.

    So it is in images that are more blurred than the keyframes, because blur moves edges; where few patches look as in
    the map, or they do not fit better than before; and where the pose moves farther than its covariance allows: less
    and less the more an image is blurred. Of a rig, the images that are sharp enough are aligned.

    The refined pose has the covariance of the fine level. Cost, inliers and number of landmarks stay those of the
    features, by which alignments are verified.
    """
    fine = options.fine
    levels, sharpness = [], 1.0
    for view in views:
        if (patches := view.patches) is None:
            continue
        level = PatchesOnLevel(view, *patches, coarse.cam_from_map, options)
        if (own := level.sharpness(_SHARPNESS_LANDMARKS)) > fine.min_sharpness:
            levels.append(level)
            sharpness = min(sharpness, own)
    if not levels:
        return coarse
    max_deviation = fine.max_deviation * ((sharpness - fine.min_sharpness) / (1 - fine.min_sharpness))
    optimizer = PoseOptimizer([coarse.cam_from_map], 1, options, trace=bool(coarse.trace))
    optimizer.run(levels)
    (refined,) = optimizer.outcomes(levels)
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
