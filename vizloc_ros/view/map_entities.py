"""Map in a recording: landmarks colored by height, and the frusta of the keyframes."""

import cv2
import numpy as np
import rerun as rr
from scipy.spatial.transform import Rotation

from vizloc_ros.arrays import Float64, UInt8, evenly
from vizloc_ros.mapping.level import up_axis
from vizloc_ros.mapping.visual_map import VisualMap

_MAX_LANDMARKS = 300_000
_MAX_FRUSTA = 400
_KEYFRAME_COLOR = (147, 180, 245)
_LANDMARK_SIZE = 1.5  # px of the screen
# Corners of the image plane and the centre, in one line that draws all edges of a frustum: 0 is the centre.
_FRUSTUM = np.array([0, 1, 2, 3, 4, 1, 4, 0, 3, 2, 0])


def log_map(recording: rr.RecordingStream, visual_map: VisualMap) -> None:
    """Log landmarks and keyframes, thinned where they are many, and the direction that is up."""
    poses = visual_map.keyframe_poses
    up = up_axis(poses)
    name = f"RIGHT_HAND_{'XYZ'[abs(up) - 1]}_{'UP' if up > 0 else 'DOWN'}"
    recording.log("world", getattr(rr.ViewCoordinates, name), static=True)
    count = len(visual_map.landmark_positions)
    chosen = evenly(count, min(count, _MAX_LANDMARKS))
    landmarks = np.asarray(visual_map.landmark_positions[chosen], np.float64)
    heights = np.sign(up) * landmarks[:, abs(up) - 1]
    recording.log(
        "world/map/landmarks",
        rr.Points3D(landmarks, colors=height_colors(heights), radii=rr.Radius.ui_points(_LANDMARK_SIZE)),
        static=True,
    )
    recording.log(
        "world/map/keyframes/frusta", rr.LineStrips3D(_frusta(visual_map), colors=_KEYFRAME_COLOR), static=True
    )
    recording.log(
        "world/map/keyframes/centers",
        rr.Points3D(poses[:, :3], colors=_KEYFRAME_COLOR, radii=rr.Radius.ui_points(2)),
        static=True,
    )


def height_colors(heights: Float64) -> UInt8:
    """Colors (N, 3) RGB of heights (N,): violet for the lowest, yellow for the highest ones."""
    low, high = np.percentile(heights, (2, 98))
    levels = np.clip((heights - low) / max(high - low, 1e-9), 0, 1)
    return colormapped(levels, cv2.COLORMAP_VIRIDIS)


def colormapped(levels: Float64, colormap: int) -> UInt8:
    """Colors (N, 3) RGB of levels (N,) in [0, 1], by a colormap of OpenCV."""
    indices = np.round(255 * levels).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(indices.reshape(-1, 1), colormap)[:, 0, ::-1], np.uint8)


def _frusta(visual_map: VisualMap) -> Float64:
    """Lines (F, 11, 3) [m] of the frusta of some keyframes, of a size that fits their distances."""
    shown = evenly(visual_map.info.keyframes, min(visual_map.info.keyframes, _MAX_FRUSTA))
    poses = np.asarray(visual_map.keyframe_poses[shown])
    depth = frustum_depth(poses[:, :3])
    rotations = Rotation.from_quat(poses[:, 3:]).as_matrix()
    corners = []
    for index in visual_map.keyframe_cameras[shown]:
        camera = visual_map.info.cameras[index]
        outline = np.array([[0, 0], [camera.width, 0], [camera.width, camera.height], [0, camera.height]]) - 0.5
        corners.append(np.concatenate([np.zeros((1, 3)), depth * camera.rays(outline)]))
    in_map = np.einsum("kij,kpj->kpi", rotations, np.array(corners)) + poses[:, None, :3]
    return np.asarray(in_map[:, _FRUSTUM])


def frustum_depth(centers: Float64) -> float:
    """Depth [m] of frusta that fits the distances between the cameras that follow each other at (N, 3) centers."""
    steps = np.linalg.norm(np.diff(centers, axis=0), axis=1)
    return float(np.clip(np.median(steps), 0.02, 1.0)) if len(steps) else 0.3
