"""The cloud ``submap``: landmarks around the tracker with PixLoc's references, as the map stores them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from vizloc_ros.errors import FeatureError, RosError
from vizloc_ros.nodes.cloud_layout import CloudField, CloudLayout
from vizloc_ros.pixloc.references import References, StoredLevel, StoredReferences

_NAME = "submap"
_MOST_LEVELS = 8


def submap_to_msg(references: StoredReferences, model_number: int, header: Header) -> PointCloud2:
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
        StoredLevel(
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
    references = StoredReferences(positions, points["landmark"].astype(np.int64), stored)
    return ReceivedSubmap(references.restored(), int(points["model"][0]))


def _layout(levels: int) -> CloudLayout:
    fields = [CloudField(axis, PointField.FLOAT32) for axis in "xyz"]
    fields += [CloudField("landmark", PointField.UINT32), CloudField("model", PointField.UINT32)]
    for level in range(levels):
        fields.append(CloudField(f"features_{level}", PointField.INT8, vector=True))
        fields += [CloudField(f"{name}_{level}", PointField.FLOAT32) for name in ("scale", "confidence")]
    return CloudLayout(_NAME, tuple(fields))
