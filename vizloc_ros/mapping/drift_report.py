"""Report of a correction of poses that drift."""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.mapping.keyframe_pairs import Keyframe

_MAX_SHOWN = 3


class DriftReport(BaseModel):
    """Figures of a correction of poses, for map.yaml and ``vizloc map build --refine-poses``.

    Attributes:
        corrected: whether the poses were corrected; if the images agree with them as they are, they stay.
        way_m: length of the drive [m].
        moved_median_m: median distance by which the cameras moved [m].
        moved_max_m: largest distance [m].
        turned_median_deg: median angle by which they turned [deg].
        turned_max_deg: largest angle [deg].
        error_before_px: median distance of matches along the drive from the epipolar lines of the poses [px].
        error_after_px: the same with the poses that the images wanted [px].
        revisit_error_before_px: such a distance for matches of two visits of a place [px]; 0 without such.
        revisit_error_after_px: the same with the poses that the images wanted [px].
        loops_tried: number of pairs of keyframes that may close a loop.
        loops_verified: number of those whose landmarks fit.
        loops_rejected: number of those that contradict the drive or one another.
        open_stretches: first and last keyframe and length of each stretch that no loop closes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    corrected: bool
    way_m: float
    moved_median_m: float
    moved_max_m: float
    turned_median_deg: float
    turned_max_deg: float
    error_before_px: float
    error_after_px: float
    revisit_error_before_px: float = 0.0
    revisit_error_after_px: float = 0.0
    loops_tried: int = 0
    loops_verified: int = 0
    loops_rejected: int = 0
    open_stretches: list[str] = []

    @property
    def lines(self) -> list[str]:
        """Sentences for the terminal."""
        change = f"{self.error_before_px:.2f} px from the epipolar lines"
        if self.corrected:
            text = (
                f"poses corrected over {self.way_m:.0f} m: moved by {self.moved_median_m:.2f} m in the median, at most "
                f"{self.moved_max_m:.2f} m; turned by {self.turned_median_deg:.2f} deg, at most "
                f"{self.turned_max_deg:.2f} deg; matches were {change}, are {self.error_after_px:.2f} px"
            )
        else:
            text = (
                f"poses stay as they are: matches are {change}, and {self.error_after_px:.2f} px with the poses that "
                "the images want"
            )
        loops = (
            f"loop closures: {self.loops_tried} pairs tried, {self.loops_verified} verified, "
            f"{self.loops_rejected} rejected"
        )
        if not self.open_stretches:
            return [text, loops]
        shown = "; ".join(self.open_stretches[:_MAX_SHOWN]) + (" ..." if len(self.open_stretches) > _MAX_SHOWN else "")
        return [text, loops, f"no loop closes {shown}: drift that images do not show remains there"]


def drift_report(
    keyframes: Sequence[Keyframe],
    corrected: Sequence[Keyframe],
    way: Float64,
    errors: Sequence[tuple[float, float]],
) -> DriftReport:
    """Report of a correction, without loops.

    Args:
        keyframes: keyframes before.
        corrected: keyframes after; the same if the poses stay.
        way: (N,) way from the first keyframe to each [m].
        errors: errors before and after [px] of matches along the drive, and of two visits.
    """
    changes = [pose_error(a.map_from_cam, b.map_from_cam) for a, b in zip(corrected, keyframes, strict=True)]
    distances, angles = np.array(changes).T
    (before, after), (revisit_before, revisit_after) = errors
    return DriftReport(
        corrected=any(a is not b for a, b in zip(corrected, keyframes, strict=True)),
        way_m=float(way[-1]),
        moved_median_m=float(np.median(distances)),
        moved_max_m=float(distances.max()),
        turned_median_deg=float(np.median(angles)),
        turned_max_deg=float(angles.max()),
        error_before_px=before,
        error_after_px=after,
        revisit_error_before_px=revisit_before,
        revisit_error_after_px=revisit_after,
    )
