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
    retry: bool = True,
    trace: bool = False,
) -> list[Alignment]:
    """Align images of one instant with landmarks, from each of several initial poses.

    Several initial poses cost little more than one if only the best of them go on to the finest feature level. If
    images and references have patches, these are aligned last, see ``_refined``. An alignment on all levels from one
    initial pose that fits badly is tried again from finer levels on, see ``_retried``.

    Args:
        views: image of the camera, or those of the cameras of a rig; one or more.
        initial_poses: initial rig_from_map, (R_0, t_0) of the paper; one or more.
        learned: damping and robust cost that belong to the features.
        options: see ``AlignmentOptions``.
        coarsest: index of the level to begin with, for accurate initial poses; the last by default.
        finalists: number of poses that go on to the finest level, those of the lowest cost; all by default.
        accurate: True if the initial poses are accurate: coarse levels that lead away from them are undone.
        retry: False to try once only, as for many initial poses one after the other.
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
    features = _FeatureAlignment(views, initial_poses, learned, options or AlignmentOptions(), accurate, trace)
    first = levels - 1 if coarsest is None else coarsest
    alignments = features.run(first, finalists)
    if retry and len(initial_poses) == 1 and first == levels - 1:
        alignments = [_retried(alignments[0], features, first)]
    if not features.has_fine:
        return alignments
    return [a if a.failure else _refined(a, views, features.options) for a in alignments]


class _FeatureAlignment:
    """Alignment on the feature levels, from the same initial poses each time."""

    def __init__(
        self,
        views: Sequence[View],
        initial_poses: Sequence[Rigid3d],
        learned: LearnedAlignment,
        options: AlignmentOptions,
        accurate: bool,
        trace: bool,
    ) -> None:
        """Keep what is aligned; see ``align``."""
        self.options = options
        self.has_fine = options.fine.enabled and any(view.patches for view in views)
        self._views, self._initial_poses, self._learned = views, initial_poses, learned
        self._accurate, self._trace = accurate, trace
        self._levels: dict[int, list[FeaturesOnLevel]] = {}  # used again where an alignment is tried again

    def run(self, first: int, finalists: int | None = None) -> list[Alignment]:
        """Align from level ``first`` to the finest one; outcomes and ``finalists`` as of ``align``."""
        optimizer = PoseOptimizer(
            self._initial_poses,
            len(self._learned.dampings),
            self.options,
            accurate=self._accurate,
            trace=self._trace,
        )
        for index in range(first, 0, -1):
            of_views = self._level_at(index)
            if self._accurate and index < first:
                optimizer.prefer_initial(of_views)
            optimizer.run(of_views)
        finest = self._level_at(0)
        if self._accurate and first > 0:
            optimizer.prefer_initial(finest)
        if finalists is not None:
            optimizer.keep_best(finalists)
        optimizer.run(finest)
        return optimizer.outcomes(finest)

    def _level_at(self, index: int) -> list[FeaturesOnLevel]:
        if index not in self._levels:
            poses = len(self._initial_poses)
            of_views = [FeaturesOnLevel(index, view, poses, self._learned, self.options) for view in self._views]
            if index == 0 and self.has_fine:
                for each in of_views:
                    each.min_motion = self.options.coarse_min_motion  # the fine level finds the rest
            self._levels[index] = of_views
        return self._levels[index]


def _retried(alignment: Alignment, features: _FeatureAlignment, first: int) -> Alignment:
    """Return the best of an alignment that fits badly and of those without the coarsest level, or the coarsest two.

    A cell of the coarsest level is as large as a window of a house. In an image that is mostly covered, dark or
    overexposed, there is little in it that looks as in the map: it leads away from a prior that finer levels would
    correct. Fitting well ends the search, so it costs nothing where images are good.
    """
    tried = [alignment]
    for level in range(first - 1, max(first - 1 - _RETRIES, 0), -1):
        if not tried[-1].failure and tried[-1].inlier_ratio >= features.options.retry_below:
            break
        tried += features.run(level)
    return min(tried, key=lambda each: (bool(each.failure), each.cost))


_RETRIES = 2  # levels left out at most
_PATCH_ITERATIONS = 10  # of patches alone; features take over after that
_SHARPNESS_LANDMARKS = 250  # that the sharpness of an image is judged by


def _refined(coarse: Alignment, views: Sequence[View], options: AlignmentOptions) -> Alignment:
    """Refine an alignment on the fine level; return it as it was where the patches do not tell better.

    So it is in images that are more blurred than the keyframes, because blur moves edges; where few patches look as in
    the map, or they do not fit better than before; and where the pose moves farther than its covariance allows: less
    and less the more an image is blurred. Of a rig, the images that are sharp enough are aligned.

    The refined pose has the covariance of the fine level. Cost, inliers and number of landmarks stay those of the
    features, by which alignments are verified.
    """
    if (found := _aligned_patches(views, coarse.cam_from_map, options, trace=bool(coarse.trace))) is None:
        return coarse
    (refined, sharpness), fine = found, options.fine
    max_deviation = fine.max_deviation * ((sharpness - fine.min_sharpness) / (1 - fine.min_sharpness))
    if not _deviation(coarse, refined) <= max_deviation:
        return coarse
    return replace(
        coarse,
        cam_from_map=refined.cam_from_map,
        iterations=(*refined.iterations, *coarse.iterations),
        covariance=refined.covariance,
        trace=(*coarse.trace, *refined.trace[1:]),
    )


def align_patches(views: Sequence[View], initial_pose: Rigid3d, options: AlignmentOptions) -> Alignment | None:
    """Align the patches of all views alone, from a pose rig_from_map that is right to some pixels.

    From farther off, they do not converge in so few iterations. Return None then, and where the patches do not tell,
    see ``_refined``. Cost, inliers and number of landmarks of the outcome are those of the patches.
    """
    few = options.model_copy(update={"max_iterations": min(_PATCH_ITERATIONS, options.max_iterations)})
    found = _aligned_patches(views, initial_pose, few, least=len(views))
    return None if found is None else found[0]


def _aligned_patches(
    views: Sequence[View], initial_pose: Rigid3d, options: AlignmentOptions, *, least: int = 1, trace: bool = False
) -> tuple[Alignment, float] | None:
    """Align the patches of the images that are sharp enough, ``least`` or more; return the least sharpness, too."""
    fine, sharp = options.fine, []
    for view in views:
        if (patches := view.patches) is None:
            continue
        level = PatchesOnLevel(view, *patches, initial_pose, options)
        if (own := level.sharpness(_SHARPNESS_LANDMARKS)) > fine.min_sharpness:
            sharp.append((level, own))
    if len(sharp) < least:
        return None
    levels = [level for level, _ in sharp]
    optimizer = PoseOptimizer([initial_pose], 1, options, trace=trace)
    optimizer.run(levels)
    (aligned,) = optimizer.outcomes(levels)
    descended = aligned.cost <= optimizer.first_costs()[0]
    if aligned.failure or not descended or aligned.inlier_ratio < fine.min_inlier_ratio:
        return None
    return aligned, min(own for _, own in sharp)


def _deviation(coarse: Alignment, refined: Alignment) -> float:
    """Return the Mahalanobis distance of a refined pose from the one before, by the covariance of that; NaN without."""
    before, after = (PoseEstimate(each.cam_from_map.inverse(), each.covariance) for each in (coarse, refined))
    offset = before.offset_to(after)
    try:
        return float(np.sqrt(offset @ np.linalg.solve(coarse.covariance, offset)))
    except np.linalg.LinAlgError:
        return float("nan")
