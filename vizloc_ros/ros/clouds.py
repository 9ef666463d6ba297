"""Point clouds between the nodes: features, global descriptors, candidates, map points, submaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from vizloc_ros.arrays import Float32
from vizloc_ros.errors import FeatureError, RosError
from vizloc_ros.features.types import NO_GLOBAL_DESCRIPTOR, Features
from vizloc_ros.localization.places import Place
from vizloc_ros.pixloc.patches import QuantizedPatches
from vizloc_ros.pixloc.references import QuantizedLevel, QuantizedReferences, References
from vizloc_ros.ros.point_clouds import CloudField, CloudLayout

_UINT32_MAX = np.iinfo(np.uint32).max
_MAX_LEVELS = 8
_PATCH = "patch"  # field of a submap
_MAX_FEATURES, _MAX_OBSERVATIONS, _MAX_LANDMARKS = 100_000, 400_000, 100_000
_MAX_PLACES = 1000
_MAX_POSITION = 1e9  # m from the origin of the map
_MAX_NORM = 1e6  # of a global descriptor; those of the extractors are unit vectors


def _floats(*names: str) -> tuple[CloudField, ...]:
    return tuple(CloudField(name, PointField.FLOAT32) for name in names)


_DESCRIPTOR = CloudField("descriptor", PointField.INT8, vector=True)
FEATURES = CloudLayout("features", (*_floats("x", "y", "score"), _DESCRIPTOR), _MAX_FEATURES)
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
    _MAX_OBSERVATIONS,
)
MAP_POINTS = CloudLayout("map/points", _floats("x", "y", "z"))


class GlobalDescriptor(NamedTuple):
    """Global descriptor of an image: a (G,) float32 unit vector, and the number of its feature model."""

    descriptor: Float32
    feature_id: int


def features_to_msg(features: Features, header: Header) -> PointCloud2:
    """Cloud of the local features, one point per keypoint. The image size travels in ``features/camera_info``."""
    x, y = features.keypoints.T
    return FEATURES.encode({"x": x, "y": y, "score": features.scores, "descriptor": features.descriptors}, header)


def features_from_msg(
    msg: PointCloud2, image_size: tuple[int, int], global_descriptor: Float32 = NO_GLOBAL_DESCRIPTOR
) -> Features:
    """Features of a cloud, with the image size and the global descriptor that travel in other messages.

    Args:
        msg: the cloud.
        image_size: (width, height) of the camera [px].
        global_descriptor: (G,) float32 vector; empty by default.

    Raises:
        RosError: the cloud has another layout.
        FeatureError: a keypoint or score is not finite, or a keypoint far outside the image.
    """
    points = FEATURES.decode(msg)
    keypoints = _columns(points, FEATURES, "x", "y")
    if (np.abs(keypoints) > 2 * np.array(image_size)).any():  # corrected ones may lie a little outside
        raise FeatureError(f"cloud 'features': keypoints lie far outside the image of {image_size[0]}x{image_size[1]}")
    return Features(
        keypoints=keypoints,
        scores=_columns(points, FEATURES, "score")[:, 0],
        descriptors=np.ascontiguousarray(points["descriptor"]),
        global_descriptor=global_descriptor,
        image_size=image_size,
    )


def global_descriptor_to_msg(descriptor: Float32, feature_id: int, header: Header) -> PointCloud2:
    """Cloud of one point: the (G,) descriptor and the number of its feature model, 0 to 2**32 - 1."""
    ids = _uint32(np.array([feature_id]), GLOBAL_DESCRIPTOR, "feature_id")
    return GLOBAL_DESCRIPTOR.encode({"descriptor": descriptor[None], "feature_id": ids}, header)


def global_descriptor_from_msg(msg: PointCloud2) -> GlobalDescriptor:
    """Descriptor and feature model of a cloud.

    Raises:
        RosError: the cloud has another layout, or not exactly one point.
        FeatureError: the descriptor is not finite, or far from a unit vector.
    """
    points = GLOBAL_DESCRIPTOR.decode(msg)
    if len(points) != 1:
        raise RosError(f"cloud 'global_descriptor' has {len(points)} points instead of one")
    descriptor = points["descriptor"][0].astype(np.float32)
    if not np.linalg.norm(descriptor.astype(np.float64)) < _MAX_NORM:
        raise FeatureError("cloud 'global_descriptor': the descriptor is not finite, or far from a unit vector")
    return GlobalDescriptor(descriptor, int(points["feature_id"][0]))


def places_to_msg(places: Sequence[Place], header: Header) -> PointCloud2:
    """Cloud of the candidates: the observations of at least one place, best place first, each with its place's rank.

    One point per observation, in the map's frame, so that RViz shows the landmarks. Raises ``FeatureError`` for
    landmark ids outside 0 to 2**32 - 1.
    """
    x, y, z = np.concatenate([place.positions for place in places]).T
    landmark_ids = np.concatenate([place.landmark_ids for place in places])
    ranks = np.repeat(np.arange(len(places)), [len(place.landmark_ids) for place in places])
    arrays = {
        "x": x,
        "y": y,
        "z": z,
        "landmark": _uint32(landmark_ids, CANDIDATES, "landmark"),
        "place": _uint32(ranks, CANDIDATES, "place"),
        "descriptor": np.concatenate([place.descriptors for place in places]),
    }
    return CANDIDATES.encode(arrays, header)


def places_from_msg(msg: PointCloud2) -> list[Place]:
    """Places of a cloud of candidates, best first; a place without observations leaves no trace in the cloud.

    Raises:
        RosError: the cloud has another layout.
        FeatureError: a position is not in a map, or the places are not in order, or too many.
    """
    points = CANDIDATES.decode(msg)
    positions = _columns(points, CANDIDATES, "x", "y", "z")
    _require_positions(positions, CANDIDATES.name)
    landmark_ids = points["landmark"].astype(np.int32)
    descriptors = np.ascontiguousarray(points["descriptor"])
    rank_steps = np.diff(points["place"].astype(np.int64), prepend=-1)
    if np.any(rank_steps[1:] < 0):
        raise FeatureError("cloud 'candidates': its places are not in order, best (0) first")
    bounds = np.append(np.flatnonzero(rank_steps), len(points))
    if len(bounds) > _MAX_PLACES:
        raise FeatureError(f"cloud 'candidates' has {len(bounds) - 1} places; fewer than {_MAX_PLACES} are allowed")
    return [
        Place(positions[rows], landmark_ids[rows], descriptors[rows]) for rows in map(slice, bounds[:-1], bounds[1:])
    ]


def map_points_to_msg(points: Float32, header: Header) -> PointCloud2:
    """Cloud of (N, 3) positions in the map frame [m], for RViz."""
    x, y, z = points.T
    return MAP_POINTS.encode({"x": x, "y": y, "z": z}, header)


def _columns(points: NDArray[np.void], layout: CloudLayout, *names: str) -> Float32:
    """Named float fields as the columns of a contiguous array in native byte order, checked to be finite."""
    columns = np.empty((len(points), len(names)), np.float32)
    for column, name in enumerate(names):
        columns[:, column] = points[name]
    if not np.isfinite(columns).all():
        raise FeatureError(f"cloud '{layout.name}': {', '.join(names)} must be finite")
    return columns


def _require_positions(positions: NDArray[np.floating[Any]], name: str) -> None:
    if not (np.abs(positions) <= _MAX_POSITION).all():
        raise FeatureError(f"cloud '{name}': positions must be finite, and at most {_MAX_POSITION:g} m from the origin")


def _uint32(values: NDArray[np.integer[Any]], layout: CloudLayout, name: str) -> NDArray[np.uint32]:
    if values.size and not 0 <= values.min() <= values.max() <= _UINT32_MAX:
        raise FeatureError(f"cloud '{layout.name}': field '{name}' has values outside 0 to {_UINT32_MAX}")
    return values.astype(np.uint32)


def submap_to_msg(references: QuantizedReferences, map_number: int, header: Header) -> PointCloud2:
    """Cloud of a submap: one point per landmark, with its reference features and the number of the map.

    Positions are in the map's frame, so that RViz shows the landmarks.
    """
    arrays: dict[str, NDArray[Any]] = {
        **{axis: references.positions[:, k].astype(np.float32) for k, axis in enumerate("xyz")},
        "landmark": references.landmark_ids.astype(np.uint32),
        "map": np.full(len(references), map_number, np.uint32),
    }
    for level, quantized in enumerate(references.levels):
        arrays[f"features_{level}"] = quantized.features
        arrays[f"scale_{level}"] = quantized.scales.astype(np.float32)
        arrays[f"confidence_{level}"] = quantized.confidences.astype(np.float32)
    if (patches := references.patches) is not None:
        arrays[_PATCH] = patches.values
        arrays |= {
            "contrast": patches.contrasts.astype(np.float32),
            "resolution": patches.resolutions.astype(np.float32),
        }
    return _submap_layout(len(references.levels), patches=patches is not None).encode(arrays, header)


@dataclass(frozen=True)
class ReceivedSubmap:
    """Landmarks with their reference features, and the number of their map."""

    references: References
    map_number: int


def submap_from_msg(msg: PointCloud2) -> ReceivedSubmap:
    """Submap of a cloud, with dequantized features.

    Raises:
        RosError: the cloud has another layout, or is empty.
        FeatureError: a position is not in a map, or a scale or confidence is not finite.
    """
    levels = sum(field.name.startswith("features_") for field in msg.fields)
    if not 1 <= levels <= _MAX_LEVELS:
        raise RosError(f"cloud 'submap' has {levels} levels of features; 1 to {_MAX_LEVELS} are allowed")
    has_patches = any(field.name == _PATCH for field in msg.fields)
    points = _submap_layout(levels, patches=has_patches).decode(msg)
    if not len(points):
        raise RosError("cloud 'submap' is empty")
    positions = np.stack([points[axis].astype(np.float64) for axis in "xyz"], axis=1)
    _require_positions(positions, "submap")
    with np.errstate(over="ignore", invalid="ignore"):  # the check below names what is too large for 16 bits
        quantized = tuple(
            QuantizedLevel(
                np.ascontiguousarray(points[f"features_{level}"]),
                points[f"scale_{level}"].astype(np.float16),
                points[f"confidence_{level}"].astype(np.float16),
            )
            for level in range(levels)
        )
    if not all(np.isfinite(level.scales).all() and np.isfinite(level.confidences).all() for level in quantized):
        raise FeatureError("cloud 'submap': scales and confidences must be finite")
    patches = _patches(points) if has_patches else None
    references = QuantizedReferences(positions, points["landmark"].astype(np.int64), quantized, patches)
    return ReceivedSubmap(references.dequantized(), int(points["map"][0]))


def _patches(points: NDArray[np.void]) -> QuantizedPatches:
    with np.errstate(over="ignore", invalid="ignore"):
        contrasts, resolutions = (points[name].astype(np.float16) for name in ("contrast", "resolution"))
    if not all((np.isfinite(values) & (values >= 0)).all() for values in (contrasts, resolutions)):
        raise FeatureError("cloud 'submap': contrasts and resolutions must be finite, and not negative")
    return QuantizedPatches(np.ascontiguousarray(points[_PATCH]), contrasts, resolutions)


def _submap_layout(levels: int, *, patches: bool) -> CloudLayout:
    fields = [CloudField(axis, PointField.FLOAT32) for axis in "xyz"]
    fields += [CloudField(name, PointField.UINT32) for name in ("landmark", "map")]
    for level in range(levels):
        fields.append(CloudField(f"features_{level}", PointField.INT8, vector=True))
        fields += [CloudField(f"{name}_{level}", PointField.FLOAT32) for name in ("scale", "confidence")]
    if patches:
        fields += [CloudField(_PATCH, PointField.INT8, vector=True), *_floats("contrast", "resolution")]
    return CloudLayout("submap", tuple(fields), _MAX_LANDMARKS)
