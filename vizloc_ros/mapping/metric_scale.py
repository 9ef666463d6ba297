"""Metric scale of a map whose poses come from images alone: a length, poses, odometry, GNSS, or the camera's height."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pycolmap
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64
from vizloc_ros.datasets.record import GnssFix, Record
from vizloc_ros.errors import ConfigError, MapError
from vizloc_ros.geometry.poses import BODY_FROM_OPTICAL
from vizloc_ros.geometry.similarity import Similarity, align_poses, align_positions

FORMS = "poses, odometry, gnss, camera-height:METERS or LENGTH:IMAGE_A,IMAGE_B"
_TYPICAL_DEPTH = 10.0  # units between camera and landmarks in a map of unknown scale, as in a street in meters
_MIN_POSES = 3
_MIN_GROUND_POINTS, _MIN_GROUND_RATIO = 50, 0.15  # ratio of the points below the camera
_GROUND_TOLERANCE, _MAX_GROUND_TILT, _GROUND_DIP = 0.04, 0.35, 0.1  # of the height; rad; tangent below the horizon
_GROUND_TRIALS, _MAX_GROUND_SAMPLE = 1000, 5000
_MAX_FIX_GAP_NS = 2_000_000_000


@dataclass(frozen=True)
class ScaleSource:
    """Source of the metric scale.

    Attributes:
        kind: ``poses``, ``odometry``, ``gnss``, ``camera-height``, ``length`` or, if there is none, empty.
        meters: height of the camera, or length between the two images [m].
        images: names of the two images.
    """

    kind: str = ""
    meters: float = 0.0
    images: tuple[str, str] = ("", "")

    @classmethod
    def parse(cls, text: str) -> "ScaleSource":
        """Parse an option ``--scale-from``; empty: none. Raises ``ConfigError``."""
        if text in ("", "poses", "odometry", "gnss"):
            return cls(text)
        head, colon, tail = text.partition(":")
        is_height = head == "camera-height"
        number, names = (tail, ["", ""]) if is_height else (head, tail.split(","))
        try:
            meters = float(number)
        except ValueError:
            meters = 0.0
        if not colon or len(names) != 2 or not 0 < meters < np.inf or (not is_height and not all(names)):
            raise ConfigError(f"--scale-from {text}: write {FORMS}")
        return cls("camera-height" if is_height else "length", meters, (names[0], names[1]))

    @property
    def text(self) -> str:
        """Source as in the report."""
        detail = {"camera-height": f" of {self.meters:g} m", "length": f" of {self.meters:g} m"}.get(self.kind, "")
        return f"{self.kind or 'none'}{detail}" + (f" from {' to '.join(self.images)}" if self.kind == "length" else "")


@dataclass(frozen=True)
class PosedModel:
    """Poses of images, and the landmarks that each sees, in a frame and units of their own.

    Attributes:
        records: registered images in order of time.
        poses: world_from_cam of each.
        points: (N, 3) landmarks in the axes of the camera, for each image.
    """

    records: Sequence[Record]
    poses: Sequence[Rigid3d]
    points: Sequence[Float64]

    @property
    def centers(self) -> Float64:
        """(N, 3) positions of the cameras."""
        return np.array([pose.translation for pose in self.poses])


def metric_similarity(
    model: PosedModel, source: ScaleSource, fixes: Sequence[GnssFix], seed: int
) -> tuple[Similarity, float | None]:
    """Similarity from the model to the map's frame, and the deviation of what its scale is from.

    With ``poses``, the frame is that of the poses. Otherwise it is upright, with its origin at the first camera and x
    ahead of it. Without a source, landmarks are ten units away in the median.

    Raises:
        MapError: the source cannot tell the scale of this model; the text says why.
    """
    if source.kind == "poses":
        return _by_poses(model)
    scale, deviation = {
        "": _by_depth,
        "odometry": _by_odometry,
        "gnss": lambda m: _by_fixes(m, fixes),
        "camera-height": lambda m: _by_height(m, source.meters, seed),
        "length": lambda m: _by_length(m, source),
    }[source.kind](model)
    upright = _upright(model.poses)
    return Similarity(scale, Rigid3d(upright.rotation, scale * upright.translation)), deviation


def _posed(model: PosedModel, kind: str) -> tuple[list[Rigid3d], list[Rigid3d]]:
    """Known poses, and those of the model, of the images that have both."""
    both = [(r.world_from_cam, p) for r, p in zip(model.records, model.poses, strict=True) if r.world_from_cam]
    if len(both) < _MIN_POSES:
        raise MapError(
            f"--scale-from {kind}: {len(both)} of the {len(model.records)} registered images have a pose; at least "
            f"{_MIN_POSES} must. Give another source of the scale"
        )
    return [known for known, _ in both if known], [pose for _, pose in both]


def _by_poses(model: PosedModel) -> tuple[Similarity, float]:
    known, poses = _posed(model, "poses")
    aligned = align_poses(known, poses)
    if aligned is None or not aligned.scale > 0:
        raise MapError("--scale-from poses: the known poses do not move as the images do; are they of these images?")
    errors = [np.linalg.norm(aligned.pose(p).translation - k.translation) for k, p in zip(known, poses, strict=True)]
    return aligned, float(np.median(errors))


def _by_odometry(model: PosedModel) -> tuple[float, float]:
    """Median ratio of the distances from image to image: the drift of poses adds up over many, not in these."""
    known, poses = _posed(model, "odometry")
    steps, estimated = (
        np.linalg.norm(np.diff([p.translation for p in track], axis=0), axis=1) for track in (known, poses)
    )
    moved = estimated > 0.1 * np.median(estimated)
    ratios = steps[moved] / estimated[moved]
    scale = float(np.median(ratios)) if len(ratios) else 0.0
    if not scale > 0:
        raise MapError("--scale-from odometry: the known poses stand still, but the images move")
    return scale, float(np.median(np.abs(ratios - scale))) / scale


def _by_fixes(model: PosedModel, fixes: Sequence[GnssFix]) -> tuple[float, float]:
    stamps = np.array([fix.timestamp_ns for fix in fixes], np.int64)
    taken = np.array([record.timestamp_ns for record in model.records], np.int64)
    after = np.searchsorted(stamps, taken)
    inside = (after > 0) & (after < len(stamps))
    inside[inside] = stamps[after[inside]] - stamps[after[inside] - 1] <= _MAX_FIX_GAP_NS
    if inside.sum() < _MIN_POSES:
        raise MapError(
            f"--scale-from gnss: {inside.sum()} of the {len(taken)} registered images were taken between two fixes of "
            f"a GNSS receiver; at least {_MIN_POSES} must be, and the dataset has {len(fixes)} fixes"
        )
    geodetic = np.array([[fix.latitude, fix.longitude, fix.altitude] for fix in fixes])
    enu = np.asarray(pycolmap.GPSTransform().ellipsoid_to_enu(geodetic, *geodetic[0]))
    positions = np.column_stack([np.interp(taken[inside] - stamps[0], stamps - stamps[0], axis) for axis in enu.T])
    aligned = align_positions(positions, model.centers[inside])
    if aligned is None or not aligned.scale > 0:
        raise MapError("--scale-from gnss: the fixes stand still, or the images do")
    moved = [aligned.pose(pose).translation for pose, is_in in zip(model.poses, inside, strict=True) if is_in]
    return aligned.scale, float(np.median(np.linalg.norm(np.array(moved) - positions, axis=1)))


def _by_length(model: PosedModel, source: ScaleSource) -> tuple[float, None]:
    by_name = dict(zip((record.name for record in model.records), model.centers, strict=True))
    missing = [name for name in source.images if name not in by_name]
    if missing:
        raise MapError(f"--scale-from {source.text}: {', '.join(missing)} is not among the registered images")
    distance = float(np.linalg.norm(by_name[source.images[0]] - by_name[source.images[1]]))
    if not distance > 0:
        raise MapError(f"--scale-from {source.text}: both images were taken at the same place")
    return source.meters / distance, None


def _by_height(model: PosedModel, height: float, seed: int) -> tuple[float, float]:
    """Scale by the plane of the ground, which is the same in the axes of a camera on a vehicle all along the drive."""
    rng = np.random.default_rng(seed)
    points = np.concatenate(model.points)
    points = points[points[:, 1] > _GROUND_DIP * np.hypot(points[:, 0], points[:, 2])]
    if len(points) < _MIN_GROUND_POINTS:
        raise MapError(f"--scale-from camera-height: only {len(points)} landmarks are below the horizon of the images")
    if len(points) > _MAX_GROUND_SAMPLE:
        points = points[rng.choice(len(points), _MAX_GROUND_SAMPLE, replace=False)]
    planes = [_plane(points[rng.choice(len(points), 3, replace=False)]) for _ in range(_GROUND_TRIALS)]
    level = [p for p in planes if p is not None and p[1] >= np.cos(_MAX_GROUND_TILT) * np.linalg.norm(p)]
    inliers = [int((np.abs(points @ plane - 1) < _GROUND_TOLERANCE).sum()) for plane in level]
    best_inliers = max(inliers, default=0)
    if best_inliers < max(_MIN_GROUND_POINTS, _MIN_GROUND_RATIO * len(points)):
        raise MapError(
            f"--scale-from camera-height: {best_inliers} of {len(points)} landmarks below the horizon lie on one "
            "plane: the ground shows too little, or the camera does not look along it. Give another source of the scale"
        )
    on_plane = points[np.abs(points @ level[inliers.index(best_inliers)] - 1) < _GROUND_TOLERANCE]
    best = np.linalg.lstsq(on_plane, np.ones(len(on_plane)), rcond=None)[0]
    return height * float(np.linalg.norm(best)), float(np.median(np.abs(on_plane @ best - 1)))


def _plane(points: Float64) -> Float64 | None:
    """Plane q x = 1 through (3, 3) points, with the normal q and the distance 1 / |q|; None if it is not determined."""
    try:
        return np.asarray(np.linalg.solve(points, np.ones(3)), np.float64)
    except np.linalg.LinAlgError:
        return None


def _by_depth(model: PosedModel) -> tuple[float, None]:
    return _TYPICAL_DEPTH / float(np.median(np.concatenate(model.points)[:, 2])), None


def _upright(poses: Sequence[Rigid3d]) -> Rigid3d:
    """Frame at the first camera with z up and x ahead.

    A camera on a vehicle or in a hand has a level x axis. If it never turns, its own y axis is taken for down.
    """
    rights = np.array([pose.rotation.matrix()[:, 0] for pose in poses])
    down = np.mean([pose.rotation.matrix()[:, 1] for pose in poses], axis=0)
    spread = rights.T @ rights / len(rights) - 0.01 * np.outer(down, down)
    up = np.linalg.eigh(spread)[1][:, 0]
    up = up if up @ down < 0 else -up
    ahead = (poses[0] * BODY_FROM_OPTICAL.inverse()).rotation.matrix()[:, 0]
    ahead = ahead - (ahead @ up) * up
    if np.linalg.norm(ahead) < 1e-6:  # it looks straight up or down
        ahead = np.cross(rights[0], up)
    ahead /= np.linalg.norm(ahead)
    rotation = pycolmap.Rotation3d(np.stack([ahead, np.cross(up, ahead), up]))
    return Rigid3d(rotation, -(rotation * poses[0].translation))
