"""Poses that text files give as matrices."""

from collections.abc import Sequence

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64
from vizloc_ros.datasets.parsing import parse_number
from vizloc_ros.errors import DatasetError
from vizloc_ros.geometry.poses import pose_from_matrix

ORTHONORMAL_TOLERANCE = 1e-3


def parse_matrix(fields: Sequence[str], where: str, rows: int = 3) -> Float64:
    """Parse the numbers of a matrix with ``rows`` rows and four columns. Raises ``DatasetError``."""
    if len(fields) != 4 * rows:
        raise DatasetError(f"{where}: {len(fields)} values; expected the {4 * rows} of a {rows}x4 matrix")
    return np.array([parse_number(field, "a value", where) for field in fields]).reshape(rows, 4)


def nearest_pose(matrix: Float64, where: str) -> Rigid3d:
    """Nearest pose to a (3, 4) or (4, 4) matrix, whose digits are rounded. Raises ``DatasetError`` if it is none."""
    u, singular_values, vt = np.linalg.svd(matrix[:3, :3])
    if np.abs(singular_values - 1.0).max() > ORTHONORMAL_TOLERANCE or np.linalg.det(u @ vt) < 0:
        raise DatasetError(f"{where}: columns 1-3 of the {len(matrix)}x4 matrix are not a rotation")
    if len(matrix) == 4 and not np.array_equal(matrix[3], [0, 0, 0, 1]):
        raise DatasetError(f"{where}: the last row of the 4x4 matrix must be 0 0 0 1")
    return pose_from_matrix(np.column_stack([u @ vt, matrix[:3, 3]]))
