"""Depth of what the keyframes see, before there is a map, and how far apart keyframes may be for it.

A street is 10 to 30 m deep, and keyframes 25 m apart have little in common. From the air, 50 m are nothing. The depth
comes from the matches of a few neighbors whose poses they agree with.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vizloc_ros.arrays import Float64, evenly
from vizloc_ros.geometry.epipolar import match_depths
from vizloc_ros.mapping.keyframe_pairs import Keyframe, PairOptions, nearest_partners
from vizloc_ros.mapping.pair_matching import MatchOptions, PairMatches, match_pairs
from vizloc_ros.mapping.parallax import needed_parallax
from vizloc_ros.parallel import silent

_PROBES = 16  # keyframes whose nearest neighbor is matched
_DENSE = 4.0  # steps within the maximum distance: then there are enough partners, whatever the depth is
_ORDINARY = 2.0  # depth by maximum distance, up to which this is far enough
_PLAUSIBLE = 1000.0  # m; farther landmarks are those of positions that are not in meters
_MIN_MATCHES, _MIN_AGREEMENT = 20, 0.25  # of a pair that overlaps; chance gives about 0.05
_MIN_SINE = np.sin(np.radians(1.0))  # of the angle of two rays that tell a depth


@dataclass(frozen=True)
class NeighborViews:
    """Views of some keyframes and of the nearest one to each.

    Attributes:
        pairs: number of pairs that were matched; 0 if keyframes are so dense that nobody needs to know.
        overlapping: number of those that have matches which agree with the poses.
        depth: median depth of these matches [m]; NaN if it is not known.
    """

    pairs: int = 0
    overlapping: int = 0
    depth: float = float("nan")

    @property
    def is_plausible(self) -> bool:
        """False if landmarks are so far away that positions cannot be in meters."""
        return not self.depth > _PLAUSIBLE


def neighbor_views(keyframes: Sequence[Keyframe], options: PairOptions, matching: MatchOptions) -> NeighborViews:
    """Match some keyframes with their nearest neighbors, if these are far apart."""
    partners = nearest_partners(keyframes, options)
    centers = np.array([k.map_from_cam.translation for k in keyframes])
    pairs = sorted({(min(i, j), max(i, j)) for i, j in partners.items()})
    if not pairs:
        return NeighborViews()
    step = float(np.median([np.linalg.norm(centers[i] - centers[j]) for i, j in pairs]))
    if _DENSE * step <= options.max_distance:
        return NeighborViews()
    probed = [pairs[i] for i in np.unique(evenly(len(pairs), _PROBES))]
    depths = [_depths(keyframes, pair) for pair in match_pairs(keyframes, probed, matching, silent)]
    found = [float(np.median(of_pair)) for of_pair in depths if of_pair is not None and len(of_pair)]
    overlapping = sum(of_pair is not None for of_pair in depths)
    return NeighborViews(len(probed), overlapping, float(np.median(found)) if found else float("nan"))


def in_view(keyframes: Sequence[Keyframe], options: PairOptions, views: NeighborViews) -> PairOptions:
    """Options with the maximum distance at which views of that depth overlap by ``min_overlap``, side by side.

    They stay as they are where the depth is not known, or ordinary, or that distance is smaller.
    """
    if not views.depth > _ORDINARY * options.max_distance or not views.is_plausible:
        return options
    width = float(np.median([min(k.camera.width / k.camera.fx, k.camera.height / k.camera.fy) for k in keyframes]))
    farthest = (1 - options.min_overlap) * width * views.depth
    return options.model_copy(update={"max_distance": max(options.max_distance, farthest)})


def no_pairs(keyframes: Sequence[Keyframe], options: PairOptions, min_angle: float, views: NeighborViews) -> str:
    """Describe why no two keyframes are within the limits of the pairs, with the likely cause.

    Args:
        keyframes: keyframes of the map.
        options: limits of the pairs.
        min_angle: minimum triangulation angle of a landmark [deg].
        views: what neighbors have in common.
    """
    centers = np.array([k.map_from_cam.translation for k in keyframes])
    extent = float(np.linalg.norm(np.ptp(centers, axis=0)))
    if extent < 2 * options.min_distance:
        return (
            f"no parallax: all {len(keyframes)} images were taken within {extent:.3g} m by their poses, so the camera "
            f"stands still or only turns, or positions are not in metres. Two images must be {options.min_distance:g} "
            f"m apart (pairs.min_distance), and {needed_parallax(min_angle)}"
        )
    step = float(np.median(np.linalg.norm(np.diff(centers, axis=0), axis=1)))
    return (
        f"no two images are within {options.max_distance:g} m and {options.max_angle:g} deg of each other; successive "
        f"ones are {step:.3g} m apart: {_cause(step, options, views)}"
    )


def _cause(step: float, options: PairOptions, views: NeighborViews) -> str:
    if step <= options.max_distance:
        return "they look in other directions: wrong rotations, or too few images"
    if not views.is_plausible:
        return f"wrong scale (are positions in metres?): by the matches, they see what is {views.depth:.3g} m away"
    common = f"{views.overlapping} of {views.pairs} pairs of neighbors have matches that agree with the poses"
    if views.overlapping > views.pairs / 2:
        depth = f", at a depth of {views.depth:.3g} m" if np.isfinite(views.depth) else ""
        return f"too far apart for what the camera sees: {common}{depth}. Take images closer to each other"
    return (
        f"too far apart: {common}. Take images closer to each other; if they are close, it is a wrong scale (are "
        "positions in metres?)"
    )


def _depths(keyframes: Sequence[Keyframe], pair: PairMatches) -> Float64 | None:
    """Depths [m] of the matches that agree with the poses, where they tell one; None if too few agree."""
    a, b = keyframes[pair.i], keyframes[pair.j]
    pixels = (k.features.keypoints[index].astype(np.float64) for k, index in zip((a, b), pair.agreeing.T, strict=True))
    depths, sines = match_depths(a.camera, b.camera, a.map_from_cam, b.map_from_cam, *pixels)
    seen = np.isfinite(depths)
    if seen.sum() < max(_MIN_MATCHES, _MIN_AGREEMENT * len(pair.tentative)):
        return None
    return depths[seen & (sines >= _MIN_SINE)]
