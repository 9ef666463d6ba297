"""Alignment of a map with known positions of its keyframes: a robust fit, and its georeference."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import Bool, Float64, Int64
from vizloc_ros.datasets.parsing import numbered_rows, parse_number, parse_timestamp
from vizloc_ros.errors import DatasetError, MapError
from vizloc_ros.geometry.geodesy import earth_from_enu, ecef_from_geodetic
from vizloc_ros.geometry.poses import pose_of, transform_points
from vizloc_ros.mapping.georeference import Georeference, Utm, Wgs84
from vizloc_ros.mapping.map_writer import add_to_map
from vizloc_ros.mapping.visual_map import MODEL_FOLDER, VisualMap
from vizloc_ros.timing import NANOSECONDS
from vizloc_ros.wording import numbers_text

MAX_GAP = 2.0  # s between two positions up to which they are interpolated; receivers give at least one a second
_MIN_POSITIONS = 3
_MAX_ROTATION_STD = 5.0  # deg
_REFITS = 5
_LINE = 1e-6  # extent across the largest one, of points on a line
_TRIALS = (100, 10_000)
_SCALED = ("keyframe_poses.npy", "landmark_positions.npy")


@dataclass(frozen=True)
class KnownPositions:
    """Positions by the names of keyframes, or by times.

    Attributes:
        source: where they are from, for errors.
        values: (N, 3) positions: meters, or latitude [deg], longitude [deg] and altitude [m].
        names: N names of keyframes; None for positions by time.
        stamps_ns: (N,) ascending times [ns]; empty for positions by name.
    """

    source: str
    values: Float64
    names: tuple[str, ...] | None
    stamps_ns: Int64

    @classmethod
    def by_time(cls, source: str, positions: Mapping[int, Sequence[float]]) -> "KnownPositions":
        """Positions by time [ns], in any order."""
        stamps = sorted(positions)
        values = np.array([positions[stamp] for stamp in stamps], np.float64).reshape(-1, 3)
        return cls(source, values, None, np.array(stamps, np.int64))


def read_positions(path: Path, keyframes: Sequence[str]) -> KnownPositions:
    """Read lines ``NAME A B C`` or ``SECONDS A B C``, with blanks or commas between the fields.

    Args:
        path: the file; ``#`` starts a comment.
        keyframes: names of the keyframes; a file whose first field is one of them is by name.

    Raises:
        DatasetError: the file cannot be read, a line is wrong, or none is there.
    """
    rows = numbered_rows(path)
    if any("," in field for _, fields in rows for field in fields):
        rows = numbered_rows(path, ",")
    if not rows:
        raise DatasetError(f"{path}: has no positions; expected lines of a keyframe's name or a time, and its position")
    known = set(keyframes)
    by_name = rows[0][1][0] in known
    positions: dict[str | int, list[float]] = {}
    for number, fields in rows:
        where = f"{path}:{number}"
        if len(fields) != 4:
            raise DatasetError(
                f"{where}: {len(fields)} fields; expected a keyframe's name or a time, and three numbers"
            )
        if by_name and fields[0] not in known:
            raise DatasetError(f"{where}: {fields[0]} is no keyframe of the map, as that of the first line is")
        key = fields[0] if by_name else parse_timestamp(fields[0], "a time, or a name of no keyframe,", where)
        positions[key] = [parse_number(field, "the position", where) for field in fields[1:]]
    if not by_name:
        return KnownPositions.by_time(str(path), {int(stamp): value for stamp, value in positions.items()})
    names = tuple(str(name) for name in positions)
    return KnownPositions(str(path), np.array(list(positions.values()), np.float64), names, np.zeros(0, np.int64))


def local_positions(known: KnownPositions) -> tuple[KnownPositions, Rigid3d]:
    """Positions in meters, east, north and up of the first of them, and the pose earth_from_local of these axes.

    Args:
        known: positions as latitude [deg], longitude [deg] and altitude [m].

    Raises:
        DatasetError: a latitude or longitude is none.
    """
    wrong = np.flatnonzero((np.abs(known.values[:, 0]) > 90) | (np.abs(known.values[:, 1]) > 180))
    if len(wrong):
        raise DatasetError(
            f"{known.source}: {numbers_text(known.values[wrong[0]])} is no latitude, longitude and altitude; "
            "positions in meters are for --to"
        )
    latitude, longitude, altitude = known.values[0].tolist()
    earth_from_local = earth_from_enu(latitude, longitude, altitude)
    local = transform_points(earth_from_local.inverse(), ecef_from_geodetic(known.values))
    return replace(known, values=local), earth_from_local


def positions_of_keyframes(
    visual_map: VisualMap, known: KnownPositions, max_gap: float = MAX_GAP
) -> tuple[Int64, Float64]:
    """Indices (M,) of the keyframes with a known position, and these positions (M, 3).

    Args:
        visual_map: the map.
        known: positions in meters; those by time are interpolated along a line.
        max_gap: longest time between two positions that are interpolated [s].

    Raises:
        MapError: fewer than three keyframes have a position.
    """
    values = known.values
    if known.names is not None:
        index = {name: i for i, name in enumerate(visual_map.keyframe_names)}
        keyframes, found = np.array([index[name] for name in known.names], np.int64), values
    else:
        stamps = np.asarray(visual_map.keyframe_stamps, np.int64)
        after = np.searchsorted(known.stamps_ns, stamps)
        inside = after < len(known.stamps_ns)
        at = np.minimum(after, len(known.stamps_ns) - 1)
        exact = inside & (known.stamps_ns[at] == stamps)
        before = np.where(exact, at, np.maximum(after - 1, 0))
        gap = (known.stamps_ns[at] - known.stamps_ns[before]) / NANOSECONDS
        usable = exact | (inside & (after > 0) & (gap <= max_gap))
        keyframes = np.flatnonzero(usable)
        start, end = before[keyframes], at[keyframes]
        span = np.maximum(known.stamps_ns[end] - known.stamps_ns[start], 1)
        ratio = ((stamps[keyframes] - known.stamps_ns[start]) / span)[:, None]
        found = (1 - ratio) * values[start] + ratio * values[end]
    if len(keyframes) < _MIN_POSITIONS:
        raise MapError(
            f"{known.source}: {len(keyframes)} of the {visual_map.info.keyframes} keyframes have a position, but "
            f"{_MIN_POSITIONS} are needed: {_times_text(visual_map, known)}"
        )
    return keyframes, found


def _times_text(visual_map: VisualMap, known: KnownPositions) -> str:
    if known.names is not None or not len(known.stamps_ns):
        return "give more"
    first, last = (stamp / NANOSECONDS for stamp in (known.stamps_ns[0], known.stamps_ns[-1]))
    start, end = (f(visual_map.keyframe_stamps) / NANOSECONDS for f in (np.min, np.max))
    return (
        f"positions are from {first:.3f} to {last:.3f} s, keyframes from {start:.3f} to {end:.3f} s, and {MAX_GAP:g} s "
        "is the longest gap"
    )


@dataclass(frozen=True)
class MapAlignment:
    """Similarity of a map and a target frame: ``target = scale * rotation * point + translation``.

    Attributes:
        scale: size of the target's units in the map; 1 for a rigid alignment.
        target_from_map: pose of the map, after it was scaled, in the target frame.
        residuals: (N,) distance of each position from its keyframe after the alignment [m].
        agreeing: (N,) whether the position is among those that were fitted.
        rotation_std_deg: standard deviation of the rotation about its least certain axis [deg].
    """

    scale: float
    target_from_map: Rigid3d
    residuals: Float64
    agreeing: Bool
    rotation_std_deg: float


def align_positions(
    points: Float64, positions: Float64, source: str, *, max_error: float, similarity: bool = False, seed: int = 0
) -> MapAlignment:
    """Fit (N, 3) points of the map to their (N, 3) known positions, robustly: RANSAC, then least squares.

    Args:
        points: positions in the map [m].
        positions: the same positions in the target frame [m].
        source: where the positions are from, for errors.
        max_error: largest residual of a position that counts as right [m].
        similarity: whether the scale of the map is estimated, too.
        seed: seed of RANSAC.

    Raises:
        MapError: fewer than half of the positions agree, or the rotation about a straight drive remains uncertain.
    """
    center, middle = points.mean(axis=0), positions.mean(axis=0)  # UTM would lose digits
    from_points, to_positions = points - center, positions - middle
    options = pycolmap.RANSACOptions(
        max_error=max_error, min_num_trials=_TRIALS[0], max_num_trials=_TRIALS[1], random_seed=seed
    )
    # Dictionaries, other than pycolmap's stubs say.
    robust: Any = pycolmap.estimate_sim3d_robust if similarity else pycolmap.estimate_rigid3d_robust
    fit: Any = pycolmap.estimate_sim3d if similarity else pycolmap.estimate_rigid3d
    found = robust(from_points, to_positions, options)
    transform = best = None if found is None else found["tgt_from_src"]
    residuals, agreeing = np.full(len(points), np.inf), np.zeros(len(points), bool)
    for _ in range(_REFITS):
        if transform is None:
            break
        distances = np.linalg.norm(transform * from_points - to_positions, axis=1)
        fitted = distances <= max_error
        if fitted.sum() < agreeing.sum():
            break
        residuals, agreeing, best = distances, fitted, transform
        transform = fit(from_points[fitted], to_positions[fitted])
    if agreeing.any():
        std = _rotation_std(from_points[agreeing], float(np.sqrt((residuals[agreeing] ** 2).mean())))
    else:
        std = _rotation_std(from_points, max_error)
    if std <= _MAX_ROTATION_STD and (best is None or agreeing.sum() < max(_MIN_POSITIONS, len(points) / 2)):
        raise MapError(
            f"{source}: {int(agreeing.sum())} of {len(points)} positions agree with the map within {max_error:g} m, "
            "but half of them must: are they of this drive, are the clocks in step, is --max-error too small"
            + ("?" if similarity else ", is the map metric (else --similarity)?")
        )
    if best is None or std > _MAX_ROTATION_STD:
        raise MapError(
            f"{source}: the positions lie almost on a line, about which the map may turn by "
            f"{min(std, 180.0):.0f} deg: align a map of a route with turns"
        )
    scale = float(best.scale) if similarity else 1.0
    rotation = best.rotation
    moved_center = middle + best.translation - scale * (rotation.matrix() @ center)
    return MapAlignment(scale, Rigid3d(rotation, moved_center), residuals, agreeing, std)


def _rotation_std(points: Float64, rms: float) -> float:
    """Standard deviation [deg] of a rotation about its least certain axis; infinite for points on a line.

    Args:
        points: (N, 3) points that were fitted, in the map.
        rms: root mean square of their residuals [m].
    """
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    lever = float(np.hypot(spread[1], spread[2]))  # about the axis of the largest extent
    if lever <= _LINE * spread[0]:
        return math.inf
    return math.degrees(rms / math.sqrt(3) / lever)


def aligned_with_world(old: Georeference, found: MapAlignment, datum: Wgs84 | Utm | None) -> Georeference:
    """Georeference of a map that was aligned with a new world.

    Args:
        old: its georeference before.
        found: alignment with the new world.
        datum: place of the new world on the earth; None keeps that of the map.
    """
    return Georeference.of(found.target_from_map, old.datum if datum is None else datum.moved(found.target_from_map))


def aligned_with_earth(old: Georeference, found: MapAlignment, earth_from_local: Rigid3d) -> Georeference:
    """Georeference of a map that was aligned with ``local_positions``; its pose in its dataset's world is kept.

    The world's units are scaled as those of the map are.
    """
    tx, ty, tz, *rotation = old.world_from_map
    world_from_map = (tx * found.scale, ty * found.scale, tz * found.scale, *rotation)
    return Georeference(world_from_map=world_from_map, datum=Wgs84.of(earth_from_local * found.target_from_map))


def set_georeference(visual_map: VisualMap, georeference: Georeference, scale: float = 1.0) -> None:
    """Write a georeference into a map, whose coordinates are multiplied by a scale before; see ``add_to_map``."""
    changes = {"georeference": georeference}
    if scale == 1.0:
        add_to_map(visual_map.folder, [], lambda _: None, changes)
        return
    model_files = [name for name in visual_map.info.files if name.startswith(f"{MODEL_FOLDER}/")]

    def write(folder: Path) -> None:
        poses: Float64 = np.array(visual_map.keyframe_poses)
        poses[:, :3] *= scale
        landmarks = (np.asarray(visual_map.landmark_positions, np.float64) * scale).astype(np.float32)
        np.save(folder / _SCALED[0], poses, allow_pickle=False)
        np.save(folder / _SCALED[1], landmarks, allow_pickle=False)
        model = pycolmap.Reconstruction(str(visual_map.folder / MODEL_FOLDER))
        model.transform(pycolmap.Sim3d(scale, Rotation3d(), np.zeros(3)))
        model.write(str(folder / MODEL_FOLDER))

    add_to_map(visual_map.folder, [*_SCALED, *model_files], write, changes)


def points_of_keyframes(visual_map: VisualMap, keyframes: Int64, antenna: Sequence[float] = (0, 0, 0)) -> Float64:
    """Positions (M, 3) in the map [m] of an antenna, which is at (3,) in the camera's optical frame, at keyframes."""
    lever = np.array(antenna, np.float64)
    return np.array([pose_of(visual_map.keyframe_poses[k]) * lever for k in keyframes.tolist()]).reshape(-1, 3)
