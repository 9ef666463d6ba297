"""Cause of matches that do not fit the known poses: the poses, far-apart keyframes, or places that look alike.

- Places that look alike: keyframes that are far apart in place and time match as well as neighbors do. Most matches are
  then between different things, and say nothing about the poses.
- Keyframes too far apart: neither the nearest keyframe nor the next one in time has matches that fit any geometry.
- Wrong poses: neighbors match, by a geometry of their own, but not by that of the known poses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pycolmap

from vizloc_ros.arrays import evenly
from vizloc_ros.geometry.camera import PIXEL_CENTRE
from vizloc_ros.geometry.colmap_camera import colmap_camera
from vizloc_ros.mapping.keyframe_pairs import Keyframe, PairOptions, nearest_partners
from vizloc_ros.mapping.pair_matching import MatchOptions, PairMatches, match_pairs
from vizloc_ros.parallel import parallel_map, silent

_PROBES = 20  # keyframes that are looked at
_MIN_CONSISTENT = 30  # matches that fit one geometry; false matches that do are about ten
_LIKE_NEIGHBORS = 1 / 3  # of the neighbors' matches that fit one geometry
_REPEATED = 0.5  # ratio of the pairs that are far apart
_MIN_FAR_PAIRS = 4
_SETTINGS = pycolmap.TwoViewGeometryOptions(
    min_num_inliers=8,
    detect_watermark=False,
    ransac={"max_error": 3.0, "random_seed": 0, "max_num_trials": 1000},
)


@dataclass(frozen=True)
class Consistency:
    """Matches of keyframes that fit one geometry of two views, whatever the poses are.

    Attributes:
        neighbors: such matches of some keyframes with the nearest or the next one, the larger number.
        distance: median distance of these neighbors [m].
        far: such matches of pairs that are far apart in place and time.
        far_distance: smallest distance of these pairs [m].
    """

    neighbors: list[int]
    distance: float
    far: list[int]
    far_distance: float

    @property
    def repeated(self) -> int:
        """Number of pairs that are far apart and match like neighbors; 0 unless these are many."""
        enough = max(_MIN_CONSISTENT, _LIKE_NEIGHBORS * float(np.median(self.neighbors or [0])))
        alike = sum(count >= enough for count in self.far)
        return alike if len(self.far) >= _MIN_FAR_PAIRS and alike >= _REPEATED * len(self.far) else 0

    @property
    def overlapping(self) -> int:
        """Number of keyframes that have something in common with a neighbor."""
        return sum(count >= _MIN_CONSISTENT for count in self.neighbors)

    @property
    def too_far_apart(self) -> bool:
        """True if most keyframes have nothing in common with a neighbor."""
        return bool(self.neighbors) and self.overlapping < len(self.neighbors) / 2

    def repeated_warning(self, figures: str) -> str:
        """Warning of places that look alike; ``figures`` say how many matches fit the poses."""
        return (
            f"repeated structure: {self.repeated} of {len(self.far)} pairs of keyframes that are "
            f"{self.far_distance:.3g} m or more apart match like neighbors, because they look alike. {figures}, "
            "which says nothing against the poses. Places that look alike can be taken for one another"
        )

    def distance_warning(self, figures: str) -> str:
        """Warning of keyframes that are too far apart."""
        return (
            f"too far apart: {self.overlapping} of {len(self.neighbors)} keyframes have matches of one geometry with a "
            f"neighbor, which is {self.distance:.3g} m away in the median; {figures}. Take images closer to each "
            "other, if these show anything to match"
        )


def consistency(keyframes: Sequence[Keyframe], pairs: PairOptions, matching: MatchOptions) -> Consistency:
    """Match some keyframes with their neighbors and with others far away, and count what fits one geometry."""
    centers = np.array([k.map_from_cam.translation for k in keyframes])
    count = len(keyframes)
    probed = np.unique(evenly(count, _PROBES)).tolist()
    nearest = nearest_partners(keyframes, pairs)
    near = {i: [nearest.get(i, i), i + 1 if i + 1 < count else i - 1] for i in probed}
    far = [(i, (i + count // 2) % count) for i in probed]
    far = [(i, j) for i, j in far if np.linalg.norm(centers[i] - centers[j]) > pairs.max_distance]
    chosen = {(min(p), max(p)) for p in [*((i, j) for i in near for j in near[i] if i != j), *far]}
    matched = match_pairs(keyframes, sorted(chosen), matching, silent)
    counts = parallel_map(partial(_consistent, keyframes), matched, "", silent)
    by_pair = {(m.i, m.j): n for m, n in zip(matched, counts, strict=True)}

    def of(i: int, j: int) -> int:
        return by_pair.get((min(i, j), max(i, j)), 0)

    return Consistency(
        [max(of(i, j) for j in near[i]) for i in probed],
        float(np.median([np.linalg.norm(centers[i] - centers[near[i][0]]) for i in probed])),
        [of(i, j) for i, j in {(min(p), max(p)) for p in far}],
        min((float(np.linalg.norm(centers[i] - centers[j])) for i, j in far), default=float("nan")),
    )


def _consistent(keyframes: Sequence[Keyframe], pair: PairMatches) -> int:
    """Number of the tentative matches of a pair that fit one geometry of two views."""
    if len(pair.tentative) < _MIN_CONSISTENT:
        return 0
    (camera_a, pixels_a), (camera_b, pixels_b) = (
        (colmap_camera(k.camera), k.features.keypoints.astype(np.float64) + PIXEL_CENTRE)
        for k in (keyframes[pair.i], keyframes[pair.j])
    )
    found = pycolmap.estimate_two_view_geometry(
        camera_a, pixels_a, camera_b, pixels_b, pair.tentative.astype(np.uint32), _SETTINGS
    )
    return len(found.inlier_matches)
