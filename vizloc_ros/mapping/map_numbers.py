"""Numbers of a map that cannot be, though its checksums fit: each problem is a line with the file, the row, the value.

The cheap part, about keyframes, is checked whenever a map is opened: nothing that is computed with it may fail on them.
The rest takes as long as reading the map, and belongs to ``vizloc map check``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.transform import Rotation

from vizloc_ros.arrays import Bool, Float16, Float64, Int32, Int64
from vizloc_ros.errors import MapError
from vizloc_ros.mapping.map_format import QUATERNION_TOLERANCE, MapInfo

if TYPE_CHECKING:
    from vizloc_ros.mapping.visual_map import VisualMap

_FARTHEST = 1e7  # m
_UNIT_TOLERANCE = 0.01  # of the norm of a global descriptor
_MAX_ERROR = 0.1  # of the longer side of an image; reprojection errors of a build are a few pixels
_MAX_CONFIDENCE = 1.001  # rounded to float16
_ROWS = 1 << 18  # rows that are looked at together


def require_sound_keyframes(folder: Path, info: MapInfo, poses: Float64, cameras: Int32, offsets: Int64) -> None:
    """Raise ``MapError`` for poses (K, 7), cameras (K,) and offsets (K + 1,) that no build writes."""
    with np.errstate(all="ignore"):
        norms = np.linalg.norm(poses[:, 3:], axis=1)
    _require(folder, "keyframe_poses", poses, np.asarray(~np.isfinite(poses).all(axis=1)), "is not finite")
    far = np.asarray((np.abs(poses[:, :3]) > _FARTHEST).any(axis=1))
    _require(folder, "keyframe_poses", poses, far, f"is farther than {_FARTHEST:g} m from the origin")
    _require(folder, "keyframe_poses", poses, np.abs(norms - 1) > QUATERNION_TOLERANCE, "has no unit quaternion")
    wrong = (cameras < 0) | (cameras >= len(info.cameras))
    _require(folder, "keyframe_cameras", cameras, wrong, f"is none of the {len(info.cameras)} cameras of map.yaml")
    ends = np.zeros(len(offsets), bool)
    ends[0], ends[-1] = offsets[0] != 0, offsets[-1] != info.observations
    ends[1:] |= np.diff(offsets) < 0
    text = f"offsets do not ascend from 0 to the end, {info.observations}"
    _require(folder, "observation_offsets", offsets, ends, text)


def _require(folder: Path, name: str, values: Any, wrong: Bool, text: str) -> None:
    if wrong.any():
        raise MapError(_line(folder, name, int(wrong.argmax()), values, text))


def _line(folder: Path, name: str, row: int, values: Any, text: str) -> str:
    shown = np.array2string(np.asarray(values[row]), precision=6, threshold=8, edgeitems=4).replace("\n", "")
    return f"{folder / name}.npy: row {row}: {shown}: {text}"


def number_problems(visual_map: VisualMap) -> Iterator[str]:
    """Yield the problems of all other arrays, the first of each."""
    yield from _rows_that_are(visual_map, "global_descriptors", _is_no_descriptor, "is no unit vector")
    text = f"is not finite, or farther than {_FARTHEST:g} m from the origin"
    yield from _rows_that_are(visual_map, "landmark_positions", _is_no_position, text)
    seen, landmarks = visual_map.observation_landmarks, visual_map.info.landmarks
    wrong = (seen < 0) | (seen >= landmarks)
    if wrong.any():
        text = f"names a landmark that is not in the map, which has {landmarks}"
        yield _line(visual_map.folder, "observation_landmarks", int(wrong.argmax()), seen, text)
    else:
        yield from _wrong_observations(visual_map)
    if visual_map.references is not None:
        yield from _wrong_references(visual_map)


def _rows_that_are(visual_map: VisualMap, name: str, wrong: Any, text: str) -> Iterator[str]:
    """Yield the first row of an array for which a function says so."""
    array = getattr(visual_map, name)
    rows = max(1, _ROWS // array.shape[1])
    for start in range(0, len(array), rows):
        found = wrong(array[start : start + rows])
        if found.any():
            yield _line(visual_map.folder, name, start + int(found.argmax()), array, text)
            break
    visual_map.release_pages()  # all of the arrays at once may be more than the memory a map server should take


def _is_no_descriptor(descriptors: Any) -> Bool:
    """Rows whose norm is neither 1 nor, of an image without keypoints, 0."""
    with np.errstate(all="ignore"):
        squares = np.einsum("ij,ij->i", descriptors, descriptors)
    return np.asarray(~(np.abs(squares - 1) <= 2 * _UNIT_TOLERANCE) & (squares != 0))


def _is_no_position(positions: Any) -> Bool:
    return np.asarray(~(np.abs(positions) <= _FARTHEST).all(axis=1))


def _wrong_observations(visual_map: VisualMap) -> Iterator[str]:
    """Yield the first observation that is not where its landmark is seen, keyframe by keyframe."""
    info, poses = visual_map.info, visual_map.keyframe_poses
    rotations = Rotation.from_quat(poses[:, 3:]).as_matrix()
    pixels, positions, seen = (
        visual_map.observation_pixels,
        visual_map.landmark_positions,
        visual_map.observation_landmarks,
    )
    for keyframe in range(info.keyframes):
        rows, camera = visual_map.observations_of(keyframe), info.cameras[int(visual_map.keyframe_cameras[keyframe])]
        limit, middle = np.float32(_MAX_ERROR * max(camera.size)), np.array(camera.size, np.float32) / 2
        observed, projection = pixels[rows], (rotations[keyframe] @ camera.matrix.T).astype(np.float32)
        with np.errstate(all="ignore"):
            homogeneous = (positions[seen[rows]] - poses[keyframe, :3].astype(np.float32)) @ projection
            depths = homogeneous[:, 2:]
            right = np.abs(homogeneous[:, :2] - depths * observed) <= limit * depths  # never behind the camera
            right &= np.abs(observed - middle) <= middle + limit
        if not right.all():
            row = rows.start + int(right.all(axis=1).argmin())
            landmark = visual_map.observation_landmarks[row]
            text = f"is not within {limit:.0f} px of where keyframe {keyframe} sees landmark {landmark}"
            yield _line(visual_map.folder, "observation_pixels", row, pixels, text)
            break
    visual_map.release_pages()


def _wrong_references(visual_map: VisualMap) -> Iterator[str]:
    references = visual_map.references_or_raise()
    for name, values, top, text in (
        ("pixloc_scales", references.scales, np.finfo(np.float16).max, "has a scale that is negative or not finite"),
        ("pixloc_confidences", references.confidences, _MAX_CONFIDENCE, "has a confidence that is not from 0 to 1"),
    ):
        yield from _wrong_rows(visual_map, name, values, top, text)
    if (rows := references.rows) is not None:
        wrong = (np.diff(rows, prepend=-1) <= 0) | (rows >= visual_map.info.observations)
        if wrong.any():
            text = "is not an observation after the one before"
            yield _line(visual_map.folder, "pixloc_rows", int(wrong.argmax()), rows, text)
    if (patches := references.patches) is not None:
        text, top = "is negative or not finite", float(np.finfo(np.float16).max)
        yield from _wrong_rows(visual_map, "pixloc_contrasts", patches.contrasts[:, None], top, text)
        yield from _wrong_rows(visual_map, "pixloc_resolutions", patches.resolutions[:, None], top, text)
    visual_map.release_pages()


def _wrong_rows(visual_map: VisualMap, name: str, values: Float16, top: float, text: str) -> Iterator[str]:
    wrong = ~((values >= 0) & (values <= top)).all(axis=1)
    if wrong.any():
        yield _line(visual_map.folder, name, int(wrong.argmax()), values, text)
