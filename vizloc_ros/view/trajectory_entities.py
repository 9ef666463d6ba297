"""Trajectories in a recording: ground truth and estimates, these colored by their error."""

from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np
import rerun as rr
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64, UInt8
from vizloc_ros.evaluation.image_results import ImageResult
from vizloc_ros.evaluation.plots import ERROR_RANGE_M
from vizloc_ros.view.map_entities import colormapped

_TRUTH_COLOR = (245, 158, 11)
_ESTIMATE_COLOR = (37, 99, 235)
_LOST_COLOR = (220, 38, 38)


def log_trajectories(recording: rr.RecordingStream, images: Sequence[ImageResult]) -> None:
    """Log both trajectories as lines, broken where poses are missing; estimates and true places without one as dots."""
    if any(image.truth is not None for image in images):
        lines = unbroken(image.truth for image in images)
        recording.log("world/truth", rr.LineStrips3D(list(lines), colors=_TRUTH_COLOR), static=True)
    found = [(image.estimate, image.truth) for image in images if image.estimate is not None]
    if not found:
        return
    lines = unbroken(image.estimate for image in images)
    recording.log("world/estimate/line", rr.LineStrips3D(list(lines), colors=_ESTIMATE_COLOR), static=True)
    recording.log(
        "world/estimate/poses",
        rr.Points3D([e.translation for e, _ in found], colors=_error_colors(found), radii=rr.Radius.ui_points(3)),
        static=True,
    )
    missing = [image.truth.translation for image in images if image.estimate is None and image.truth is not None]
    if missing:
        radius = rr.Radius.ui_points(5)
        recording.log("world/no_pose", rr.Points3D(missing, colors=_LOST_COLOR, radii=radius), static=True)


def unbroken(poses: Iterable[Rigid3d | None]) -> Iterator[Float64]:
    """Yield the positions (n, 3) [m] of each run of poses without a gap, n at least 2."""
    run: list[Float64] = []
    for pose in (*poses, None):
        if pose is not None:
            run.append(pose.translation)
        else:
            if len(run) > 1:
                yield np.array(run)
            run = []


def _error_colors(found: Sequence[tuple[Rigid3d, Rigid3d | None]]) -> UInt8:
    """Colors (N, 3) of estimates: the scale of ``trajectory.png`` for errors, one color without ground truth."""
    if not all(truth is not None for _, truth in found):
        return np.full((len(found), 3), _ESTIMATE_COLOR, np.uint8)
    errors = np.array([np.linalg.norm(e.translation - t.translation) for e, t in found if t is not None])
    low, high = np.log(ERROR_RANGE_M)
    return colormapped((np.log(errors.clip(*ERROR_RANGE_M)) - low) / (high - low), cv2.COLORMAP_PLASMA)
