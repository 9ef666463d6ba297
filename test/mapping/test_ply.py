"""PLY files of maps, read by a parser of the format's definition."""

from pathlib import Path

import numpy as np
import pytest
from cli_helpers import Vizloc

from vizloc_ros.geometry.poses import pose_of
from vizloc_ros.mapping.visual_map import VisualMap

pytestmark = pytest.mark.e2e

TYPES = {"float": "<f4", "uchar": "u1", "int": "<i4"}


def read_ply(path: Path) -> np.ndarray:
    """The vertices of a binary PLY file, which must have as many bytes as its header says."""
    header, found, body = path.read_bytes().partition(b"end_header\n")
    assert found
    magic, file_format, *lines = header.decode("ascii").splitlines()
    assert (magic, file_format) == ("ply", "format binary_little_endian 1.0")
    words = [line.split() for line in lines if not line.startswith("comment ")]
    (element, vertex, count), *properties = words
    assert (element, vertex) == ("element", "vertex")
    assert all(word == "property" for word, *_ in properties)
    dtype = np.dtype([(name, TYPES[kind]) for _, kind, name in properties])
    assert len(body) == int(count) * dtype.itemsize
    return np.frombuffer(body, dtype)


def columns(points: np.ndarray, *names: str) -> np.ndarray:
    return np.stack([points[name] for name in names], axis=1)


@pytest.mark.parametrize("color", ["height", "observations"])
def test_viewers_get_landmarks_and_keyframes(point_map: VisualMap, tmp_path: Path, vizloc: Vizloc, color: str) -> None:
    ended = vizloc("map", "export", point_map.folder, "--out", tmp_path / "town.ply", "--color", color)
    assert ended.code == 0, ended.err
    landmarks = read_ply(tmp_path / "town.ply")
    np.testing.assert_array_equal(columns(landmarks, "x", "y", "z"), point_map.landmark_positions)
    counts = np.bincount(point_map.observation_landmarks)
    np.testing.assert_array_equal(landmarks["observations"], counts)
    values = point_map.landmark_positions[:, 2] if color == "height" else counts  # z is up in this world
    low, high = np.quantile(values, [0.01, 0.99])
    red, blue = (landmarks[name].astype(int) for name in ("red", "blue"))
    assert (red > blue)[values > high].all()
    assert (red > blue)[values <= low].mean() < 0.1
    keyframes = read_ply(tmp_path / "town_keyframes.ply")
    poses = [pose_of(pose) for pose in point_map.keyframe_poses]
    np.testing.assert_allclose(columns(keyframes, "x", "y", "z"), [p.translation for p in poses], rtol=1e-6)
    forward = [p.rotation.matrix()[:, 2] for p in poses]
    np.testing.assert_allclose(columns(keyframes, "nx", "ny", "nz"), forward, atol=1e-6)


def test_another_format_is_refused(point_map: VisualMap, tmp_path: Path, vizloc: Vizloc) -> None:
    ended = vizloc("map", "export", point_map.folder, "--out", tmp_path / "town.obj")
    assert ended.code == 1
    assert "town.obj: does not end with .ply" in ended.err
