"""Writer of the COLMAP model inside a map, keyframe by keyframe.

pycolmap holds a model as objects, which for millions of observations takes minutes and gigabytes. So it writes cameras,
rigs and frames only; the files of images and points are arrays in COLMAP's binary format. Image k + 1 is keyframe k,
and point l + 1 is landmark l.
"""

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vizloc_ros.arrays import Int64
from vizloc_ros.geometry.camera import PIXEL_CENTRE, PinholeCamera
from vizloc_ros.geometry.poses import array_of
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.triangulation import Triangulation, posed_model

_NO_POINT = np.uint64(2**64 - 1)
_POINT2D = np.dtype([("xy", "<f8", 2), ("point", "<u8")])
_IMAGE = struct.Struct("<I7dI")  # id, rotation wxyz and translation cam_from_map, id of the camera
_COUNT = struct.Struct("<Q")
_GROWING = "images.growing"
_BLOCK = 1 << 20  # observations of points that are written at a time


@contextmanager
def open_model(folder: Path, triangulation: Triangulation, count: int) -> Iterator[Callable[[Keyframe, slice], None]]:
    """Give a function that appends the next of ``count`` keyframes and its rows of the observations to the model.

    Args:
        folder: existing folder.
        triangulation: landmarks and observations.
        count: number of keyframes.
    """
    cameras, images = dict[PinholeCamera, int](), list[Keyframe]()
    with (folder / _GROWING).open("wb") as file:
        file.write(_COUNT.pack(count))

        def append(keyframe: Keyframe, rows: slice) -> None:
            images.append(replace(keyframe, features=keyframe.features.best(0)))
            camera_id = cameras.setdefault(keyframe.camera, len(cameras) + 1)
            x, y, z, w = (pose := array_of(keyframe.map_from_cam.inverse()))[3:]
            file.write(_IMAGE.pack(len(images), w, x, y, z, *pose[:3], camera_id))
            file.write(keyframe.name.encode() + b"\0")
            keypoints = np.empty(len(keyframe.features), _POINT2D)
            keypoints["xy"] = keyframe.features.keypoints.astype(np.float64) + PIXEL_CENTRE
            keypoints["point"] = _NO_POINT
            keypoints["point"][triangulation.keypoints[rows]] = triangulation.landmarks[rows].astype(np.uint64) + 1
            file.write(_COUNT.pack(len(keypoints)) + keypoints.tobytes())

        yield append
    posed_model(images).write_binary(folder)
    (folder / _GROWING).replace(folder / "images.bin")
    with (folder / "points3D.bin").open("wb") as file:
        _write_points(triangulation, file)


def _write_points(triangulation: Triangulation, file: BinaryIO) -> None:
    """Write the points; those with equal numbers of observations, whose records are of equal length, together."""
    counts = np.bincount(triangulation.landmarks, minlength=len(triangulation.positions))
    rows = np.argsort(triangulation.landmarks, kind="stable")
    starts = np.cumsum(counts) - counts
    file.write(_COUNT.pack(len(counts)))
    for length in np.unique(counts).tolist():
        points = np.flatnonzero(counts == length)
        for block in np.array_split(points, 1 + length * len(points) // _BLOCK):
            observed = rows[starts[block][:, None] + np.arange(length)]
            file.write(_records(triangulation, block, observed).tobytes())


def _records(
    triangulation: Triangulation, points: Int64, observed: Int64
) -> "np.ndarray[tuple[int], np.dtype[np.void]]":
    """Records of (N,) points, each with the rows (N, T) of its T observations."""
    track = (observed.shape[1], 2)
    fields = [("id", "<u8"), ("xyz", "<f8", 3), ("rgb", "u1", 3), ("error", "<f8"), ("length", "<u8")]
    records = np.zeros(len(points), np.dtype([*fields, ("track", "<u4", track)]))
    records["id"] = points + 1
    records["xyz"] = triangulation.positions[points]
    records["error"] = triangulation.errors[points]
    records["length"] = observed.shape[1]
    records["track"][..., 0] = triangulation.keyframes[observed] + 1
    records["track"][..., 1] = triangulation.keypoints[observed]
    return records
