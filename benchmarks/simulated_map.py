"""Simulated map of the size of RobotCar Seasons, written by the package's own writer, and queries in it.

A vehicle with three cameras (left, rear, right) drives along a winding street. A landmark is seen by one of the cameras
from several stops in a row; descriptors of its observations are noisy copies of one, and landmarks share visual words,
so that they resemble others. Global descriptors resemble those of the stops nearby, and a little those of other streets
of the same kind, so that retrieval is wrong at times.

``python simulated_map.py FOLDER`` writes the map in a process of its own and prints the seconds and the peak memory.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import overload

import numpy as np
from measure import memory_mb
from pycolmap import Rigid3d, Rotation3d
from scipy.spatial.transform import Rotation

from vizloc_ros import __version__
from vizloc_ros.arrays import Float32, Float64, Int8, Int64
from vizloc_ros.features.types import Features, quantize
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import pose_of, transform_points
from vizloc_ros.mapping.hloc_import import NoExtractor
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.map_writer import MapContent, write_map
from vizloc_ros.mapping.triangulation import Triangulation
from vizloc_ros.mapping.visual_map import VisualMap

CAMERAS = tuple(PinholeCamera(1024, 1024, 400.0, 400.0, cx, 511.5) for cx in (508.0, 502.0, 500.0))
SIDES = len(CAMERAS)
_YAW = (90.0, 180.0, -90.0)  # of the cameras on the vehicle [deg]
_STEP = 1.4  # m between stops
_MOST_TURN = 1.2  # deg from stop to stop
_SIMILAR = 5  # stops on either side with similar global descriptors
_BLOCK, _KINDS = 40, 120  # stops of one street; kinds of streets, each for every camera
_WORDS = 4096
_MIN_TRACK, _MAX_TRACK = 3, 12
_PIXEL_NOISE = 0.7  # px
_OF_MAP, _OF_QUERY = 0.9, 0.85  # cosines of an observation to its landmark, and of a query to an observation
_CHUNK = 1 << 17


@dataclass(frozen=True)
class Size:
    """Size of a map; by default that of RobotCar Seasons' own model of SIFT: 20,862 images, 36.15 million observations.

    Attributes:
        stops: number of stops; each has a keyframe for every camera.
        landmarks: number of landmarks.
        track_length: mean number of observations of a landmark.
        descriptor: length of a local descriptor.
        global_descriptor: length of a global descriptor.
    """

    stops: int = 6_954
    landmarks: int = 6_770_000
    track_length: float = 5.34
    descriptor: int = 64
    global_descriptor: int = 1024


class Street(Sequence[Keyframe]):
    """Keyframes of a simulated street; the features of one are made when it is asked for, always the same.

    Attributes:
        landmarks: (L, 3) positions of the landmarks [m], those of the first stops first.
    """

    def __init__(self, size: Size, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self._seed = seed
        self._poses = _poses(size.stops, rng)
        self._side = rng.integers(0, SIDES, size.landmarks).astype(np.int8)
        longer = rng.poisson(size.track_length - _MIN_TRACK, size.landmarks)
        self._length = np.minimum(_MIN_TRACK + longer, _MAX_TRACK).astype(np.int32)
        self._first = np.sort(rng.integers(0, size.stops - _MIN_TRACK, size.landmarks)).astype(np.int32)
        self._length = np.minimum(self._length, size.stops - self._first)
        self._starts = np.searchsorted(self._first, np.arange(size.stops + 1, dtype=np.int32))  # of each stop
        self._descriptors = _descriptors(size.landmarks, size.descriptor, rng)
        self._global_descriptors = _global_descriptors(size, rng)
        self.landmarks = self._positions(rng)

    def __len__(self) -> int:
        return len(self._poses)

    @overload
    def __getitem__(self, index: int) -> Keyframe: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Keyframe]: ...
    def __getitem__(self, index: int | slice) -> Keyframe | Sequence[Keyframe]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        rng = np.random.default_rng([self._seed, index])
        stop, side = divmod(index, SIDES)
        camera, map_from_cam = CAMERAS[side], pose_of(self._poses[index])
        seen = self.landmarks_of(index)
        points = transform_points(map_from_cam.inverse(), self.landmarks[seen])
        pixels = camera.project(points)[0] + rng.normal(0, _PIXEL_NOISE, (len(seen), 2))
        features = Features(
            pixels.astype(np.float32),
            np.zeros(len(seen), np.float32),
            _noisy(self._descriptors[seen], _OF_MAP, rng),
            self._global_descriptors[index],
            camera.size,
        )
        name = f"{('left', 'rear', 'right')[side]}/{stop:06}.png"
        return Keyframe(name, 200_000_000 * stop, camera, map_from_cam, features)

    def landmarks_of(self, keyframe: int) -> Int64:
        """Landmarks that a keyframe sees, ascending."""
        stop, side = divmod(keyframe, SIDES)
        start, end = self._starts[[max(stop - _MAX_TRACK + 1, 0), stop + 1]]
        near = slice(int(start), int(end))
        return start + np.flatnonzero((self._side[near] == side) & (self._first[near] + self._length[near] > stop))

    def write(self, folder: Path) -> int:
        """Write the map and return the size of its files [bytes]."""
        seen = [self.landmarks_of(k) for k in range(len(self))]
        owners = np.repeat(np.arange(len(self)), [len(s) for s in seen])
        keypoints = np.concatenate([np.arange(len(s)) for s in seen])
        errors = np.full(len(self.landmarks), _PIXEL_NOISE * np.sqrt(np.pi / 2))  # their mean, by the noise
        landmarks = np.concatenate(seen).astype(np.int32)
        triangulation = Triangulation(self.landmarks, owners, keypoints, landmarks, errors)
        created = datetime.now(timezone.utc)
        content = MapContent(self, triangulation, NoExtractor("simulated"), "simulated", "map", __version__, created)
        return write_map(content, {"keyframes": len(self), "landmarks": len(self.landmarks)}, folder)

    def _positions(self, rng: np.random.Generator) -> Float64:
        """Positions at random pixels and depths of the camera at the middle of each landmark's stops."""
        count = len(self._first)
        middle = self._poses[SIDES * (self._first + self._length // 2) + self._side]
        depth = rng.uniform(14, 45, count)  # with _MOST_TURN, none leaves the image within the stops that see it
        pixels = rng.uniform(0.35, 0.65, (count, 2)) * 1024
        rays = np.column_stack([(pixels - 511.5) / 400.0, np.ones(count)]) * depth[:, None]
        return middle[:, :3] + Rotation.from_quat(middle[:, 3:]).apply(rays)


def simulated_query(
    visual_map: VisualMap, keyframe: int, *, keypoints: int, matching: int, wrong: float, rng: np.random.Generator
) -> tuple[Features, PinholeCamera, Rigid3d]:
    """Features of an image taken near a keyframe, its camera, and its ground-truth pose map_from_cam.

    Args:
        visual_map: a simulated map.
        keyframe: index of the keyframe.
        keypoints: number of keypoints, in random order.
        matching: number of keypoints with the descriptor of a landmark; the others have random descriptors.
        wrong: ratio of those at the wrong position.
        rng: source of all random numbers.
    """
    camera = CAMERAS[keyframe % SIDES]
    map_from_cam = _moved(pose_of(visual_map.keyframe_poses[keyframe]), rng)
    near = [k for k in range(keyframe - SIDES, keyframe + 2 * SIDES, SIDES) if 0 <= k < visual_map.info.keyframes]
    rows = np.concatenate([np.arange(r.start, r.stop) for r in map(visual_map.observations_of, near)])
    rows = rng.permutation(rows)
    rows = rows[np.unique(visual_map.observation_landmarks[rows], return_index=True)[1]]
    points = visual_map.landmark_positions[visual_map.observation_landmarks[rows]].astype(np.float64)
    projected, inside = camera.project(transform_points(map_from_cam.inverse(), points))
    chosen = rng.permutation(np.flatnonzero(inside))[:matching]
    order = rng.permutation(keypoints)
    pixels = rng.uniform(0, 1024, (keypoints, 2))
    correct = rng.random(len(chosen)) >= wrong
    pixels[order[: len(chosen)][correct]] = projected[chosen[correct]] + rng.normal(0, 1, (int(correct.sum()), 2))
    descriptors = _descriptors(keypoints, visual_map.info.descriptor_size, rng)
    descriptors[order[: len(chosen)]] = _noisy(visual_map.observation_descriptors[rows[chosen]], _OF_QUERY, rng)
    similar = _noisy_vector(visual_map.global_descriptors[keyframe], rng.uniform(0.5, 0.9), rng)
    scores = np.sort(rng.random(keypoints).astype(np.float32))[::-1].copy()
    return Features(pixels.astype(np.float32), scores, descriptors, similar, camera.size), camera, map_from_cam


def foreign_query(visual_map: VisualMap, *, keypoints: int, rng: np.random.Generator) -> tuple[Features, PinholeCamera]:
    """Features of an image of another place, whose global descriptor resembles those of two keyframes a little."""
    keyframes = rng.integers(0, visual_map.info.keyframes, 2)
    similar = _noisy_vector(_unit(visual_map.global_descriptors[keyframes].sum(axis=0)), 0.6, rng)
    camera = CAMERAS[int(keyframes[0]) % SIDES]
    pixels = rng.uniform(0, 1024, (keypoints, 2)).astype(np.float32)
    descriptors = _descriptors(keypoints, visual_map.info.descriptor_size, rng)
    scores = np.sort(rng.random(keypoints).astype(np.float32))[::-1].copy()
    return Features(pixels, scores, descriptors, similar, camera.size), camera


def _poses(stops: int, rng: np.random.Generator) -> Float64:
    """(3 stops, 7) poses map_from_cam along a winding street; z of the map is up."""
    turning = np.convolve(rng.normal(0, 4, stops + 20), np.ones(21) / 21, "valid")
    heading = np.radians(np.cumsum(turning.clip(-_MOST_TURN, _MOST_TURN)))
    positions = np.cumsum(_STEP * np.column_stack([np.cos(heading), np.sin(heading), np.zeros(stops)]), axis=0)
    yaw = heading[:, None] + np.radians(_YAW)
    vehicle_from_cam = Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])  # z of the camera ahead, y down
    quaternions = (Rotation.from_euler("z", yaw.reshape(-1, 1)) * vehicle_from_cam).as_quat()
    return np.column_stack([np.repeat(positions, SIDES, axis=0), quaternions])


def _moved(map_from_cam: Rigid3d, rng: np.random.Generator) -> Rigid3d:
    turn = Rotation3d(np.radians(rng.normal(0, 2, 3)))
    return Rigid3d(turn * map_from_cam.rotation, map_from_cam.translation + rng.normal(0, [0.4, 0.4, 0.05]))


def _descriptors(count: int, size: int, rng: np.random.Generator) -> Int8:
    """(count, size) descriptors: half a visual word, half their own."""
    words = _unit(np.random.default_rng(size).standard_normal((_WORDS, size), np.float32))
    descriptors = np.empty((count, size), np.int8)
    for start in range(0, count, _CHUNK):
        rows = slice(start, min(start + _CHUNK, count))
        own = _unit(rng.standard_normal((rows.stop - start, size), np.float32))
        descriptors[rows] = quantize(_unit(words[rng.integers(0, _WORDS, len(own))] + own))
    return descriptors


def _global_descriptors(size: Size, rng: np.random.Generator) -> Float32:
    """(3 stops, G) unit vectors of the keyframes: the sum of their neighborhood's vectors, and their street's kind."""
    length, window = size.global_descriptor, 2 * _SIMILAR + 1
    kinds = _unit(rng.standard_normal((_KINDS, SIDES, length), np.float32))
    of_block = rng.integers(0, _KINDS, size.stops // _BLOCK + 1)
    descriptors = np.empty((size.stops, SIDES, length), np.float32)
    for side in range(SIDES):
        sums = np.cumsum(rng.standard_normal((size.stops + window, length), np.float32), axis=0)
        own = _unit(sums[window:] - sums[:-window])
        descriptors[:, side] = _unit(own + np.float32(0.7) * kinds[of_block[np.arange(size.stops) // _BLOCK], side])
    return descriptors.reshape(-1, length)


def _noisy(descriptors: Int8, cosine: float, rng: np.random.Generator) -> Int8:
    """Noisy copies of (N, D) descriptors, with about that cosine to the originals."""
    most = round(127 * np.sqrt(3 * (1 / cosine**2 - 1) / descriptors.shape[1]))
    return descriptors + rng.integers(-most, most + 1, descriptors.shape, np.int8)


def _noisy_vector(vector: Float32, cosine: float, rng: np.random.Generator) -> Float32:
    noise = _unit(rng.standard_normal(vector.shape, np.float32))
    return _unit(vector + np.float32(np.sqrt(1 / cosine**2 - 1)) * noise)


def _unit(vectors: Float32) -> Float32:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def main(folder: str, *size: str) -> None:
    """Write a map with a number of stops and landmarks, by default those of ``Size``."""
    start = time.perf_counter()
    street = Street(Size(*map(int, size)))
    simulated = time.perf_counter() - start
    size_bytes = street.write(Path(folder))
    seconds = time.perf_counter() - start - simulated
    print(json.dumps({"simulated": simulated, "written": seconds, "bytes": size_bytes, **memory_mb()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
