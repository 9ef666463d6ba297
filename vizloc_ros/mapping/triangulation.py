"""Triangulation with COLMAP: landmarks from verified matches and known poses, and the model in COLMAP's format.

In COLMAP, (0.5, 0.5) is the center of the top-left pixel. In the rest of the package it is (0, 0).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pycolmap
from pydantic import Field

from vizloc_ros.arrays import Float64, Int32, Int64
from vizloc_ros.geometry.camera import PIXEL_CENTRE, PinholeCamera
from vizloc_ros.geometry.colmap_camera import colmap_camera
from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.pair_matching import PairMatches
from vizloc_ros.options import Options
from vizloc_ros.parallel import Progress, parallel_map

_REFINED_TOGETHER = 1_000_000  # observations: about 1000 keyframes
_BLOCK = 100_000  # observations of a block of larger maps


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
        mean_error: mean reprojection error [px]; NaN without landmarks.
        model: COLMAP reconstruction; image ids are keyframe indices + 1, point ids are landmark indices + 1.
    """

    positions: Float64
    keyframes: Int64
    keypoints: Int64
    landmarks: Int32
    mean_error: float
    model: pycolmap.Reconstruction

    def rows_of_keyframes(self, num_keyframes: int) -> list[slice]:
        """Rows of the observations of each keyframe."""
        offsets = np.searchsorted(self.keyframes, np.arange(num_keyframes + 1)).tolist()
        return [slice(start, stop) for start, stop in pairwise(offsets)]


def triangulate(
    keyframes: Sequence[Keyframe], matches: Sequence[PairMatches], options: TriangulationOptions, progress: Progress
) -> Triangulation:
    """Triangulate the verified matches with fixed poses, refine the points, and drop outliers and short tracks."""
    model = posed_model(keyframes)
    graph = _correspondence_graph(keyframes, matches)
    observations = pycolmap.ObservationManager(model, graph)
    triangulator = pycolmap.IncrementalTriangulator(graph, model, observations)
    settings = pycolmap.IncrementalTriangulatorOptions(
        random_seed=0, min_angle=options.min_angle, ignore_two_view_tracks=False
    )
    for i in progress(range(len(keyframes)), "triangulating landmarks", len(keyframes)):
        triangulator.triangulate_image(settings, i + 1)
    triangulator.complete_all_tracks(settings)
    triangulator.merge_all_tracks(settings)
    _refine_points(model)
    observations.filter_all_points3D(options.max_reprojection_error, options.min_angle)
    _drop_short_tracks(model, options)
    return _collect(keyframes, _renumbered(keyframes, model))


def _drop_short_tracks(model: pycolmap.Reconstruction, options: TriangulationOptions) -> None:
    """Drop the landmarks of fewer than ``min_track_length`` keyframes, if all of these see enough others.

    Of keyframes that are far apart, few landmarks are in three, and a map without the others is empty.
    """
    tracks = {
        point_id: [e.image_id for e in model.point3D(point_id).track.elements] for point_id in model.point3D_ids()
    }
    long = [track for track in tracks.values() if len(track) >= options.min_track_length]
    seen = Counter(image_id for track in long for image_id in track)
    for point_id, track in tracks.items():
        if len(track) < options.min_track_length and min(seen[i] for i in track) >= options.enough_landmarks:
            model.delete_point3D(point_id)


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


def _correspondence_graph(
    keyframes: Sequence[Keyframe], matches: Sequence[PairMatches]
) -> pycolmap.CorrespondenceGraph:
    graph = pycolmap.CorrespondenceGraph()
    for i, keyframe in enumerate(keyframes):
        graph.add_image(i + 1, len(keyframe.features))
    for pair in matches:
        geometry = pycolmap.TwoViewGeometry()
        geometry.config = pycolmap.TwoViewGeometryConfiguration.CALIBRATED
        geometry.inlier_matches = pair.verified.astype(np.uint32)
        graph.add_two_view_geometry(pair.i + 1, pair.j + 1, geometry)
    graph.finalize()
    return graph


def _refine_points(model: pycolmap.Reconstruction) -> None:
    """Minimize the reprojection errors over the points alone, with fixed cameras and poses.

    The points do not depend on each other, and the solver needs 650 bytes an observation. So large maps are refined
    block by block, on all cores.
    """
    if model.compute_num_observations() <= _REFINED_TOGETHER:
        config = pycolmap.BundleAdjustmentConfig()
        for image_id in model.reg_image_ids():
            config.add_image(image_id)
        for frame_id in model.reg_frame_ids():
            config.set_constant_rig_from_world_pose(frame_id)
        _adjust(model, config)
        return
    blocks, observations = [pycolmap.BundleAdjustmentConfig()], 0
    for point_id in sorted(model.point3D_ids()):
        if observations >= _BLOCK:
            blocks.append(pycolmap.BundleAdjustmentConfig())
            observations = 0
        blocks[-1].add_variable_point(point_id)  # of images that are not in the configuration, and so fixed
        observations += model.point3D(point_id).track.length()
    parallel_map(lambda block: _adjust(model, block), blocks, "refining landmarks")


def _adjust(model: pycolmap.Reconstruction, config: pycolmap.BundleAdjustmentConfig) -> None:
    for camera_id in model.cameras:
        config.set_constant_cam_intrinsics(camera_id)
    options = pycolmap.BundleAdjustmentOptions(print_summary=False)
    options.ceres.solver_options.num_threads = 1  # sums of several threads differ in their last digits
    pycolmap.create_default_bundle_adjuster(options, config, model).solve()


def _renumbered(keyframes: Sequence[Keyframe], model: pycolmap.Reconstruction) -> pycolmap.Reconstruction:
    """Copy of the model whose point ids are 1 to L, without the gaps of dropped points."""
    renumbered = posed_model(keyframes)
    for point_id in sorted(model.point3D_ids()):
        point = model.point3D(point_id)
        renumbered.add_point3D(point.xyz, point.track)
    renumbered.update_point_3d_errors()
    return renumbered


def _collect(keyframes: Sequence[Keyframe], model: pycolmap.Reconstruction) -> Triangulation:
    """Collect the observations of a renumbered model, keyframe by keyframe."""
    count = model.num_points3D()
    positions = np.array([model.point3D(landmark + 1).xyz for landmark in range(count)]).reshape(-1, 3)
    observed = np.concatenate([np.zeros((0, 3), np.int64), *(_observed(model, i) for i in range(len(keyframes)))])
    mean_error = float(model.compute_mean_reprojection_error()) if count else float("nan")
    return Triangulation(positions, observed[:, 0], observed[:, 1], observed[:, 2].astype(np.int32), mean_error, model)


def _observed(model: pycolmap.Reconstruction, keyframe: int) -> Int64:
    """(N, 3) keyframe, keypoint and landmark of the observations in a keyframe."""
    image = model.image(keyframe + 1)
    keypoints = np.array(image.get_observation_point2D_idxs(), np.int64)
    landmarks = np.array([point.point3D_id for point in image.get_observation_points2D()], np.int64) - 1
    return np.column_stack([np.full(len(keypoints), keyframe), keypoints, landmarks])


def triangulation_of(
    keyframes: Sequence[Keyframe], positions: Float64, owners: Int64, keypoints: Int64, landmarks: Int32
) -> Triangulation:
    """Join landmarks that are known already with their observations.

    Args:
        keyframes: keyframes with their features.
        positions: (L, 3) positions of the landmarks in the map frame [m].
        owners: (M,) index of each observation's keyframe, ascending.
        keypoints: (M,) index of its keypoint in that keyframe.
        landmarks: (M,) index of its landmark.
    """
    model = posed_model(keyframes)
    order = np.argsort(landmarks, kind="stable")
    ends = np.cumsum(np.bincount(landmarks, minlength=len(positions)))
    for landmark, position in enumerate(positions):
        rows = order[ends[landmark - 1] if landmark else 0 : ends[landmark]]
        track = pycolmap.Track([pycolmap.TrackElement(int(owners[row]) + 1, int(keypoints[row])) for row in rows])
        model.add_point3D(position, track)
    model.update_point_3d_errors()
    mean_error = float(model.compute_mean_reprojection_error()) if len(positions) else float("nan")
    return Triangulation(positions, owners, keypoints, landmarks, mean_error, model)


def observation_depths(keyframes: Sequence[Keyframe], triangulation: Triangulation) -> Float64:
    """(M,) depth [m] of every observation."""
    points = triangulation.positions[triangulation.landmarks]
    rows = triangulation.rows_of_keyframes(len(keyframes))
    return np.concatenate(
        [transform_points(k.map_from_cam.inverse(), points[r])[:, 2] for k, r in zip(keyframes, rows, strict=True)]
    )


def write_model(model: pycolmap.Reconstruction, folder: Path) -> None:
    """Write the model to an existing folder in COLMAP's binary format."""
    model.write_binary(folder)
