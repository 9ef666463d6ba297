"""Late images: the pose of each is right for a moment that has passed, as the vehicle's odometry tells.

A driver that falls back in its buffer sends images of a second ago with stamps of now. They localize well, and agree
with each other. With the odometry since the last pose that was believed, the anchor, a pose of a live image is

    map_from_cam(t) = map_from_cam(anchor) * odom_from_cam(anchor)^-1 * odom_from_cam(t)

and that of a late one has odom_from_cam(t - lag) instead. Where the wheels spin, or the odometry has a wrong scale, the
images fall behind it, too. But they never show what was before the anchor: the vehicle is seen to go on, and not to
jump back on its way. So such a pose is late for sure. After a break in which much may have happened, one that fits a
lag is taken for late, too, but only until one does not fit this lag or a shorter one.
"""

from bisect import bisect_left
from collections import deque
from dataclasses import replace

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.se3 import interpolated, so3_log
from vizloc_ros.pixloc.motion import KnownPose
from vizloc_ros.timing import NANOSECONDS

_MIN_LAG, _MAX_LAG = 0.15, 5.0  # s
_APART, _APART_DEG = 0.5, 5.0  # m, deg; a lag of less motion does no harm, and hardly shows
_POSE_ERROR, _POSE_ANGLE = 0.1, 1.0  # m, deg; and three standard deviations, of which at most so much is believed
_MAX_DRIFT = 0.06  # of the motion; odometry is within some percent
_PROOF, _PROOF_DEG = 1.0, 6.0  # m, deg; motion over which the odometry must have been right
_FOLLOWED, _FOLLOWED_DEG = 3.0, 15.0  # m, deg; after which the anchor follows an unsure lag; over less, many fit
_SAME_LAG = 0.2  # of the tolerance; the lag before is taken if it fits almost as well: drift is no change of it
_SHORT, _SHORT_LAG = 0.2, 0.3  # of the longest lag; s; one that has become as short as both may be none, by errors
_STEADY, _STEADY_FOR = 0.03, 1.5  # s; of a short lag, by which it has not become shorter, and the time for that
_BREAK = 0.25  # s; without a pose
_MAX_BREAK = 10.0  # s; the odometry drifts
_CONTRADICTIONS = 3  # poses in a row that fit no moment, after which the vehicle is elsewhere, or the odometry wrong
_JUMP, _MAX_ACCELERATION = 0.3, 30.0  # m, m/s^2; more is no motion of a vehicle
_SPACING, _MAX_GAP = 0.04, 5.0  # s; between poses of the odometry


class LateImages:
    """Comparison of each accepted pose with the odometry of its stamp, and of the seconds before. For one thread.

    Only odometry counts that has been right over the last meter. Without it, no pose is late.

    Attributes:
        reason: reason to withhold the last pose that was checked; empty if it is live.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything, as after a jump of the clock, or a pose by a person."""
        self._trail: deque[tuple[int, Rigid3d]] = deque()  # the odometry of the last seconds
        self._lose_trust()

    def _lose_trust(self) -> None:
        """Forget all poses, and that the odometry was right."""
        self._anchor: KnownPose | None = None
        self._proof_from: KnownPose | None = None  # pose that the odometry is compared with over a meter
        self._is_proven = self._is_sure = False
        self._lag_ns = self._seen_ns = self._contradictions = 0
        self._longest_ns = self._shortest_ns = self._since_ns = 0  # lags of the stream; since when the shortest
        self.reason = ""

    @property
    def is_late(self) -> bool:
        """True since images have been late, until one is seen to be live."""
        return self._lag_ns > 0

    def note(self, stamp_ns: int, odom_from_cam: Rigid3d | None) -> None:
        """Note the odometry of a time; of an image, before its pose is checked. One out of order is ignored."""
        if odom_from_cam is None:
            return
        if self._trail and not 0 < stamp_ns - self._trail[-1][0] <= _MAX_GAP * NANOSECONDS:
            if abs(stamp_ns - self._trail[-1][0]) <= _MAX_GAP * NANOSECONDS:
                return
            self.reset()
        if self._has_jumped(stamp_ns, odom_from_cam):
            self.reset()
        if not self._trail or stamp_ns - self._trail[-1][0] >= _SPACING * NANOSECONDS:
            self._trail.append((stamp_ns, odom_from_cam))
        while stamp_ns - self._trail[0][0] > (_MAX_LAG + 1) * NANOSECONDS:
            self._trail.popleft()

    def check(self, known: KnownPose) -> str:
        """Check the next accepted pose; return the reason to withhold it, empty for a live one."""
        anchor, odom_from_cam = self._anchor, known.odom_from_cam
        since_ns = known.stamp_ns - self._seen_ns
        if odom_from_cam is None:
            if since_ns > _MAX_LAG * NANOSECONDS:
                self._lose_trust()
            return self.reason
        if anchor is None or since_ns > _MAX_BREAK * NANOSECONDS:
            self._believe(known)
            self._proof_from = known
            return ""
        if since_ns <= 0:  # of an image before, which says nothing about now
            return self.reason
        self._seen_ns = known.stamp_ns
        if self.is_late:
            return self._check_late(anchor, known, odom_from_cam)
        if _agree(anchor, known, odom_from_cam):
            self._believe(known)
            self._prove(known)
            return ""
        shown = self._shown(anchor, known) if self._is_proven else None
        if shown is not None and _are_apart(anchor, shown[1], odom_from_cam):
            went_back = shown[0] < anchor.stamp_ns and not _agree(anchor, known, anchor.odom_from_cam)
            if went_back or since_ns > _BREAK * NANOSECONDS:
                self._is_sure = went_back
                return self._follow(known, shown, odom_from_cam)
        return self._contradict(known)

    def _check_late(self, anchor: KnownPose, known: KnownPose, odom_from_cam: Rigid3d) -> str:
        """Check a pose while images are late: the anchor is of the moment that the last one has shown."""
        shown = self._shown(anchor, known)
        if _agree(anchor, known, odom_from_cam) and (shown is None or _are_apart(anchor, shown[1], odom_from_cam)):
            self._believe(known)
            self._proof_from = known
            return ""
        if shown is None:
            return self._contradict(known)
        self._follow(known, shown, odom_from_cam)
        if self._has_caught_up(known.stamp_ns):
            self._believe(known)
            self._proof_from = known
        elif not _are_apart(anchor, shown[1], odom_from_cam):  # it stands, or hardly moves; it will drive on
            self.reason = ""
        return self.reason

    def _believe(self, known: KnownPose) -> None:
        """Take a pose as the anchor: its image is live."""
        self._anchor, self._seen_ns = known, known.stamp_ns
        self._lag_ns, self.reason, self._contradictions = 0, "", 0

    def _prove(self, known: KnownPose) -> None:
        """Compare the motion over a meter; that from image to image is too short to tell a wrong scale."""
        before = self._proof_from
        if before is None or before.odom_from_cam is None or known.odom_from_cam is None:
            self._proof_from = known
            return
        moved, turned = _motion(before.odom_from_cam, known.odom_from_cam)
        seen = _motion(before.map_from_cam, known.map_from_cam)
        if max(moved, seen[0]) >= _PROOF or max(turned, seen[1]) >= _PROOF_DEG:
            self._is_proven = _agree(before, known, known.odom_from_cam)
            self._proof_from = known

    def _follow(self, known: KnownPose, shown: tuple[int, Rigid3d], odom_from_cam: Rigid3d) -> str:
        """Let the anchor follow with the lag; return the reason."""
        (stamp_ns, odom_then), anchor = shown, self._anchor or known
        lag_ns = known.stamp_ns - stamp_ns
        if not self.is_late:
            self._longest_ns = self._shortest_ns = 0
        self._longest_ns = max(self._longest_ns, lag_ns)
        if not self._shortest_ns or lag_ns < self._shortest_ns - _STEADY * NANOSECONDS:
            self._shortest_ns, self._since_ns = lag_ns, known.stamp_ns
        moved, turned = _motion(anchor.odom_from_cam or odom_then, odom_then)
        if not self.is_late or self._is_sure or moved >= _FOLLOWED or turned >= _FOLLOWED_DEG:
            self._anchor = replace(known, stamp_ns=stamp_ns, odom_from_cam=odom_then)
        self._lag_ns, self._contradictions = lag_ns, 0
        moved, turned = _motion(odom_then, odom_from_cam)
        self.reason = (
            f"images look {self._lag_ns / NANOSECONDS:.1f} s older than their stamps: the odometry has moved on by "
            f"{moved:.1f} m and {turned:.0f} deg. Does the driver send what has waited in a buffer?"
        )
        return self.reason

    def _has_caught_up(self, stamp_ns: int) -> bool:
        """True if a lag that has become short stays as it is: that is what errors have made of none."""
        is_short = self._lag_ns < min(_SHORT * self._longest_ns, _SHORT_LAG * NANOSECONDS)
        return is_short and stamp_ns - self._since_ns > _STEADY_FOR * NANOSECONDS

    def _contradict(self, known: KnownPose) -> str:
        """Count a pose that fits no moment; after some in a row, the odometry must prove itself from there on."""
        self._contradictions += 1
        if self._contradictions < _CONTRADICTIONS and (self._is_sure or not self.is_late):
            return self.reason
        self._lose_trust()
        self._believe(known)
        return ""

    def _shown(self, anchor: KnownPose, known: KnownPose) -> tuple[int, Rigid3d] | None:
        """Moment that a pose shows [ns], with the odometry of it; an unsure lag does not grow."""
        newest_ns, oldest_ns = (known.stamp_ns - round(lag * NANOSECONDS) for lag in (_MIN_LAG, _MAX_LAG))
        trail = [entry for entry in self._trail if oldest_ns <= entry[0] <= newest_ns]
        if len(trail) < 2:
            return None
        offsets = np.array([_offset(anchor, known, odom_from_cam) for _, odom_from_cam in trail])
        steps = np.diff(offsets, axis=0)
        lengths = np.maximum((steps**2).sum(axis=1), 1e-12)
        ratios = np.clip(-(offsets[:-1] * steps).sum(axis=1) / lengths, 0, 1)
        distances = np.linalg.norm(offsets[:-1] + ratios[:, None] * steps, axis=1)
        index = int(np.argmin(distances))
        (start_ns, _), (end_ns, _) = trail[index], trail[index + 1]
        stamp_ns, distance = start_ns + round(float(ratios[index]) * (end_ns - start_ns)), float(distances[index])
        if self.is_late:
            last_ns = min(max(known.stamp_ns - self._lag_ns, trail[0][0]), trail[-1][0])
            off = float(np.linalg.norm(_offset(anchor, known, self._odometry_at(last_ns))))
            if off <= distance + _SAME_LAG or (stamp_ns < last_ns and not self._is_sure):
                stamp_ns, distance = last_ns, off
        return (stamp_ns, self._odometry_at(stamp_ns)) if distance <= 1 else None

    def _odometry_at(self, stamp_ns: int) -> Rigid3d:
        """Pose odom_from_cam at a time of the trail, between two entries of it."""
        trail = list(self._trail)
        index = min(max(0, bisect_left(trail, stamp_ns, key=lambda entry: entry[0]) - 1), len(trail) - 2)
        (start_ns, first), (end_ns, second) = trail[index], trail[index + 1]
        return interpolated(first, second, (stamp_ns - start_ns) / (end_ns - start_ns))

    def _has_jumped(self, stamp_ns: int, odom_from_cam: Rigid3d) -> bool:
        """True if the odometry has moved as no vehicle does, such as one that began anew."""
        if len(self._trail) < 2:
            return False
        (first_ns, first), (second_ns, second) = self._trail[-2], self._trail[-1]
        before, seconds = (second_ns - first_ns) / NANOSECONDS, (stamp_ns - second_ns) / NANOSECONDS
        expected = (second.translation - first.translation) / before * seconds
        off = float(np.linalg.norm(odom_from_cam.translation - second.translation - expected))
        return off > _JUMP + _MAX_ACCELERATION * seconds * max(seconds, before)


def _motion(one: Rigid3d, other: Rigid3d) -> tuple[float, float]:
    """Distance [m] and angle [deg] of the motion between two poses."""
    moved = one.inverse() * other
    return float(np.linalg.norm(moved.translation)), float(np.degrees(moved.rotation.angle()))


def _tolerance(anchor: KnownPose, odom_from_cam: Rigid3d, known: KnownPose | None = None) -> tuple[float, float]:
    """Error [m, rad] that the pose after a motion since the anchor may have."""
    moved, turned = _motion(anchor.odom_from_cam or Rigid3d(), odom_from_cam)
    poses = [anchor] if known is None else [anchor, known]
    position = float(np.hypot.reduce([min(pose.position_std, _POSE_ERROR) for pose in poses]))
    rotation = float(np.hypot.reduce([min(pose.rotation_std, np.radians(_POSE_ANGLE)) for pose in poses]))
    return (
        _POSE_ERROR + 3 * position + _MAX_DRIFT * moved,
        float(np.radians(_POSE_ANGLE + _MAX_DRIFT * turned)) + 3 * rotation,
    )


def _predicted(anchor: KnownPose, odom_from_cam: Rigid3d) -> Rigid3d:
    """Pose where the odometry puts the camera, from the anchor on."""
    return anchor.map_from_cam * (anchor.odom_from_cam or Rigid3d()).inverse() * odom_from_cam


def _offset(anchor: KnownPose, known: KnownPose, odom_from_cam: Rigid3d | None) -> Float64:
    """Offset (6,) of a pose from where the odometry puts it, by what it may be; at most 1 long if they agree."""
    odom_then = odom_from_cam or Rigid3d()
    predicted = _predicted(anchor, odom_then)
    off = predicted.inverse() * known.map_from_cam
    position, rotation = _tolerance(anchor, odom_then, known)
    return np.concatenate([off.translation / position, so3_log(off.rotation) / rotation])


def _agree(anchor: KnownPose, known: KnownPose, odom_from_cam: Rigid3d | None) -> bool:
    """True if a pose is where the odometry puts it."""
    return float(np.linalg.norm(_offset(anchor, known, odom_from_cam))) <= 1


def _are_apart(anchor: KnownPose, one: Rigid3d, other: Rigid3d) -> bool:
    """True if two poses of the odometry are clearly not the same, with what it may be off by since the anchor."""
    moved, turned = _motion(one, other)
    position, rotation = _tolerance(anchor, other)
    return moved > max(_APART, 2 * position) or turned > max(_APART_DEG, 2 * np.degrees(rotation))
