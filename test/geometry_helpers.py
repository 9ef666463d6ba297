"""Poses as matrices, and lenses by their published equations: what geometry is compared with."""

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64
from vizloc_ros.geometry.rectification import DistortedCamera


def matrix_of(pose: Rigid3d) -> Float64:
    """(4, 4) homogeneous matrix of a pose."""
    return np.vstack([pose.matrix(), [0, 0, 0, 1]])


def seen_by(camera: DistortedCamera, rays: Float64) -> Float64:
    """Raw pixels (N, 2) of rays (N, 3) at depth 1, written from the models' definitions and without OpenCV."""
    x, y = rays[:, 0], rays[:, 1]
    r2 = x * x + y * y
    if camera.model == "equidistant":  # Kannala and Brandt 2006
        r, theta = np.sqrt(r2), np.arctan(np.sqrt(r2))
        bent = theta * (1 + sum(k * theta ** (2 * n + 2) for n, k in enumerate(camera.distortion)))
        scale = np.divide(bent, r, out=np.ones_like(r), where=r > 0)
        x, y = x * scale, y * scale
    else:  # Brown 1966, with the denominator of Claus and Fitzgibbon 2005
        k1, k2, p1, p2, k3, k4, k5, k6 = (*camera.distortion, *(8 - len(camera.distortion)) * [0.0])
        radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
        x, y = (
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        )
    lens = camera.pinhole
    return np.stack([lens.fx * x + lens.cx, lens.fy * y + lens.cy], axis=1)
