"""Simulated map with the sizes and the order in memory of HF-Net's RobotCar map (HF-Net, section 5.3).

The keyframes lie on a straight street, at intervals of half a meter. A landmark is observed by a sequence of
neighboring keyframes; its observations are noisy copies of one random descriptor. Global descriptors are random unit
vectors that are similar for neighbors, so that retrieval finds neighbors.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import Float32, Int8, Int32
from vizloc_ros.features.types import Features
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.mapping.map_format import FORMAT_VERSION, ExtractorInfo, MapInfo, write_info
from vizloc_ros.mapping.visual_map import ARRAYS, NAMES_FILE, VisualMap

CAMERA = PinholeCamera(1024, 1024, 400.0, 400.0, 511.5, 511.5)
_STEP = 0.5  # m between keyframes
_SIMILAR = 10  # keyframes on either side with similar global descriptors
_DESCRIPTOR = 128
_CHUNK = 1 << 18  # observations


@dataclass(frozen=True)
class Size:
    """Size of a map.

    Attributes:
        keyframes: number of keyframes.
        global_descriptor: length of a global descriptor.
        landmarks: number of landmarks.
        track_length: mean number of observations of a landmark.
    """

    keyframes: int = 20_862
    global_descriptor: int = 1024
    landmarks: int = 2_525_000
    track_length: float = 4.71


def write_simulated_map(folder: Path, size: Size, rng: np.random.Generator) -> VisualMap:
    """Write the arrays of a map (1.8 GB at full size), without a COLMAP model, and open it."""
    lengths = 3 + rng.poisson(size.track_length - 3, size.landmarks)
    first = rng.integers(0, size.keyframes - lengths)
    ends = np.cumsum(lengths)
    landmarks = np.repeat(np.arange(size.landmarks, dtype=np.int32), lengths)
    keyframes = np.repeat(first - (ends - lengths), lengths) + np.arange(ends[-1])
    order = np.argsort(keyframes, kind="stable")
    landmarks, keyframes = landmarks[order], keyframes[order]

    depth = rng.uniform(6, 40, size.landmarks)
    pixels = rng.uniform(0.15, 0.85, (size.landmarks, 2)) * CAMERA.size
    rays = (pixels - [CAMERA.cx, CAMERA.cy]) / [CAMERA.fx, CAMERA.fy]
    positions = np.column_stack([rays * depth[:, None], depth + _STEP * (first + lengths // 2)])
    ahead = positions[landmarks]
    ahead[:, 2] -= _STEP * keyframes
    poses = np.zeros((size.keyframes, 7))
    poses[:, 2], poses[:, 6] = _STEP * np.arange(size.keyframes), 1
    arrays: dict[str, NDArray[Any]] = {
        "keyframe_poses": poses,
        "keyframe_stamps": np.arange(size.keyframes) * 100_000_000,
        "keyframe_cameras": np.zeros(size.keyframes),
        "global_descriptors": _global_descriptors(size, rng),
        "landmark_positions": positions,
        "observation_offsets": np.searchsorted(keyframes, np.arange(size.keyframes + 1)),
        "observation_landmarks": landmarks,
        "observation_pixels": CAMERA.project(ahead)[0],
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array.astype(ARRAYS[name][0]))
    _write_descriptors(folder / "observation_descriptors.npy", landmarks, size, rng)
    (folder / NAMES_FILE).write_text("".join(f"{k}.png\n" for k in range(size.keyframes)), encoding="utf-8")
    write_info(folder, _info(size, len(landmarks)))
    return VisualMap.open(folder)


def simulated_query(
    visual_map: VisualMap, keyframe: int, *, keypoints: int, matching: int, wrong: float, rng: np.random.Generator
) -> tuple[Features, Rigid3d]:
    """Features of a camera near a keyframe, and its ground-truth pose map_from_cam.

    Args:
        visual_map: a simulated map.
        keyframe: index of the keyframe.
        keypoints: number of keypoints.
        matching: number of keypoints with the descriptor of a landmark; the others have random descriptors.
        wrong: ratio of those at the wrong position.
        rng: source of all random numbers.
    """
    near = slice(visual_map.observation_offsets[keyframe - 2], visual_map.observation_offsets[keyframe + 3])
    _, rows = np.unique(visual_map.observation_landmarks[near], return_index=True)
    rows = rng.permutation(rows + near.start)[:matching]
    center = visual_map.keyframe_poses[keyframe, :3] + rng.normal(0, 0.2, 3)
    map_from_cam = Rigid3d(Rotation3d(np.array([0, 0, 0, 1.0])), center)
    points = visual_map.landmark_positions[visual_map.observation_landmarks[rows]].astype(np.float64)
    pixels = rng.uniform(0, 1024, (keypoints, 2))
    correct = rng.random(len(rows)) >= wrong
    projected = CAMERA.project(transform_points(map_from_cam.inverse(), points[correct]))[0]
    pixels[np.flatnonzero(correct)] = projected + rng.normal(0, 1, projected.shape)
    descriptors = rng.integers(-19, 20, (keypoints, _DESCRIPTOR), np.int8)
    descriptors[: len(rows)] = _noisy(visual_map.observation_descriptors[rows], rng)
    descriptor = visual_map.global_descriptors[keyframe]
    descriptor = descriptor + 0.5 * _unit(rng.standard_normal(descriptor.shape, np.float32))
    scores = np.ones(keypoints, np.float32)
    return Features(pixels.astype(np.float32), scores, descriptors, _unit(descriptor), CAMERA.size), map_from_cam


def _global_descriptors(size: Size, rng: np.random.Generator) -> Float32:
    """(K, G) unit vectors, each the sum of the random vectors of its neighborhood."""
    vectors = rng.standard_normal((size.keyframes + 2 * _SIMILAR + 1, size.global_descriptor), np.float32)
    sums = np.cumsum(vectors, axis=0)
    return _unit(sums[2 * _SIMILAR + 1 :] - sums[: size.keyframes])


def _write_descriptors(path: Path, landmarks: Int32, size: Size, rng: np.random.Generator) -> None:
    """Write the local descriptors chunk by chunk: they are most of the map."""
    of_landmark = rng.integers(-19, 20, (size.landmarks, _DESCRIPTOR), np.int8)  # of length 127, about
    file = np.lib.format.open_memmap(path, "w+", np.int8, (len(landmarks), _DESCRIPTOR))
    for start in range(0, len(landmarks), _CHUNK):
        rows = slice(start, start + _CHUNK)
        file[rows] = _noisy(of_landmark[landmarks[rows]], rng)
    file.flush()


def _noisy(descriptors: Int8, rng: np.random.Generator) -> Int8:
    """Noisy copies, with a cosine of about 0.95 to the originals."""
    return descriptors + rng.integers(-6, 7, descriptors.shape, np.int8)


def _unit(vectors: Float32) -> Float32:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _info(size: Size, observations: int) -> MapInfo:
    return MapInfo(
        format_version=FORMAT_VERSION,
        vizloc_version="benchmark",
        created="",
        dataset="simulated",
        extractor=ExtractorInfo(name="simulated", settings={}, feature_id="simulated"),
        cameras=[CAMERA],
        keyframes=size.keyframes,
        landmarks=size.landmarks,
        observations=observations,
        descriptor_size=_DESCRIPTOR,
        global_descriptor_size=size.global_descriptor,
        files={},
    )
