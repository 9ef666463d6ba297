"""Parallax of a map's images: where a camera stands still or only turns, no depth can be measured.

Matches of such images fit any position, so that nothing can be said about poses and scale either.
"""

from collections.abc import Sequence

import numpy as np

from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.pair_matching import PairMatches

_MIN_RATIO = 0.9  # of the matches that a rotation explains, if the camera only turns
_EXAMPLE_DEPTH = 10.0  # m


def stands_still(keyframes: Sequence[Keyframe], min_distance: float) -> bool:
    """Return true if all positions are within a distance [m] of the first."""
    centers = np.array([k.map_from_cam.translation for k in keyframes])
    return bool((np.linalg.norm(centers - centers[0], axis=1) < min_distance).all())


def only_turns(keyframes: Sequence[Keyframe], matches: Sequence[PairMatches]) -> bool:
    """Return true if the known rotations alone explain nearly all tentative matches, within their maximum error."""
    explained = total = 0
    for pair in matches:
        a, b = keyframes[pair.i], keyframes[pair.j]
        directions = []
        for keyframe, index in zip((a, b), pair.tentative.T, strict=True):
            rays = keyframe.camera.rays(keyframe.features.keypoints[index].astype(np.float64))
            rays = rays / np.linalg.norm(rays, axis=1, keepdims=True)
            directions.append(rays @ keyframe.map_from_cam.rotation.matrix().T)
        apart = np.linalg.norm(directions[0] - directions[1], axis=1)  # of unit vectors: the small angle [rad]
        explained += int((apart * min(a.camera.fx, b.camera.fx) <= pair.max_error).sum())
        total += len(pair.tentative)
    return total > 0 and explained >= _MIN_RATIO * total


def no_parallax(keyframes: Sequence[Keyframe], min_angle: float) -> str:
    """Text for a camera that stands still or only turns; landmarks need rays at an angle of ``min_angle`` [deg]."""
    centers = np.array([k.map_from_cam.translation for k in keyframes])
    extent = float(np.linalg.norm(np.ptp(centers, axis=0)))
    needed = _EXAMPLE_DEPTH * np.tan(np.radians(min_angle))
    return (
        f"no parallax: the camera stands still or only turns (its {len(keyframes)} positions are within {extent:.2g} "
        f"m), so no depth can be measured; between two images, move it at least {needed:.2g} m for landmarks "
        f"{_EXAMPLE_DEPTH:g} m away"
    )
