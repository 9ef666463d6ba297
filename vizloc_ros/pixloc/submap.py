"""Submap: the reference features around a camera, with which the tracker aligns images."""

from dataclasses import dataclass

import numpy as np
from pycolmap import Rigid3d
from pydantic import Field
from scipy.spatial.transform import Rotation

from vizloc_ros.arrays import Bool, Float32, Float64, Int64, evenly
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.options import Options
from vizloc_ros.pixloc.landmark_precision import precision_weights, projection_std
from vizloc_ros.pixloc.optimizer.projection import project
from vizloc_ros.pixloc.reference_builder import read_patches, read_references
from vizloc_ros.pixloc.references import LevelReferences, QuantizedLevel, QuantizedReferences, References, unit
from vizloc_ros.pixloc.view_difference import view_difference

_OVERLAP = 0.05  # of the distance for which a submap is used: it begins that much after the end of the one before
_MIN_MOTION = 0.1  # of that distance between two submaps; less is no direction of travel
_MOST_ENLARGED = 1.5  # of a landmark, against its observation; beyond the map's end, such ones pull the pose on
_MOST_DIFFERENT = 2.0  # of max_view_difference, up to which landmarks in view are kept: a prediction may look aside


class SubmapOptions(Options):
    """Options of the choice of the landmarks around a camera, and of its repetition."""

    keyframes: int = Field(8, ge=1, le=200, description="maximum keyframes whose landmarks are taken")
    max_landmarks: int = Field(2000, ge=50, le=100_000, description="maximum landmarks")
    max_distance: float = Field(25.0, gt=0, le=10_000, description="maximum distance of a keyframe [m]")
    max_angle: float = Field(
        90.0, gt=0, le=180, description="maximum angle between the viewing directions of camera and keyframe [deg]"
    )
    meters_per_radian: float = Field(
        8.0, gt=0, le=10_000, description="weight of an angle against a distance when keyframes are ranked [m/rad]"
    )
    min_landmarks: int = Field(
        500,
        ge=10,
        le=100_000,
        description="minimum landmarks in view, if there are as many up to twice max_view_difference",
    )
    max_view_difference: float = Field(
        1.0,
        gt=0,
        le=1_000_000,
        description="maximum difference of an observation from the view: 1 is 1.3 times the distance, or 15 deg",
    )
    average: int = Field(
        1,
        ge=1,
        le=20,
        description="maximum observations of a landmark that are averaged by confidence, the most similar views",
    )
    refresh_distance: float = Field(
        3.0, ge=0, le=100, description="largest distance travelled after which a submap is chosen again [m]"
    )
    refresh_ratio: float = Field(
        0.15, gt=0, le=10, description="the same, as a ratio of the median distance of its landmarks"
    )
    refresh_angle: float = Field(8.0, ge=0, le=180, description="turn after which a submap is chosen again [deg]")


@dataclass(frozen=True)
class Submap:
    """The part of the map around a pose.

    Attributes:
        map_from_cam: pose of the camera for which it was chosen: the middle of the way on which it is used.
        references: landmarks with reference features.
        keyframes: (K,) indices of the keyframes that observed them, best first.
        way: length of that way [m].
    """

    map_from_cam: Rigid3d
    references: QuantizedReferences
    keyframes: Int64
    way: float


class SubmapSelector:
    """Chooses submaps of a map with reference features."""

    def __init__(
        self, visual_map: VisualMap, options: SubmapOptions | None = None, *, unit_features: bool = True
    ) -> None:
        """Open a map. Raises ``FeatureError`` if it has no reference features."""
        self.options = options or SubmapOptions()
        self._map, self.unit_features = visual_map, unit_features
        visual_map.references_or_raise()
        self._centers = np.asarray(visual_map.keyframe_poses[:, :3])
        self._directions = Rotation.from_quat(visual_map.keyframe_poses[:, 3:]).as_matrix()[:, :, 2]
        self._current: dict[str, Submap] = {}  # by the name of the camera

    def around(self, map_from_cam: Rigid3d, camera: str = "") -> Submap | None:
        """Return the submap for a pose of a camera, or None if no keyframe, or none with a similar view, is near.

        It stays the same until the camera has travelled ``Submap.way`` or turned by ``refresh_angle``; a camera that
        turns back leaves it earlier.
        """
        current, ahead = self._current.pop(camera, None), map_from_cam
        if current is not None:
            moved, turned = pose_error(map_from_cam, current.map_from_cam)
            if moved <= (0.5 + _OVERLAP) * current.way and turned <= self.options.refresh_angle:
                self._current[camera] = current
                return current
            ahead = self._ahead(map_from_cam, current)
        keyframes = self.keyframes_around(ahead)
        if not len(keyframes):
            return None
        references = self.references_of(keyframes, ahead)
        if not len(references):
            return None
        self._current[camera] = Submap(ahead, references, keyframes, self._way(references, ahead))
        return self._current[camera]

    def _way(self, references: QuantizedReferences, map_from_cam: Rigid3d) -> float:
        """Return the way on which landmarks around a pose are used: near ones look different after a short one [m]."""
        median = float(np.median(np.linalg.norm(references.positions - map_from_cam.translation, axis=1)))
        return min(self.options.refresh_distance, self.options.refresh_ratio * median)

    def _ahead(self, map_from_cam: Rigid3d, before: Submap) -> Rigid3d:
        """Return the middle of the next submap's way, in the direction of travel since the middle of the last one's."""
        motion = map_from_cam.translation - before.map_from_cam.translation
        length, way = float(np.linalg.norm(motion)), before.way
        if not _MIN_MOTION * way < length <= 2 * way:  # it turned on the spot, or was carried away
            return map_from_cam
        ahead = (0.5 - _OVERLAP) * way
        return Rigid3d(map_from_cam.rotation, map_from_cam.translation + ahead * motion / length)

    def keyframes_around(self, map_from_cam: Rigid3d) -> Int64:
        """Return the keyframes with a view like the camera's, best first: near, of similar direction, and covisible.

        Covisible keyframes share a landmark with the best one.
        """
        options = self.options
        distances = np.linalg.norm(self._centers - map_from_cam.translation, axis=1)
        cosines = self._directions @ map_from_cam.rotation.matrix()[:, 2]
        angles = np.arccos(np.clip(cosines, -1, 1))
        near = np.flatnonzero((distances <= options.max_distance) & (angles <= np.radians(options.max_angle)))
        ranked = near[np.argsort(distances[near] + options.meters_per_radian * angles[near], kind="stable")]
        if not len(ranked):
            return ranked
        landmarks_of_best = np.unique(self._map.landmarks_of(int(ranked[0])))
        chosen = [int(ranked[0])]
        for keyframe in ranked[1:].tolist():
            if len(chosen) == options.keyframes:
                break
            if np.isin(self._map.landmarks_of(keyframe), landmarks_of_best, kind="sort").any():
                chosen.append(keyframe)
        return np.array(chosen)

    def references_of(self, keyframes: Int64, map_from_cam: Rigid3d) -> QuantizedReferences:
        """Return the reference features of the landmarks of keyframes, for a camera at a pose.

        Each landmark has those of its observation with the most similar view, or the average of a few observations
        (PixLoc, section 4: 3D structure); its patch is always that of the most similar view. Confidences are weighted
        by the precision that the landmarks have there. Landmarks that all keyframes saw from far off are left out.
        """
        slices = [self._map.observations_of(int(keyframe)) for keyframe in keyframes]
        rows = np.concatenate([np.arange(part.start, part.stop) for part in slices])  # of the map's observations
        centers = np.repeat(self._centers[keyframes], [part.stop - part.start for part in slices], axis=0)
        landmarks = np.concatenate([self._map.landmarks_of(int(keyframe)) for keyframe in keyframes])
        unique, weights = self._weights(landmarks, centers, map_from_cam)
        positions = self._map.landmark_positions[landmarks]
        enlargements = _enlargements(positions - centers, positions - map_from_cam.translation)
        found = self._map.references_or_raise().has(rows) & (enlargements <= _MOST_ENLARGED)
        rows, centers, landmarks, positions = rows[found], centers[found], landmarks[found], positions[found]
        differences = view_difference(positions - centers, positions - map_from_cam.translation)
        in_view = self._in_view(positions, map_from_cam, int(keyframes[0]))
        chosen, firsts = self._choose_observations(landmarks, differences, in_view)
        levels, patches = read_references(self._map, rows[chosen]), read_patches(self._map, rows[chosen[firsts]])
        if len(firsts) < len(chosen):
            levels = tuple(self._average(level, firsts) for level in levels)
        ids = landmarks[chosen[firsts]].astype(np.int64)
        references = QuantizedReferences(
            np.asarray(self._map.landmark_positions[ids], np.float64), ids, levels, patches
        )
        return references.weighted(weights[np.searchsorted(unique, ids)])

    def _weights(self, landmarks: Int64, centers: Float64, map_from_cam: Rigid3d) -> tuple[Int64, Float32]:
        """Return the landmarks of (N,) observations from (N, 3) centers, in order, and their weights in an image."""
        unique, groups = np.unique(landmarks, return_inverse=True)
        positions = np.asarray(self._map.landmark_positions[unique], np.float64)
        rays, others = _directions(positions[groups] - centers), _directions(positions - map_from_cam.translation)
        return unique, precision_weights(projection_std(rays, groups, others))

    def _in_view(self, positions: Float32, map_from_cam: Rigid3d, keyframe: int) -> Bool:
        """Return the mask of (N, 3) positions that a keyframe's camera would see, however it is rolled."""
        camera = self._map.info.cameras[int(self._map.keyframe_cameras[keyframe])]
        half_angle = np.arctan(0.5 * max(camera.size) / camera.fx)
        rays = positions - map_from_cam.translation
        depths = rays @ map_from_cam.rotation.matrix()[:, 2]
        return np.asarray(depths >= np.cos(half_angle) * np.linalg.norm(rays, axis=1))

    def _choose_observations(self, landmarks: Int64, differences: Float64, in_view: Bool) -> tuple[Int64, Int64]:
        """Choose landmarks, and the observations of each that are the most similar to the view.

        An example with six observations of the landmarks 3, 7 and 9, of which 9 is not kept, and ``average`` = 2:

            index        0   1   2   3   4   5      of the observations
            landmarks    7   3   9   3   3   9
            differences  .2  .9  .5  .1  .4  .3     from the view
                         -------------------------  sorted by landmark, then by difference:
            order        3   4   1   0   5   2
            landmark     3   3   3   7   9   9
            group        0   0   0   1   2   2      one group for each landmark
            begins       x           x   x          with its most similar observation first
            rank         0   1   2   0   0   1      in the group
            kept[group]  x   x   x   x   -   -      by the group's first observation
            used         x   x   -   x   -   -      kept, and rank < average
                         -------------------------
            chosen       3   4       0
            firsts       0           2              where each landmark begins in ``chosen``

        Args:
            landmarks: (N,) landmark of each observation.
            differences: (N,) difference of each observation from the view.
            in_view: (N,) mask of the observations of landmarks in view.

        Returns:
            (M,) indices of the chosen observations, landmark by landmark, and (L,) indices of each landmark's first
            one among them.
        """
        order = np.lexsort((differences, landmarks))
        begins = np.diff(landmarks[order], prepend=-1) != 0
        first_of_group, group = np.flatnonzero(begins), np.cumsum(begins) - 1
        rank = np.arange(len(order)) - first_of_group[group]
        first = order[first_of_group]
        kept = self._keep(differences[first], in_view[first])
        used = kept[group] & (rank < self.options.average)
        return order[used], np.flatnonzero(np.diff(group[used], prepend=-1))

    def _keep(self, differences: Float64, in_view: Bool) -> Bool:
        """Return the mask of the landmarks to keep, by the difference of their views: similar ones, within limits.

        Enough of those in view are kept even if less similar: where a camera turns, the similar ones are elsewhere.
        """
        options = self.options
        most_similar = np.argsort(differences, kind="stable")
        usable = in_view[most_similar] & (differences[most_similar] <= _MOST_DIFFERENT * options.max_view_difference)
        needed = most_similar[usable][: options.min_landmarks]
        similar = most_similar[: max(int((differences <= options.max_view_difference).sum()), options.min_landmarks)]
        ranked = np.concatenate([needed, similar[~np.isin(similar, needed)]])[: options.max_landmarks]
        kept = np.zeros(len(differences), bool)
        kept[ranked] = True
        return kept

    def _average(self, quantized: QuantizedLevel, firsts: Int64) -> QuantizedLevel:
        """Average the rows from each first to the next, weighted by confidence (PixLoc, section 4: 3D structure)."""
        level = quantized.dequantized(unit_features=self.unit_features)
        weights = np.maximum(level.confidences, np.float32(1e-3))
        totals = np.add.reduceat(weights, firsts)
        features = (np.add.reduceat(level.features * weights[:, None], firsts) / totals[:, None]).astype(np.float32)
        counts = np.diff(np.append(firsts, len(weights)))
        confidences = (np.add.reduceat(level.confidences, firsts) / counts).astype(np.float32)
        return QuantizedLevel.of(LevelReferences(unit(features) if self.unit_features else features, confidences))


def _enlargements(rays: Float64, others: Float64) -> Float64:
    """Size (N,) of landmarks on (N, 3) other rays, as a ratio of that on their rays."""
    return np.asarray(np.linalg.norm(rays, axis=1) / np.maximum(np.linalg.norm(others, axis=1), 1e-3))


def _directions(vectors: Float64) -> Float64:
    """Scale (N, 3) vectors to unit length."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9))


_MARGIN = 0.1  # of the image's sides: the pose is a prediction


def in_view(
    references: References,
    cam_from_map: Rigid3d,
    camera: PinholeCamera,
    correction: IntrinsicsCorrection,
    max_count: int,
) -> References:
    """Return the landmarks in the image at a pose, or just beside it; evenly thinned to at most ``max_count``."""
    rotation, translation = cam_from_map.rotation.matrix(), cam_from_map.translation
    projected = project(rotation[None], translation[None], references.positions, camera, correction)
    size = np.array(camera.size)
    low, high = -_MARGIN * size, (1 + _MARGIN) * size
    pixels = projected.pixels[0]
    inside = ((pixels > low) & (pixels < high)).all(axis=1) & projected.in_front[0]
    rows = np.flatnonzero(inside)
    if len(rows) > max_count:
        rows = rows[evenly(len(rows), max_count)]
    return references.take(rows)
