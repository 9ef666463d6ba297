"""Share of a map's route that a camera can be localized on, by length, and the stretches where it cannot.

The route is the way from keyframe to keyframe in order of time, for each camera and folder of images. A step of it can
be localized if both of its keyframes see enough landmarks, and some of them in common: between them, a camera sees
these. A jump, as from one drive to the next, is no part of the route. Pictures in no order need nothing in common.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from vizloc_ros.arrays import Bool, Float64, Int32, Int64
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.triangulation import Triangulation
from vizloc_ros.mapping.visual_map import VisualMap

ENOUGH_LANDMARKS = 30  # that a keyframe must see
_IN_COMMON = 10  # landmarks of successive keyframes: a pose between them needs about as many
_JUMP, _SHORTEST_JUMP = 20.0, 25.0  # median steps, m; a step that is longer than both is the way to another drive
_UNORDERED = 10.0  # next by nearest distance, beyond which pictures have no order
_GOOD_SHARE = 0.95
_MAX_SHOWN = 5


class Route(NamedTuple):
    """Way of one camera through the keyframes of one folder.

    Attributes:
        keyframes: (N,) keyframes in order of time.
        way: (N,) lengths of the way to them, counted on from the route before [m].
    """

    keyframes: Int64
    way: Float64


class Stretch(NamedTuple):
    """Stretch of the route without localization.

    Attributes:
        start: way to its first keyframe [m].
        end: way to its last one [m].
        first: name of its first keyframe.
        last: name of its last one.
    """

    start: float
    end: float
    first: str
    last: str

    def __str__(self) -> str:
        """Text such as "12.0 to 20.5 m (000012.png to 000020.png)"."""
        return f"{self.start:.1f} to {self.end:.1f} m ({self.first} to {self.last})"


@dataclass(frozen=True)
class RouteCoverage:
    """Coverage of a route.

    Attributes:
        length: length of the route [m].
        localizable: length of the steps that can be localized [m].
        stretches: the others, joined where they follow each other, the longest first.
        empty: names of the keyframes that see no landmark.
        keyframes: number of keyframes.
    """

    length: float
    localizable: float
    stretches: list[Stretch]
    empty: list[str]
    keyframes: int

    @property
    def share(self) -> float:
        """Ratio of the route that can be localized; of keyframes that did not move, 0 or 1."""
        return min(1.0, self.localizable / self.length) if self.length > 0 else float(len(self.empty) < self.keyframes)

    @property
    def text(self) -> str:
        """Text such as "87 % of the route of 80 m can be localized"."""
        return f"{100 * self.share:.0f} % of the route of {self.length:.0f} m can be localized"

    def warnings(self) -> list[str]:
        """Warnings of keyframes without landmarks, and of stretches without localization."""
        found = []
        if self.empty:
            found.append(
                f"{len(self.empty)} of {self.keyframes} keyframes see no landmark: {_shown(self.empty)}. They are "
                "blurred or dark, show nothing to match, or are the only ones of their view"
            )
        if self.share < _GOOD_SHARE:
            found.append(f"{self.text}; not {_shown(list(map(str, self.stretches)))}")
        return found


def coverage_of_map(visual_map: VisualMap) -> RouteCoverage:
    """Coverage of a map's route."""
    landmarks = [visual_map.landmarks_of(k) for k in range(visual_map.info.keyframes)]
    return route_coverage(
        visual_map.keyframe_names,
        visual_map.keyframe_poses[:, :3],
        visual_map.keyframe_stamps,
        visual_map.keyframe_cameras.tolist(),
        landmarks,
    )


def coverage_of_build(keyframes: Sequence[Keyframe], triangulation: Triangulation) -> RouteCoverage:
    """Coverage of the route of a map that is not written yet."""
    cameras = list(dict.fromkeys(k.camera for k in keyframes))
    rows = triangulation.rows_of_keyframes(len(keyframes))
    return route_coverage(
        [k.name for k in keyframes],
        np.array([k.map_from_cam.translation for k in keyframes]),
        np.array([k.timestamp_ns for k in keyframes], np.int64),
        [cameras.index(k.camera) for k in keyframes],
        [triangulation.landmarks[r] for r in rows],
    )


def route_coverage(
    names: Sequence[str], centers: Float64, stamps: Int64, cameras: Sequence[int], landmarks: Sequence[Int32]
) -> RouteCoverage:
    """Coverage of the route of K keyframes.

    Args:
        names: K names; those of one camera in one folder are in a row.
        centers: (K, 3) positions [m].
        stamps: (K,) times of exposure [ns].
        cameras: K numbers of cameras.
        landmarks: landmarks that each keyframe sees.
    """
    length, stretches, localizable = 0.0, list[Stretch](), 0.0
    for row, way in _routes(names, centers, stamps, cameras):
        steps = _steps(centers[row])
        good = _good_steps([landmarks[k] for k in row], 0 if _is_collection(centers[row], steps) else _IN_COMMON)
        stretches += _stretches([names[k] for k in row], way, good)
        localizable += float(steps[good].sum())
        length = float(way[-1])
    return RouteCoverage(
        length,
        localizable,
        sorted(stretches, key=lambda s: s.start - s.end),
        [name for name, seen in zip(names, landmarks, strict=True) if len(seen) == 0],
        len(names),
    )


def routes_of_map(visual_map: VisualMap) -> list[Route]:
    """Routes of a map, one after the other."""
    return _routes(
        visual_map.keyframe_names,
        visual_map.keyframe_poses[:, :3],
        visual_map.keyframe_stamps,
        visual_map.keyframe_cameras.tolist(),
    )


def _routes(names: Sequence[str], centers: Float64, stamps: Int64, cameras: Sequence[int]) -> list[Route]:
    rows: dict[tuple[int, str], list[int]] = {}
    for k in np.argsort(stamps, kind="stable").tolist():
        rows.setdefault((cameras[k], names[k].rpartition("/")[0]), []).append(k)
    routes, length = [], 0.0
    for row in rows.values():
        way = length + np.concatenate([[0.0], np.cumsum(_steps(centers[row]))])
        routes.append(Route(np.array(row), way))
        length = float(way[-1])
    return routes


def _steps(centers: Float64) -> Float64:
    """Lengths of the steps between successive positions [m]; 0 for jumps."""
    steps = np.linalg.norm(np.diff(centers, axis=0), axis=1)
    moved = steps[steps > 0]
    jump = max(_SHORTEST_JUMP, _JUMP * float(np.median(moved))) if len(moved) else np.inf
    return np.where(steps > jump, 0.0, steps)


def _is_collection(centers: Float64, steps: Float64) -> bool:
    """Tell pictures in no order from a drive: the next one is much farther away than the nearest one."""
    if len(centers) < 3 or not (steps > 0).any():
        return False
    nearest = cKDTree(centers).query(centers, k=2)[0][:, 1]
    return bool(np.median(steps[steps > 0]) > _UNORDERED * np.median(nearest))


def _good_steps(landmarks: Sequence[Int32], in_common: int) -> Bool:
    """Mask of the steps that can be localized, if their keyframes have landmarks ``in_common``."""
    enough = [len(seen) >= ENOUGH_LANDMARKS for seen in landmarks]
    return np.array(
        [
            enough[i] and enough[i + 1] and len(np.intersect1d(landmarks[i], landmarks[i + 1])) >= in_common
            for i in range(len(landmarks) - 1)
        ],
        bool,
    )


def _stretches(names: Sequence[str], way: Float64, good: Bool) -> list[Stretch]:
    """Runs of steps of some length that are not good."""
    edges = np.diff(np.concatenate([[False], ~good, [False]]).astype(int))
    runs = zip(np.flatnonzero(edges == 1).tolist(), np.flatnonzero(edges == -1).tolist(), strict=True)
    return [
        Stretch(float(way[first]), float(way[last]), names[first], names[last])
        for first, last in runs
        if way[last] > way[first]
    ]


def _shown(texts: Sequence[str]) -> str:
    return ", ".join(texts[:_MAX_SHOWN]) + (f" and {len(texts) - _MAX_SHOWN} more" if len(texts) > _MAX_SHOWN else "")
