"""The point clouds between the nodes: features, global descriptors, candidates, map points, submaps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from vizloc_ros.arrays import Float32, Int8, Int64
from vizloc_ros.errors import FeatureError, RosError
from vizloc_ros.features.types import NO_GLOBAL_DESCRIPTOR, Features
from vizloc_ros.pixloc.references import QuantizedLevel, QuantizedReferences, References
from vizloc_ros.ros.point_clouds import CloudField, CloudLayout

_UINT32_MAX = np.iinfo(np.uint32).max


def _floats(*names: str) -> tuple[CloudField, ...]:
    return tuple(CloudField(name, PointField.FLOAT32) for name in names)


_DESCRIPTOR = CloudField("descriptor", PointField.INT8, vector=True)
FEATURES = CloudLayout("features", (*_floats("x", "y", "score"), _DESCRIPTOR))
GLOBAL_DESCRIPTOR = CloudLayout(
    "global_descriptor",
    (CloudField("descriptor", PointField.FLOAT32, vector=True), CloudField("feature_id", PointField.UINT32)),
)
CANDIDATES = CloudLayout(
    "candidates",
    (
        *_floats("x", "y", "z"),
        CloudField("landmark", PointField.UINT32),
        CloudField("place", PointField.UINT32),
        _DESCRIPTOR,
    ),
)
MAP_POINTS = CloudLayout("map/points", _floats("x", "y", "z"))


class GlobalDescriptor(NamedTuple):
    """A (G,) float32 unit vector, and the number of the feature model it comes from."""

    descriptor: Float32
    feature_id: int


@dataclass(frozen=True)
class Candidates:
    """The landmarks of the retrieved places, best place first.

    Attributes:
        points: (M, 3) float32 positions [m, map].
        landmarks: (M,) ids in the map, 0 to 2**32 - 1.
        places: (M,) nondecreasing rank of the place each was retrieved with, 0 is the best.
        descriptors: (M, D) int8, round(127 * unit vector).
    """

    points: Float32
    landmarks: Int64
    places: Int64
    descriptors: Int8

    def __post_init__(self) -> None:
        if np.any(np.diff(self.places) < 0):
            raise FeatureError("cloud 'candidates': its places are not in order, best (0) first")

    def __len__(self) -> int:
        return len(self.points)


def features_to_msg(features: Features, header: Header) -> PointCloud2:
    """The local part of features, one point a keypoint. The image size travels in ``features/camera_info``."""
    x, y = features.keypoints.T
    return FEATURES.encode({"x": x, "y": y, "score": features.scores, "descriptor": features.descriptors}, header)


def features_from_msg(
    msg: PointCloud2, image_size: tuple[int, int], global_descriptor: Float32 = NO_GLOBAL_DESCRIPTOR
) -> Features:
    """Features of a cloud, the (width, height) of its camera, and its global descriptor (empty when not given).

    Raises ``RosError`` for another layout and ``FeatureError`` for keypoints or scores that are not finite.
    """
    points = FEATURES.decode(msg)
    return Features(
        keypoints=_columns(points, FEATURES, "x", "y"),
        scores=_columns(points, FEATURES, "score")[:, 0],
        descriptors=np.ascontiguousarray(points["descriptor"]),
        global_descriptor=global_descriptor,
        image_size=image_size,
    )


def global_descriptor_to_msg(descriptor: Float32, feature_id: int, header: Header) -> PointCloud2:
    """One point: the (G,) descriptor and the number of its feature model, 0 to 2**32 - 1."""
    ids = _uint32(np.array([feature_id]), GLOBAL_DESCRIPTOR, "feature_id")
    return GLOBAL_DESCRIPTOR.encode({"descriptor": descriptor[None], "feature_id": ids}, header)


def global_descriptor_from_msg(msg: PointCloud2) -> GlobalDescriptor:
    """The descriptor (G,) and its feature model. Raises ``RosError`` for another layout or not exactly one point."""
    points = GLOBAL_DESCRIPTOR.decode(msg)
    if len(points) != 1:
        raise RosError(f"cloud 'global_descriptor' has {len(points)} points instead of one")
    descriptor = points["descriptor"][0].astype(np.float32)
    if not np.isfinite(descriptor).all():
        raise FeatureError("cloud 'global_descriptor': the descriptor is not finite")
    return GlobalDescriptor(descriptor, int(points["feature_id"][0]))


def candidates_to_msg(candidates: Candidates, header: Header) -> PointCloud2:
    """One point a landmark, in the map's frame, so RViz shows it as it is."""
    x, y, z = candidates.points.T
    arrays = {
        "x": x,
        "y": y,
        "z": z,
        "landmark": _uint32(candidates.landmarks, CANDIDATES, "landmark"),
        "place": _uint32(candidates.places, CANDIDATES, "place"),
        "descriptor": candidates.descriptors,
    }
    return CANDIDATES.encode(arrays, header)


def candidates_from_msg(msg: PointCloud2) -> Candidates:
    """Raises ``RosError`` for another layout, ``FeatureError`` for points not finite or places not in order."""
    points = CANDIDATES.decode(msg)
    return Candidates(
        points=_columns(points, CANDIDATES, "x", "y", "z"),
        landmarks=points["landmark"].astype(np.int64),
        places=points["place"].astype(np.int64),
        descriptors=np.ascontiguousarray(points["descriptor"]),
    )


def map_points_to_msg(points: Float32, header: Header) -> PointCloud2:
    """(N, 3) positions [m, map] for RViz."""
    x, y, z = points.T
    return MAP_POINTS.encode({"x": x, "y": y, "z": z}, header)


def map_points_from_msg(msg: PointCloud2) -> Float32:
    """(N, 3) float32 positions [m] of any cloud with x, y, z."""
    return _columns(MAP_POINTS.decode(msg), MAP_POINTS, "x", "y", "z")


def _columns(points: NDArray[np.void], layout: CloudLayout, *names: str) -> Float32:
    """The named float fields as the columns of a contiguous array in native byte order, checked to be finite."""
    columns = np.empty((len(points), len(names)), np.float32)
    for column, name in enumerate(names):
        columns[:, column] = points[name]
    if not np.isfinite(columns).all():
        raise FeatureError(f"cloud '{layout.name}': {', '.join(names)} must be finite")
    return columns


def _uint32(values: NDArray[np.integer[Any]], layout: CloudLayout, name: str) -> NDArray[np.uint32]:
    if values.size and not 0 <= values.min() <= values.max() <= _UINT32_MAX:
        raise FeatureError(f"cloud '{layout.name}': field '{name}' has values outside 0 to {_UINT32_MAX}")
    return values.astype(np.uint32)


_NAME = "submap"
_MOST_LEVELS = 8


def submap_to_msg(references: QuantizedReferences, model_number: int, header: Header) -> PointCloud2:
    """One point a landmark, in the map's frame, so RViz shows it as it is; with the number of the network."""
    arrays: dict[str, NDArray[Any]] = {
        **{axis: references.points[:, k].astype(np.float32) for k, axis in enumerate("xyz")},
        "landmark": references.landmarks.astype(np.uint32),
        "model": np.full(len(references), model_number, np.uint32),
    }
    for level, stored in enumerate(references.levels):
        arrays[f"features_{level}"] = stored.features
        arrays[f"scale_{level}"] = stored.scales.astype(np.float32)
        arrays[f"confidence_{level}"] = stored.confidences.astype(np.float32)
    return _layout(len(references.levels)).encode(arrays, header)


@dataclass(frozen=True)
class ReceivedSubmap:
    """Landmarks with their references, and the number of the network that made them."""

    references: References
    model_number: int


def submap_from_msg(msg: PointCloud2) -> ReceivedSubmap:
    """Raises ``RosError`` for another layout or an empty cloud, ``FeatureError`` for numbers that are not finite."""
    levels = sum(field.name.startswith("features_") for field in msg.fields)
    if not 1 <= levels <= _MOST_LEVELS:
        raise RosError(f"cloud '{_NAME}' has {levels} levels of features; 1 to {_MOST_LEVELS} are allowed")
    points = _layout(levels).decode(msg)
    if not len(points):
        raise RosError(f"cloud '{_NAME}' is empty")
    positions = np.stack([points[axis].astype(np.float64) for axis in "xyz"], axis=1)
    stored = tuple(
        QuantizedLevel(
            np.ascontiguousarray(points[f"features_{level}"]),
            points[f"scale_{level}"].astype(np.float16),
            points[f"confidence_{level}"].astype(np.float16),
        )
        for level in range(levels)
    )
    if not np.isfinite(positions).all() or not all(
        np.isfinite(s.scales).all() and np.isfinite(s.confidences).all() for s in stored
    ):
        raise FeatureError(f"cloud '{_NAME}': positions, scales and confidences must be finite")
    references = QuantizedReferences(positions, points["landmark"].astype(np.int64), stored)
    return ReceivedSubmap(references.dequantized(), int(points["model"][0]))


def _layout(levels: int) -> CloudLayout:
    fields = [CloudField(axis, PointField.FLOAT32) for axis in "xyz"]
    fields += [CloudField("landmark", PointField.UINT32), CloudField("model", PointField.UINT32)]
    for level in range(levels):
        fields.append(CloudField(f"features_{level}", PointField.INT8, vector=True))
        fields += [CloudField(f"{name}_{level}", PointField.FLOAT32) for name in ("scale", "confidence")]
    return CloudLayout(_NAME, tuple(fields))
