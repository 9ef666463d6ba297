"""Algorithm of hloc, written as directly as possible: the query with each retrieved keyframe, one PnP over all.

All that hloc reads from its files is in memory, and one NumPy product compares two images, so that the algorithm is not
charged for its implementation. The pose is pycolmap's with its default options, as hloc's, or OpenCV's.
"""

from collections.abc import Callable

import cv2
import numpy as np
import pycolmap
from pycolmap import Rigid3d, Rotation3d

from peers.setting import NO_LANDMARK, TOP_K, Query, Setting
from vizloc_ros.arrays import Float32, Float64, Int64
from vizloc_ros.features.types import dequantize
from vizloc_ros.geometry.camera import PIXEL_CENTRE, PinholeCamera
from vizloc_ros.geometry.colmap_camera import colmap_camera
from vizloc_ros.geometry.poses import pose_of
from vizloc_ros.localization.places import covisible_clusters
from vizloc_ros.localization.retrieval import GlobalIndex
from vizloc_ros.timing import Stopwatch

MAX_ERROR = 12.0  # px, hloc's

Estimator = Callable[[Float64, Float64, PinholeCamera], tuple[Rigid3d, int] | None]
"""Function from (N, 2) pixels, (N, 3) positions [m] and the camera to cam_from_map and the number of inliers."""


def by_pycolmap(pixels: Float64, positions: Float64, camera: PinholeCamera) -> tuple[Rigid3d, int] | None:
    """Pose by pycolmap's LO-RANSAC and refinement, with its default options."""
    options = pycolmap.AbsolutePoseEstimationOptions()
    options.ransac.max_error = MAX_ERROR
    answer = pycolmap.estimate_and_refine_absolute_pose(
        pixels + PIXEL_CENTRE, positions, colmap_camera(camera), options, pycolmap.AbsolutePoseRefinementOptions()
    )
    return None if answer is None else (answer["cam_from_world"], int(answer["num_inliers"]))


def by_opencv(pixels: Float64, positions: Float64, camera: PinholeCamera) -> tuple[Rigid3d, int] | None:
    """Pose by ``cv2.solvePnPRansac`` with its default options, except for the maximum error."""
    if len(pixels) < 4:  # OpenCV raises an error
        return None
    found, rotation, translation, inliers = cv2.solvePnPRansac(
        positions, pixels, camera.matrix, None, reprojectionError=MAX_ERROR
    )
    if not found or inliers is None:
        return None
    return Rigid3d(Rotation3d(cv2.Rodrigues(rotation)[0]), translation.ravel()), len(inliers)


class Pairwise:
    """hloc's algorithm with all keypoints of the keyframes in memory."""

    def __init__(self, setting: Setting, estimate: Estimator = by_pycolmap, clusters: bool = False) -> None:
        """Load the keyframes.

        Args:
            setting: files of the comparison.
            estimate: estimator of the pose.
            clusters: True for one PnP in each covisible cluster; the pose with the most inliers is taken.
        """
        self._map, self._estimate, self._clusters = setting.visual_map, estimate, clusters
        self._index = GlobalIndex(self._map.global_descriptors)
        self._keyframes = [(dequantize(k.features.descriptors), k.landmarks) for k in setting.keyframes]
        self._positions = self._map.landmark_positions.astype(np.float64)

    def localize(self, query: Query, clock: Stopwatch) -> Rigid3d | None:
        """Pose map_from_cam of a query; that of the most similar keyframe if PnP finds none, as in hloc.

        With clusters, hloc has no such substitute: the pose is None.
        """
        with clock("retrieve"):
            keyframes = self.retrieve(query)
        if not len(keyframes):
            return None
        clusters = [keyframes]
        if self._clusters:
            with clock("cluster"):
                clusters = covisible_clusters(self._map, keyframes)
        pixels, best, most = query.corrected_for(self._map).keypoints.astype(np.float64), None, 0
        for cluster in clusters:
            with clock("match"):
                matches = self.match(query, cluster)
            with clock("pose"):
                found = self._estimate(pixels[matches[:, 0]], self._positions[matches[:, 1]], query.camera)
            if found is not None and found[1] > most:
                best, most = found
        if best is not None:
            return best.inverse()
        return None if self._clusters else pose_of(self._map.keyframe_poses[keyframes[0]])

    def retrieve(self, query: Query) -> Int64:
        """Retrieve the most similar keyframes, best first; none of a negative cosine."""
        keyframes, cosines = self._index.search(query.features.global_descriptor, TOP_K)
        return keyframes[cosines >= 0]

    def match(self, query: Query, keyframes: Int64) -> Int64:
        """Distinct pairs (m, 2) of a keypoint and a landmark, in the order in which the keyframes give them."""
        descriptors = dequantize(query.features.descriptors)
        pairs = [np.zeros((0, 2), np.int64)]
        for k in keyframes.tolist():
            of_keyframe, landmarks = self._keyframes[k]
            keypoints, others = mutual_nearest(descriptors, of_keyframe)
            known = landmarks[others] != NO_LANDMARK
            pairs.append(np.column_stack([keypoints[known], landmarks[others[known]]]))
        matches = np.concatenate(pairs)
        _, first = np.unique(matches, axis=0, return_index=True)
        return matches[np.sort(first)]


def mutual_nearest(a: Float32, b: Float32) -> tuple[Int64, Int64]:
    """Index pairs of unit vectors (N, D) and (M, D) that are mutual nearest neighbors."""
    if not len(a) or not len(b):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    similarity = a @ b.T
    nearest = similarity.argmax(axis=1)
    rows = np.flatnonzero(similarity[np.arange(len(a)), nearest] >= similarity.max(axis=0)[nearest])
    _, first = np.unique(nearest[rows], return_index=True)  # the first of equal ones, as a search by column finds
    rows = rows[np.sort(first)]
    return rows, nearest[rows]
