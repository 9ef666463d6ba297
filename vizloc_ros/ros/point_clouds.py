"""Codec between arrays and ``sensor_msgs/PointCloud2``; ``clouds`` has the layouts that the nodes exchange.

A ``CloudLayout`` names the fields of a point. Encoding packs them in that order. Decoding accepts any order of fields,
padding, byte order and extra fields, and raises ``RosError`` naming the cloud and the field that cannot be read.
"""

from __future__ import annotations

import array
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import PointCloud2, PointField
from std_msgs.msg import Header

from vizloc_ros.errors import FeatureError, RosError
from vizloc_ros.wording import short_text

SCALARS = {
    PointField.INT8: "i1",
    PointField.UINT8: "u1",
    PointField.INT16: "i2",
    PointField.UINT16: "u2",
    PointField.INT32: "i4",
    PointField.UINT32: "u4",
    PointField.FLOAT32: "f4",
    PointField.FLOAT64: "f8",
}
_MAX_POINT_STEP = 1 << 20  # bytes; without a limit, an empty cloud could claim any
_MAX_BYTES = 1 << 28  # of the data; decoded, they are four times as many
_MAX_FIELDS = 256


@dataclass(frozen=True)
class CloudField:
    """Field of every point, with a ``datatype`` of PointField; a vector's length is that of the array or message."""

    name: str
    datatype: int
    vector: bool = False


@dataclass(frozen=True)
class CloudLayout:
    """Fields of a cloud, packed in this order, the cloud's name for errors, and the points it may have when decoded."""

    name: str
    fields: tuple[CloudField, ...]
    max_points: int = 1_000_000

    def encode(self, arrays: Mapping[str, NDArray[Any]], header: Header) -> PointCloud2:
        """Pack one array per field, (N,) or for a vector field (N, count), into an unorganized cloud of N points.

        Raises ``FeatureError`` for arrays that do not fit the layout or each other.
        """
        size, offset = len(arrays[self.fields[0].name]), 0
        described: list[PointField] = []
        members: list[Any] = []
        for field in self.fields:
            values, scalar = arrays[field.name], np.dtype(SCALARS[field.datatype]).newbyteorder("<")
            if values.ndim != 1 + field.vector or len(values) != size or 0 in values.shape[1:]:
                raise FeatureError(f"cloud '{self.name}': field '{field.name}' is {values.shape} for {size} points")
            if not np.can_cast(values.dtype, scalar, "same_kind"):
                raise FeatureError(f"cloud '{self.name}': field '{field.name}' is {values.dtype}, not {scalar}")
            count = values.shape[1] if field.vector else 1
            described.append(PointField(name=field.name, offset=offset, datatype=field.datatype, count=count))
            members.append((field.name, scalar, (count,)) if field.vector else (field.name, scalar))
            offset += count * scalar.itemsize
        # Filled in place: fresh memory costs more than copying, and rclpy copies all but array.array by element.
        data = array.array("B", [0]) * (offset * size)
        points = np.ndarray(size, np.dtype(members), buffer=data)
        for field in self.fields:
            points[field.name] = arrays[field.name]
        return PointCloud2(
            header=header,
            height=1,
            width=size,
            fields=described,
            is_bigendian=False,
            point_step=offset,
            row_step=offset * size,
            data=data,
            is_dense=True,
        )

    def decode(self, msg: PointCloud2) -> NDArray[np.void]:
        """Return the points as an (N,) structured array, a view of the message's data if its rows are not padded.

        Raises ``RosError`` for a field that is missing or of another type, for data of the wrong length, and for too
        large a cloud.
        """
        if msg.width * msg.height > self.max_points or len(msg.data) > _MAX_BYTES or len(msg.fields) > _MAX_FIELDS:
            raise RosError(
                f"cloud '{self.name}': {msg.width * msg.height} points, {len(msg.data)} bytes and {len(msg.fields)} "
                f"fields are more than the {self.max_points}, {_MAX_BYTES} and {_MAX_FIELDS} that are allowed: is its "
                "publisher broken?"
            )
        implausible = msg.row_step < msg.width * msg.point_step or msg.point_step > _MAX_POINT_STEP
        if implausible or len(msg.data) != msg.height * msg.row_step:
            raise RosError(
                f"cloud '{self.name}': {len(msg.data)} bytes of data, row_step {msg.row_step} and point_step "
                f"{msg.point_step} do not fit {msg.height} rows of {msg.width} points: is its publisher broken?"
            )
        dtype = self._dtype_in(msg)
        if msg.width * msg.height == 0:
            return np.empty(0, dtype)
        shape, strides = (msg.height, msg.width), (msg.row_step, msg.point_step)
        return np.ndarray(shape, dtype, buffer=msg.data, strides=strides).reshape(-1)

    def _dtype_in(self, msg: PointCloud2) -> np.dtype[np.void]:
        """Return the dtype that finds this layout's fields in the points of ``msg``."""
        present = {field.name: field for field in msg.fields}
        formats: list[Any] = []
        for field in self.fields:
            found = present.get(field.name)
            if found is None:
                raise RosError(
                    f"cloud '{self.name}' has no field '{field.name}', only {short_text(', '.join(present)) or 'none'}"
                )
            scalar, count = SCALARS[field.datatype], max(found.count, 1)  # PCL writes 0 for 1
            if found.datatype != field.datatype or (count != 1 and not field.vector):
                raise RosError(
                    f"cloud '{self.name}': field '{field.name}' is {SCALARS.get(found.datatype, 'unknown')} x {count}, "
                    f"expected {scalar}{' x any' if field.vector else ''}"
                )
            if found.offset + count * np.dtype(scalar).itemsize > msg.point_step:
                raise RosError(
                    f"cloud '{self.name}': field '{field.name}' ends beyond the point_step of {msg.point_step} bytes"
                )
            order = ">" if msg.is_bigendian else "<"
            formats.append((order + scalar, (count,)) if field.vector else order + scalar)
        names = [field.name for field in self.fields]
        offsets = [present[name].offset for name in names]
        return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": msg.point_step})
