"""The part of the map around a camera: what the tracker aligns images with."""

from dataclasses import dataclass

import numpy as np
from pycolmap import Rigid3d
from pydantic import Field
from scipy.spatial.transform import Rotation

from vizloc_ros.arrays import Bool, Float64, Int64
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.options import Options
from vizloc_ros.pixloc.optimizer.projection import project
from vizloc_ros.pixloc.reference_builder import read_references
from vizloc_ros.pixloc.references import LevelReferences, QuantizedLevel, QuantizedReferences, References, unit

_STILL = 0.1  # m between two submaps


class SubmapOptions(Options):
    """Choice of the landmarks around a camera, and when it is repeated."""

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
        300, ge=10, le=100_000, description="minimum landmarks, however different their observation is from the view"
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
        3.0, ge=0, le=100, description="distance travelled after which a submap is chosen again [m]"
    )
    refresh_angle: float = Field(8.0, ge=0, le=180, description="turn after which a submap is chosen again [deg]")


@dataclass(frozen=True)
class Submap:
    """What is around a pose.

    Attributes:
        map_from_cam: the pose that it was chosen for.
        references: the landmarks.
        keyframes: (K,) that they come from, best first.
    """

    map_from_cam: Rigid3d
    references: QuantizedReferences
    keyframes: Int64


class SubmapSelector:
    """Chooses submaps of a map with references."""

    def __init__(
        self, visual_map: VisualMap, options: SubmapOptions | None = None, *, unit_features: bool = True
    ) -> None:
        """Raises ``FeatureError`` if the map has no references."""
        self.options = options or SubmapOptions()
        self._map, self.unit_features = visual_map, unit_features
        if visual_map.references is None:
            visual_map.require_references("")
        self._centres = np.asarray(visual_map.keyframe_poses[:, :3])
        self._directions = Rotation.from_quat(visual_map.keyframe_poses[:, 3:]).as_matrix()[:, :, 2]
        self._current: Submap | None = None

    def around(self, map_from_cam: Rigid3d) -> Submap | None:
        """The submap for a pose: the last one until the camera has moved on; None where the map has nothing."""
        current, ahead = self._current, map_from_cam
        if current is not None:
            moved, turned = pose_error(map_from_cam, current.map_from_cam)
            if moved <= self.options.refresh_distance and turned <= self.options.refresh_angle:
                return current
            ahead = self._ahead(map_from_cam, current.map_from_cam)
        keyframes = self.keyframes_around(ahead)
        self._current = None
        if len(keyframes):
            self._current = Submap(map_from_cam, self.references_of(keyframes, ahead), keyframes)
        return self._current

    def _ahead(self, map_from_cam: Rigid3d, before: Rigid3d) -> Rigid3d:
        """The pose in the middle of the way that the submap is for, if the camera goes on as it did since the last."""
        way = map_from_cam.translation - before.translation
        length, reach = float(np.linalg.norm(way)), self.options.refresh_distance
        if not _STILL < length <= 2 * reach:  # it turned on the spot, or was carried away
            return map_from_cam
        return Rigid3d(map_from_cam.rotation, map_from_cam.translation + 0.5 * reach * way / length)

    def keyframes_around(self, map_from_cam: Rigid3d) -> Int64:
        """Keyframes that see what the camera sees, best first: near, looking the same way, covisible with the best."""
        options = self.options
        distances = np.linalg.norm(self._centres - map_from_cam.translation, axis=1)
        cosines = self._directions @ map_from_cam.rotation.matrix()[:, 2]
        angles = np.arccos(np.clip(cosines, -1, 1))
        near = np.flatnonzero((distances <= options.max_distance) & (angles <= np.radians(options.max_angle)))
        ranked = near[np.argsort(distances[near] + options.meters_per_radian * angles[near], kind="stable")]
        if not len(ranked):
            return ranked
        known = np.unique(self._map.landmarks_of(int(ranked[0])))
        chosen = [int(ranked[0])]
        for keyframe in ranked[1:].tolist():
            if len(chosen) == options.keyframes:
                break
            if np.isin(self._map.landmarks_of(keyframe), known, kind="sort").any():
                chosen.append(keyframe)
        return np.array(chosen)

    def references_of(self, keyframes: Int64, map_from_cam: Rigid3d) -> QuantizedReferences:
        """The landmarks of keyframes, each as the one saw it whose view is most like a camera's, or as a few did."""
        slices = [self._map.observations_of(int(keyframe)) for keyframe in keyframes]
        rows = np.concatenate([np.arange(part.start, part.stop) for part in slices])
        centres = np.repeat(self._centres[keyframes], [part.stop - part.start for part in slices], axis=0)
        landmarks = self._map.observation_landmarks[rows]
        unlike = view_difference(
            self._map.landmark_positions[landmarks] - centres,
            self._map.landmark_positions[landmarks] - map_from_cam.translation,
        )
        order = np.lexsort((unlike, landmarks))  # within a landmark, the most similar view first
        begins = np.diff(landmarks[order], prepend=-1) != 0
        starts, group = np.flatnonzero(begins), np.cumsum(begins) - 1
        kept = self._kept(unlike[order[starts]])
        rank = np.arange(len(order)) - starts[group]
        used = kept[group] & (rank < self.options.average)
        chosen, firsts = rows[order[used]], np.flatnonzero(np.diff(group[used], prepend=-1))
        levels = read_references(self._map, chosen)
        if len(firsts) < len(chosen):
            levels = tuple(self._averaged(level, firsts) for level in levels)
        numbers = self._map.observation_landmarks[chosen[firsts]].astype(np.int64)
        return QuantizedReferences(np.asarray(self._map.landmark_positions[numbers], np.float64), numbers, levels)

    def _kept(self, differences: Float64) -> Bool:
        """Which landmarks are taken, by how differently they were seen: those seen alike, but not too few or many."""
        options = self.options
        alike = int((differences <= options.max_view_difference).sum())
        count = min(max(alike, options.min_landmarks), options.max_landmarks)
        kept = np.zeros(len(differences), bool)
        kept[np.argsort(differences, kind="stable")[:count]] = True
        return kept

    def _averaged(self, stored: QuantizedLevel, firsts: Int64) -> QuantizedLevel:
        """Means weighted by confidence of the rows from each first to the next (PixLoc, section 3.4)."""
        level = stored.dequantized(unit_features=self.unit_features)
        weights = np.maximum(level.confidences, np.float32(1e-3))
        totals = np.add.reduceat(weights, firsts)
        features = (np.add.reduceat(level.features * weights[:, None], firsts) / totals[:, None]).astype(np.float32)
        counts = np.diff(np.append(firsts, len(weights)))
        confidences = (np.add.reduceat(level.confidences, firsts) / counts).astype(np.float32)
        return QuantizedLevel.of(LevelReferences(unit(features) if self.unit_features else features, confidences))


def view_difference(rays: Float64, others: Float64) -> Float64:
    """(N,) how unlike two views of landmarks are: 1 for 1.3 times the distance, or an angle of 15 degrees.

    Args:
        rays: (N, 3) from one camera to each landmark [m].
        others: (N, 3) from the other.
    """
    a, b = np.linalg.norm(rays, axis=1), np.linalg.norm(others, axis=1)
    scale = np.abs(np.log(np.maximum(a, 1e-3) / np.maximum(b, 1e-3))) / np.log(1.3)
    cosine = np.einsum("nd,nd->n", rays, others) / np.maximum(a * b, 1e-6)
    angle = np.arccos(np.clip(cosine, -1, 1)) / np.radians(15)
    return np.asarray(np.hypot(scale, angle))


_MARGIN = 0.1  # of the image's sides: the prediction may be off


def in_view(
    references: References, cam_from_map: Rigid3d, camera: PinholeCamera, correction: IntrinsicsCorrection, most: int
) -> References:
    """The landmarks in the image, or just beside it, as seen from a pose; evenly thinned to at most ``most``."""
    rotation, translation = cam_from_map.rotation.matrix(), cam_from_map.translation
    seen = project(rotation[None], translation[None], references.points, camera, correction)
    size = np.array(camera.size)
    low, high = -_MARGIN * size, (1 + _MARGIN) * size
    inside = ((seen.pixels[0] > low) & (seen.pixels[0] < high)).all(axis=1) & seen.in_front[0]
    rows = np.flatnonzero(inside)
    if len(rows) > most:
        rows = rows[np.linspace(0, len(rows) - 1, most).round().astype(int)]
    return references.take(rows)
