"""Poses at the times of images, interpolated between those of a trajectory."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

from pycolmap import Rigid3d

MAX_GAP_NS = 100_000_000  # in longer gaps, a ground truth of 20 poses a second or more was lost


@dataclass(frozen=True)
class Trajectory:
    """Poses by their time.

    Attributes:
        stamps_ns: times in ascending order [ns].
        poses: pose at each time, all of the same frames.
        max_gap_ns: time between neighbors up to which poses are interpolated [ns].
    """

    stamps_ns: list[int]
    poses: list[Rigid3d]
    max_gap_ns: int = MAX_GAP_NS

    @classmethod
    def of(cls, poses: Mapping[int, Rigid3d], max_gap_ns: int = MAX_GAP_NS) -> "Trajectory":
        """Trajectory of poses by time [ns], in any order."""
        stamps = sorted(poses)
        return cls(stamps, [poses[stamp] for stamp in stamps], max_gap_ns)

    def at(self, stamp_ns: int) -> Rigid3d | None:
        """Pose at a time [ns]; None outside of the trajectory and in longer gaps than allowed.

        Between two poses, the position is interpolated along the line and the rotation about its axis.
        """
        after = bisect_left(self.stamps_ns, stamp_ns)
        if after < len(self.stamps_ns) and self.stamps_ns[after] == stamp_ns:
            return self.poses[after]
        if not 0 < after < len(self.stamps_ns):
            return None
        start, end = self.stamps_ns[after - 1], self.stamps_ns[after]
        if end - start > self.max_gap_ns:
            return None
        return Rigid3d.interpolate(self.poses[after - 1], self.poses[after], (stamp_ns - start) / (end - start))
