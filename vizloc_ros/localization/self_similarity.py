"""Places of a map that look alike: keyframes that could as well be localized where they are not.

Each keyframe asks the map without its surroundings, with its stored features. If far landmarks explain at least half of
what its own ones do, an image taken there is ambiguous. No truth is needed but the map's own poses.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from vizloc_ros.arrays import Bool, Float32, Int64, evenly
from vizloc_ros.features.types import Features
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.localization.absolute_pose import Matches, estimate_absolute_pose, reprojection_errors
from vizloc_ros.localization.global_search import GlobalSearch
from vizloc_ros.localization.localization_options import PoseOptions, RetrievalOptions
from vizloc_ros.localization.place_matching import PlaceMatcher
from vizloc_ros.localization.places import Place, PlaceFinder
from vizloc_ros.mapping.map_part import stored_keyframe
from vizloc_ros.mapping.map_writer import add_to_map
from vizloc_ros.mapping.route_coverage import Route, routes_of_map
from vizloc_ros.mapping.self_similarity_report import BUILD_KEY, AlikeStretch, SelfSimilarity
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.parallel import Progress, silent
from vizloc_ros.timing import Stopwatch
from vizloc_ros.work.stages import IN_MEMORY, Arrays, Stages

_COMPARED = 200  # keyframes, evenly along the map
_KEYPOINTS = 300  # of a keyframe, evenly chosen
_AT_HOME = 10  # keyframes in which its own landmarks are found, as a query would retrieve them
_SURROUNDINGS = 100.0  # m; a keyframe in here that sees a common landmark is no other place
_OTHER_DIRECTION = 10.0  # deg
_TRIALS = 1000  # of RANSAC: three inliers of a fifth of the matches are found with a probability of 0.9997


def add_self_similarity(folder: Path, progress: Progress = silent, work: Stages = IN_MEMORY) -> SelfSimilarity:
    """Compare the places of a map, and add the result to its build report. Raises ``MapError`` without a map."""
    visual_map = VisualMap.open(folder)
    found = self_similarity(visual_map, progress, work)
    build = {**visual_map.info.build, BUILD_KEY: found.model_dump(mode="json")}
    add_to_map(folder, [], lambda _: None, {"build": build})
    return found


def self_similarity(visual_map: VisualMap, progress: Progress = silent, work: Stages = IN_MEMORY) -> SelfSimilarity:
    """Compare up to 200 keyframes of a map, evenly chosen, with all others; ``work`` is the place where."""
    count = visual_map.info.keyframes
    compared = np.unique(evenly(count, min(count, _COMPARED)))
    chosen = np.zeros(count, bool)
    chosen[compared] = True
    comparing = _Comparing(visual_map.folder.resolve(), visual_map.info.created)
    found = work.map("compare", comparing, compared.tolist(), "comparing places", progress)
    like = np.full(count, -1)
    like[compared] = [int(double[0]) if len(double) else -1 for (double,) in found]
    stretches = [
        s for route in routes_of_map(visual_map) for s in _stretches(visual_map.keyframe_names, route, chosen, like)
    ]
    return SelfSimilarity(
        compared=len(compared),
        alike=int((like >= 0).sum()),
        stretches=sorted(stretches, key=lambda s: s.start - s.end),
    )


def _stretches(names: Sequence[str], route: Route, chosen: Bool, like: Int64) -> list[AlikeStretch]:
    """Runs of compared keyframes with doubles; one reaches half the way to the compared ones before and after it."""
    at = np.flatnonzero(chosen[route.keyframes])
    doubles = like[route.keyframes[at]]
    edges = np.diff(np.concatenate([[False], doubles >= 0, [False]]).astype(int))
    stretches = []
    for first, last in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1, strict=True):
        start = at[0] if first == 0 else (at[first - 1] + at[first] + 1) // 2
        end = at[-1] if last == len(at) - 1 else (at[last] + at[last + 1]) // 2
        stretches.append(
            AlikeStretch(
                start=float(route.way[start]),
                end=float(route.way[end]),
                first=names[route.keyframes[start]],
                last=names[route.keyframes[end]],
                like_first=names[doubles[first]],
                like_last=names[doubles[last]],
            )
        )
    return stretches


def _some(features: Features) -> Features:
    rows = evenly(len(features), min(len(features), _KEYPOINTS))
    return replace(
        features,
        keypoints=features.keypoints[rows],
        scores=features.scores[rows],
        descriptors=features.descriptors[rows],
    )


class _Comparing:
    """Function of the stage: keyframe (1,) that one looks like; (0,) without such. Each worker opens the map once."""

    def __init__(self, folder: Path, created: str) -> None:
        self._folder, self._created = folder, created

    def __reduce__(self) -> "tuple[type[_Comparing], tuple[Path, str]]":
        return _Comparing, (self._folder, self._created)

    def __call__(self, index: int) -> Arrays:
        double = self._doubles.double_of(index)
        return (np.array([] if double is None else [double], np.int64),)

    @cached_property
    def _doubles(self) -> "_Doubles":
        return _Doubles(VisualMap.open(self._folder))


@dataclass(frozen=True)
class _Elsewhere:
    """Search that does not find some keyframes."""

    everywhere: GlobalSearch
    banned: Bool

    def search(self, query: Float32, k: int) -> tuple[Int64, Float32]:
        keyframes, similarities = self.everywhere.search(query, k + int(self.banned.sum()))
        left = ~self.banned[keyframes]
        return keyframes[left][:k], similarities[left][:k]

    def descriptors_of(self, keyframes: Int64) -> Float32:
        return self.everywhere.descriptors_of(keyframes)


class _Doubles:
    """Search for doubles of the keyframes of a map."""

    def __init__(self, visual_map: VisualMap) -> None:
        self._map, self._options = visual_map, PoseOptions()
        self._finder = PlaceFinder(visual_map, RetrievalOptions(further_k=0))

    def double_of(self, index: int) -> int | None:
        """Keyframe that one looks like, the nearest to a pose that far landmarks give it; None without such."""
        keyframe = stored_keyframe(self._map, index, self._map.observations_of(index))
        options, features = self._options, _some(keyframe.features)
        around = self._covisible(index)
        banned = np.zeros(self._map.info.keyframes, bool)
        banned[around] = True
        others = around[around != index]
        others = others[np.unique(evenly(len(others), min(len(others), _AT_HOME)))]
        if banned.all() or not len(others) or len(features) < options.min_inliers:
            return None
        at_home = self._matches(features, Place.of_keyframes(self._map, others, 2))
        own = keyframe.map_from_cam.inverse()
        errors = reprojection_errors(own, at_home.pixels, at_home.positions, keyframe.camera)
        inliers = int((errors <= options.max_reprojection_error).sum())
        needed = max(options.max_rival_ratio * inliers, options.min_inliers)
        finder = copy(self._finder)
        finder.index = _Elsewhere(self._finder.index, banned)
        places = finder.find(features.global_descriptor, Stopwatch()).places
        for place in places[: options.rival_places]:
            matches = self._matches(features, place)
            if len(matches) < needed:
                continue
            found = estimate_absolute_pose(
                matches.pixels,
                matches.positions,
                keyframe.camera,
                max_error=options.max_reprojection_error,
                max_trials=_TRIALS,
                seed=options.seed,
            )
            if found is None or found.inliers.sum() < needed:
                continue
            pose = found.cam_from_map.inverse()
            distance, angle = pose_error(pose, keyframe.map_from_cam)
            if distance > options.rival_distance or angle > _OTHER_DIRECTION:
                return int(np.linalg.norm(self._map.keyframe_poses[:, :3] - pose.translation, axis=1).argmin())
        return None

    def _covisible(self, index: int) -> Int64:
        """Keyframes around one, with itself, that see one of its landmarks."""
        visual_map = self._map
        seen = np.zeros(visual_map.info.landmarks, bool)
        seen[visual_map.landmarks_of(index)] = True
        distances = np.linalg.norm(visual_map.keyframe_poses[:, :3] - visual_map.keyframe_poses[index, :3], axis=1)
        near = np.argsort(distances, kind="stable")[: int((distances < _SURROUNDINGS).sum())]
        return np.array([k for k in near.tolist() if k == index or seen[visual_map.landmarks_of(k)].any()], np.int64)

    def _matches(self, features: Features, place: Place) -> Matches:
        return PlaceMatcher(features, self._options.ratio).matches(0, place, len(features))
