"""Trajectory from the fixes of a GNSS receiver: positions in a local frame, rotations from an Imu or from the motion.

The world is x east, y north, z up, with its origin at the first fix (WGS 84).
"""

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from pycolmap import Rigid3d
from scipy.spatial.transform import Rotation, Slerp

from vizloc_ros.arrays import Float64
from vizloc_ros.bags.bag_messages import stamp_ns_of
from vizloc_ros.bags.bag_options import NONE
from vizloc_ros.bags.bag_transforms import BagTransforms
from vizloc_ros.bags.gnss_fixes import read_fixes
from vizloc_ros.bags.reader import IMU_TYPE, BagInfo, read_messages
from vizloc_ros.errors import BagError
from vizloc_ros.geometry.geodesy import earth_from_enu, ecef_from_geodetic
from vizloc_ros.geometry.poses import pose_from_quaternion, transform_points
from vizloc_ros.timing import NANOSECONDS

_FIRST_MESSAGES = 100  # of an Imu; a drive has hundreds of thousands
_SHORTEST_M, _DEVIATIONS = 1.0, 10.0  # way over which a direction is taken, and the same in deviations of a fix
_MAX_SPREAD, _MAX_TURN = np.radians(20.0), np.radians(3.0)  # between the yaws of an Imu and the motion


def gnss_poses(
    bag: Path, topic: str, info: BagInfo, transforms: BagTransforms, base_frame: str, imu_topic: str
) -> tuple[dict[int, Rigid3d], list[str]]:
    """Poses world_from_base at the times of the fixes, and remarks about them.

    Args:
        bag: the bag.
        topic: topic of the fixes.
        info: summary of the bag.
        transforms: static transforms, for the places of antenna and Imu on the vehicle.
        base_frame: frame of the vehicle.
        imu_topic: topic of the rotations; empty: the only one with orientations; "none": from the motion.

    Raises:
        BagError: the fixes cannot be used, or there are several Imus.
    """
    fixes = read_fixes(bag, topic)
    if len(fixes) < 2:
        raise BagError(f"{bag}: {topic} has {len(fixes)} usable fixes; at least 2 are needed")
    notes: list[str] = []
    stamps = [fix.timestamp_ns for fix in fixes]
    seconds = np.array([stamp - stamps[0] for stamp in stamps]) / NANOSECONDS
    geodetic = np.array([(fix.latitude, fix.longitude, fix.altitude) for fix in fixes])
    latitude, longitude, altitude = geodetic[0].tolist()
    positions = transform_points(earth_from_enu(latitude, longitude, altitude).inverse(), ecef_from_geodetic(geodetic))
    notes.append(
        f"the world is east, north, up around the first fix: latitude {latitude:.8f}, longitude {longitude:.8f}, "
        f"altitude {altitude:.3f} m"
    )
    deviations = [max(fix.std_m[:2]) for fix in fixes if fix.std_m is not None]
    way = max(_SHORTEST_M, _DEVIATIONS * float(np.median(deviations)) if deviations else 0.0)
    headings = _headings(seconds, positions, way)
    imu = None if imu_topic == NONE else _imu_rotations(bag, info, transforms, base_frame, imu_topic, notes)
    in_world = None if imu is None else _aligned(np.array(stamps) / NANOSECONDS, imu, headings, notes)
    if in_world is None:
        if headings is None:
            raise BagError(
                f"{bag}: {topic}: the vehicle moved less than {way:g} m, so the fixes do not tell its heading: give "
                "another topic of poses"
            )
        in_world = Rotation.from_euler("z", headings[:, None])
        notes.append(f"headings are those of the motion over {way:.3g} m; roll and pitch are zero")
    frame = _frame(bag, topic)
    base_from_antenna = transforms.all.lookup(base_frame, frame) if frame else None
    if base_from_antenna is None:
        notes.append(
            f"without a transform {base_frame} -> {frame or 'antenna'}, the antenna is taken to be at its origin"
        )
    lever = np.zeros(3) if base_from_antenna is None else np.asarray(base_from_antenna.translation)
    origins = positions - in_world.apply(lever)
    return dict(zip(stamps, map(pose_from_quaternion, origins, in_world.as_quat()), strict=True)), notes


def _headings(seconds: Float64, positions: Float64, way: float) -> Float64 | None:
    """(N,) heading of the motion [rad], from east to north, interpolated; None if the way is too short."""
    kept = [0]
    for index, position in enumerate(positions):
        if np.linalg.norm(position[:2] - positions[kept[-1], :2]) >= way:
            kept.append(index)
    if len(kept) < 2:
        return None
    steps = np.diff(positions[kept, :2], axis=0)
    middles = (seconds[kept][1:] + seconds[kept][:-1]) / 2
    headings: Float64 = np.interp(seconds, middles, np.unwrap(np.arctan2(steps[:, 1], steps[:, 0])))
    return headings


def _imu_rotations(
    bag: Path, info: BagInfo, transforms: BagTransforms, base_frame: str, given: str, notes: list[str]
) -> tuple[Float64, Rotation] | None:
    """Times [s] and rotations world_from_base of the Imu; None without one that has orientations."""
    topics = info.topics_of(IMU_TYPE)
    if given and given not in topics:
        raise BagError(f"{bag}: --imu-topic {given} has no Imu; there are: {', '.join(topics) or 'none'}")
    usable = [topic for topic in ([given] if given else topics) if has_orientations(bag, topic)]
    if len(usable) > 1:
        raise BagError(
            f"{bag}: it has orientations of {len(usable)} Imus: choose one with --imu-topic, or {NONE}: "
            f"{', '.join(usable)}"
        )
    if not usable:
        if given:
            raise BagError(f"{bag}: --imu-topic {given} has no orientations; give {NONE} for those of the motion")
        return None
    seconds, quaternions = _orientations(bag, usable[0])
    frame = _frame(bag, usable[0])
    imu_from_base = transforms.all.lookup(frame, base_frame) if frame else None
    if imu_from_base is None:
        notes.append(
            f"without a transform {base_frame} -> {frame or 'Imu'}, the Imu's axes are taken for the vehicle's"
        )
        imu_from_base = Rigid3d()
    notes.append(f"Imu: {usable[0]}")
    return seconds, Rotation.from_quat(quaternions) * Rotation.from_quat(np.asarray(imu_from_base.rotation.quat))


def has_orientations(bag: Path, topic: str) -> bool:
    """Return true if an Imu estimates its orientation, by its first messages. Raises ``BagError`` as the reader."""
    return any(_is_oriented(message) for _, message in islice(read_messages(bag, topic), _FIRST_MESSAGES))


def _is_oriented(message: Any) -> bool:
    q = message.orientation
    return bool(message.orientation_covariance[0] != -1 and abs(np.linalg.norm([q.x, q.y, q.z, q.w]) - 1) < 0.01)


def _orientations(bag: Path, topic: str) -> tuple[Float64, Float64]:
    """Times [s] and quaternions (N, 4) xyzw of an Imu; none of one that does not estimate them (covariance -1)."""
    found: dict[int, list[float]] = {}
    for _, message in read_messages(bag, topic):
        if _is_oriented(message):
            q = message.orientation
            found[stamp_ns_of(message.header)] = [q.x, q.y, q.z, q.w]
    stamps = sorted(found)
    return np.array(stamps) / NANOSECONDS, np.array([found[stamp] for stamp in stamps]).reshape(-1, 4)


def _aligned(
    seconds: Float64, imu: tuple[Float64, Rotation], headings: Float64 | None, notes: list[str]
) -> Rotation | None:
    """Rotations world_from_base at the times of the fixes; None if they do not follow the motion.

    Many Imus count their yaw from where they were switched on, or are turned on the vehicle: it is made that of the
    motion.
    """
    imu_seconds, rotations = imu
    at_fixes = Slerp(imu_seconds, rotations)(np.clip(seconds, imu_seconds[0], imu_seconds[-1]))
    if headings is None:
        return at_fixes
    forward = at_fixes.apply([1.0, 0.0, 0.0])
    turns = headings - np.arctan2(forward[:, 1], forward[:, 0])
    mean = float(np.angle(np.mean(np.exp(1j * turns))))
    off = np.angle(np.exp(1j * (turns - mean)))
    turn = mean + float(np.median(off))
    if float(np.median(np.abs(off - np.median(off)))) > _MAX_SPREAD:
        notes.append("the Imu's yaw does not follow the motion, so it is not used")
        return None
    if abs(turn) > _MAX_TURN:
        notes.append(f"the Imu's yaw is {np.degrees(-turn):.0f} deg from the motion, and was corrected by that")
        return Rotation.from_euler("z", turn) * at_fixes
    return at_fixes


def _frame(bag: Path, topic: str) -> str:
    message = next((message for _, message in read_messages(bag, topic)), None)
    return "" if message is None else str(message.header.frame_id)
