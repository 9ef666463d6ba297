"""Parallax of matches: without it, a camera that stands still or only turns sees no depth, whatever its poses are."""

from collections.abc import Sequence

import numpy as np

from vizloc_ros.arrays import Float64, Int32, evenly
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.pair_matching import PairMatches

_PROBES = 200  # pairs
_CLEARLY_LESS = 0.2  # of the needed angle: at rest, rays differ by 0.01 to 0.07 deg, on straight streets by 0.6 or more


def median_parallax(keyframes: Sequence[Keyframe], matches: Sequence[PairMatches]) -> float:
    """Median angle between the two rays of a tentative match, by the known rotations [deg]; NaN without matches.

    Of many pairs, some are looked at, all along the way.
    """
    angles = [np.zeros(0)]
    for pair in (matches[i] for i in np.unique(evenly(len(matches), min(len(matches), _PROBES)))):
        rays_a, rays_b = (
            _rays(keyframes[k], index) for k, index in zip((pair.i, pair.j), pair.tentative.T, strict=True)
        )
        angles.append(np.degrees(2 * np.arcsin(np.minimum(np.linalg.norm(rays_a - rays_b, axis=1) / 2, 1))))
    together = np.concatenate(angles)
    return float(np.median(together)) if len(together) else float("nan")


def no_parallax(keyframes: Sequence[Keyframe], matches: Sequence[PairMatches], min_angle: float) -> str | None:
    """Describe the lack of parallax, if most matches have clearly less than a landmark needs; else None.

    Args:
        keyframes: keyframes of the map.
        matches: matches of their pairs.
        min_angle: minimum triangulation angle of a landmark [deg].
    """
    parallax = median_parallax(keyframes, matches)
    if not parallax < _CLEARLY_LESS * min_angle:
        return None
    return (
        "no parallax: the camera stands still or only turns, so that its images show no depth. The rays of most "
        f"matches differ by less than {parallax:.2g} deg; {needed_parallax(min_angle)}"
    )


def needed_parallax(min_angle: float) -> str:
    """Parallax that a landmark needs, and the movement that makes it. ``min_angle`` is in degrees."""
    sideways = 10 * np.tan(np.radians(min_angle))
    return (
        f"a landmark needs {min_angle:g} deg (triangulation.min_angle), that is {sideways:.2g} m to the side for what "
        "is 10 m away: drive along what is to be mapped"
    )


def _rays(keyframe: Keyframe, keypoints: Int32) -> Float64:
    """(M, 3) unit rays of keypoints in the axes of the map."""
    rays = keyframe.camera.rays(keyframe.features.keypoints[keypoints].astype(np.float64))
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    return np.asarray(rays @ keyframe.map_from_cam.rotation.matrix().T, np.float64)
