"""Triangulation with COLMAP: landmarks from verified matches and known poses.

In COLMAP, (0.5, 0.5) is the center of the top-left pixel. In the rest of the package it is (0, 0).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pycolmap
from pydantic import Field

from vizloc_ros.arrays import Float64, Int32, Int64
from vizloc_ros.geometry.camera import PIXEL_CENTRE, PinholeCamera
from vizloc_ros.geometry.colmap_camera import colmap_camera
from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.landmark_refinement import Views, refined_points
from vizloc_ros.mapping.pair_matching import PairMatches
from vizloc_ros.mapping.track_groups import TrackGroup, track_groups
from vizloc_ros.options import Options
from vizloc_ros.parallel import Progress
from vizloc_ros.work.stages import IN_MEMORY, Arrays, Stages


class TriangulationOptions(Options):
    """Conditions for the landmarks and observations that are kept."""

    max_reprojection_error: float = Field(3.0, gt=0, description="maximum reprojection error of an observation [px]")
    min_angle: float = Field(1.0, gt=0, description="minimum triangulation angle of a landmark [deg]")
    min_track_length: int = Field(3, ge=2, description="minimum number of keyframes that observe a landmark")
    enough_landmarks: int = Field(
        500, ge=0, description="keyframes that see fewer landmarks keep those that two keyframes observe, too"
    )


@dataclass(frozen=True)
class Triangulation:
    """Landmarks and their observations in keyframes.

    Attributes:
        positions: (L, 3) positions of the landmarks in the map frame [m].
        keyframes: (M,) index of each observation's keyframe, ascending.
        keypoints: (M,) index of its keypoint in that keyframe.
        landmarks: (M,) index of its landmark.
        errors: (L,) mean reprojection error of each landmark [px].
    """

    positions: Float64
    keyframes: Int64
    keypoints: Int64
    landmarks: Int32
    errors: Float64

    @property
    def mean_error(self) -> float:
        """Mean reprojection error of the landmarks [px]; NaN without any."""
        return float(self.errors.mean()) if len(self.errors) else float("nan")

    def rows_of_keyframes(self, num_keyframes: int) -> list[slice]:
        """Rows of the observations of each keyframe."""
        offsets = np.searchsorted(self.keyframes, np.arange(num_keyframes + 1)).tolist()
        return [slice(start, stop) for start, stop in pairwise(offsets)]


def triangulate(
    keyframes: Sequence[Keyframe],
    matches: Sequence[PairMatches],
    options: TriangulationOptions,
    progress: Progress,
    work: Stages = IN_MEMORY,
    *,
    stage: str = "triangulate",
) -> Triangulation:
    """Triangulate the verified matches with fixed poses, refine the points, and drop outliers and short tracks.

    Args:
        keyframes: posed keyframes with their features.
        matches: matches of their pairs.
        options: conditions for landmarks and observations.
        progress: progress display.
        work: place where groups of tracks are triangulated.
        stage: name of the stage.
    """
    groups = track_groups(keyframes, matches)
    found = work.map(stage, _Triangulating(options), groups, "triangulating landmarks", progress)
    counts = [len(positions) for positions, _, _ in found]
    starts = np.cumsum([0, *counts])
    positions = np.concatenate([np.zeros((0, 3)), *(of_group for of_group, _, _ in found)])
    errors = np.concatenate([np.zeros(0), *(of_group for _, of_group, _ in found)])
    observed = np.concatenate(
        [
            np.zeros((0, 3), np.int64),
            *(rows + np.array([0, 0, start]) for (_, _, rows), start in zip(found, starts, strict=False)),
        ]
    )
    observed = observed[_long_enough(observed, len(keyframes), options)]
    return _sorted(positions, errors, observed)


def _long_enough(observed: Int64, num_keyframes: int, options: TriangulationOptions) -> Int64:
    """Rows of the landmarks of ``min_track_length`` keyframes, or of one that sees too few of those.

    Of keyframes that are far apart, few landmarks are in three, and a map without the others is empty.
    """
    keyframes, landmarks = observed[:, 0], observed[:, 2]
    is_long = (np.bincount(landmarks) >= options.min_track_length)[landmarks]
    seen = np.bincount(keyframes[is_long], minlength=num_keyframes)
    needed = np.unique(landmarks[seen[keyframes] < options.enough_landmarks])
    return np.flatnonzero(is_long | np.isin(landmarks, needed))


def _sorted(positions: Float64, errors: Float64, observed: Int64) -> Triangulation:
    """Sort (M, 3) observations (keyframe, keypoint, landmark), and number the landmarks as they first appear."""
    observed = observed[np.lexsort((observed[:, 1], observed[:, 0]))]
    chosen, first, landmarks = np.unique(observed[:, 2], return_index=True, return_inverse=True)
    order = np.argsort(first)
    numbers = np.empty(len(order), np.int32)
    numbers[order] = np.arange(len(order))
    chosen = chosen[order]
    return Triangulation(positions[chosen], observed[:, 0], observed[:, 1], numbers[landmarks], errors[chosen])


@dataclass(frozen=True)
class _Triangulating:
    """Function of the stage: landmarks of a group (N, 3), their errors (N,) and observations (M, 3).

    An observation is the keyframe, the keypoint and the landmark of the group.
    """

    options: TriangulationOptions

    def __call__(self, group: TrackGroup) -> Arrays:
        model = posed_model(group.keyframes)
        graph = _correspondence_graph(group)
        observations = pycolmap.ObservationManager(model, graph)
        triangulator = pycolmap.IncrementalTriangulator(graph, model, observations)
        settings = pycolmap.IncrementalTriangulatorOptions(
            random_seed=0, min_angle=self.options.min_angle, ignore_two_view_tracks=False
        )
        for i in range(len(group.keyframes)):
            triangulator.triangulate_image(settings, i + 1)
        triangulator.complete_all_tracks(settings)
        triangulator.merge_all_tracks(settings)
        _refine(group, model)
        observations.filter_all_points3D(self.options.max_reprojection_error, self.options.min_angle)
        points, observed = _observed(model)
        positions = np.array([model.point3D(point).xyz for point in points]).reshape(-1, 3)
        errors = np.array([model.point3D(point).error for point in points])
        observed[:, 0] = group.indices[observed[:, 0]]
        return positions, errors, observed


def _refine(group: TrackGroup, model: pycolmap.Reconstruction) -> None:
    """Minimize the reprojection errors over the points alone, with fixed cameras and poses."""
    points, observed = _observed(model)
    if points:
        guesses = np.array([model.point3D(point).xyz for point in points])
        owners, keypoints, landmarks = observed.T
        refined, _ = refined_points(guesses, landmarks, Views.of(group.keyframes, owners, keypoints))
        for point, position in zip(points, refined, strict=True):
            model.point3D(point).xyz = position


def posed_model(keyframes: Sequence[Keyframe]) -> pycolmap.Reconstruction:
    """Reconstruction with cameras, registered images and keypoints, but without points."""
    model = pycolmap.Reconstruction()
    camera_ids: dict[PinholeCamera, int] = {}
    for i, keyframe in enumerate(keyframes):
        camera = keyframe.camera
        if camera not in camera_ids:
            camera_ids[camera] = len(camera_ids) + 1
            model.add_camera_with_trivial_rig(colmap_camera(camera, camera_ids[camera]))
        image = pycolmap.Image(
            name=keyframe.name,
            keypoints=keyframe.features.keypoints.astype(np.float64) + PIXEL_CENTRE,
            camera_id=camera_ids[camera],
            image_id=i + 1,
        )
        model.add_image_with_trivial_frame(image, keyframe.map_from_cam.inverse())
    return model


def _correspondence_graph(group: TrackGroup) -> pycolmap.CorrespondenceGraph:
    graph = pycolmap.CorrespondenceGraph()
    for i, keyframe in enumerate(group.keyframes):
        graph.add_image(i + 1, len(keyframe.features))
    for (i, j), matches in zip(group.pairs.tolist(), np.split(group.matches, group.starts[1:]), strict=True):
        geometry = pycolmap.TwoViewGeometry()
        geometry.config = pycolmap.TwoViewGeometryConfiguration.CALIBRATED
        geometry.inlier_matches = matches.astype(np.uint32)
        graph.add_two_view_geometry(i + 1, j + 1, geometry)
    graph.finalize()
    return graph


def _observed(model: pycolmap.Reconstruction) -> tuple[list[int], Int64]:
    """Ids of the points, ascending, and (M, 3) keyframe, keypoint and number of the point of every observation."""
    points = sorted(model.point3D_ids())
    found = [np.zeros((0, 3), np.int64)]
    for image_id in sorted(model.reg_image_ids()):
        image = model.image(image_id)
        keypoints = np.array(image.get_observation_point2D_idxs(), np.int64)
        seen = np.array([point.point3D_id for point in image.get_observation_points2D()], np.int64)
        found.append(np.column_stack([np.full(len(keypoints), image_id - 1), keypoints, np.searchsorted(points, seen)]))
    return points, np.concatenate(found)


def triangulation_of(
    keyframes: Sequence[Keyframe], positions: Float64, owners: Int64, keypoints: Int64, landmarks: Int32
) -> Triangulation:
    """Join landmarks that are known already with their observations.

    Args:
        keyframes: keyframes with their features; each is asked for once.
        positions: (L, 3) positions of the landmarks in the map frame [m].
        owners: (M,) index of each observation's keyframe, ascending.
        keypoints: (M,) index of its keypoint in that keyframe.
        landmarks: (M,) index of its landmark.
    """
    sums = np.zeros(len(positions))
    ends = np.searchsorted(owners, np.arange(len(keyframes) + 1))
    for k, keyframe in enumerate(keyframes):
        rows = slice(ends[k], ends[k + 1])
        points = transform_points(keyframe.map_from_cam.inverse(), positions[landmarks[rows]])
        pixels, _ = keyframe.camera.project(points)
        errors = np.linalg.norm(pixels - keyframe.features.keypoints[keypoints[rows]], axis=1)
        np.add.at(sums, landmarks[rows], errors)
    errors = sums / np.bincount(landmarks, minlength=len(positions))
    return Triangulation(positions, owners, keypoints, landmarks, errors)


def observation_depths(keyframes: Sequence[Keyframe], triangulation: Triangulation) -> Float64:
    """(M,) depth [m] of every observation."""
    points = triangulation.positions[triangulation.landmarks]
    rows = triangulation.rows_of_keyframes(len(keyframes))
    return np.concatenate(
        [transform_points(k.map_from_cam.inverse(), points[r])[:, 2] for k, r in zip(keyframes, rows, strict=True)]
    )
