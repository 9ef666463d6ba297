"""Plain pipeline for comparison: the localization of hloc, written as directly as possible.

The query is matched with every retrieved keyframe separately, all keypoints against all, by mutual nearest neighbors.
The landmarks of the matched keypoints of all keyframes go into one PnP. Features, map and PnP solver are the same as
ours; the keyframes are the ten most similar ones, without non-maximum suppression. All data that hloc reads from its
feature files is in memory, so that only the formulation differs. hloc itself is slower: it reads every pair from HDF5
through PyTorch.
"""

from collections.abc import Iterable, Mapping

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float32, Int32, Int64
from vizloc_ros.datasets.record import Record
from vizloc_ros.features.types import Features, corrected, dequantize
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.localization.absolute_pose import estimate_absolute_pose
from vizloc_ros.localization.retrieval import GlobalIndex
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.parallel import parallel_map
from vizloc_ros.timing import Stopwatch

_TOP_K = 10
_MAX_REPROJECTION_ERROR = 12.0  # px, hloc's
_MAX_TRIALS = 10_000
_NO_LANDMARK = -1


class PlainHloc:
    """Localizer with all keypoints of the keyframes and their landmarks in memory."""

    def __init__(self, visual_map: VisualMap, records: Mapping[str, Record], features: Iterable[Features]) -> None:
        """Extract the features of the needed keyframes.

        Args:
            visual_map: the map.
            records: images of the map by name.
            features: features of all queries.
        """
        self._map = visual_map
        self._index = GlobalIndex(visual_map.global_descriptors)
        needed = sorted({int(k) for query in features for k in self._retrieve(query)})
        images = [records[visual_map.keyframe_names[k]] for k in needed]
        extracted = parallel_map(self._extract, images, "")
        self._descriptors: dict[int, Float32] = {}
        self._landmarks: dict[int, Int32] = {}
        for k, keyframe in zip(needed, extracted, strict=True):
            self._descriptors[k] = dequantize(keyframe.descriptors)
            self._landmarks[k] = self._landmark_of_keypoint(k, keyframe)

    def localize(self, query: Features, camera: PinholeCamera, stopwatch: Stopwatch) -> Rigid3d | None:
        """Pose map_from_cam of a query, or None."""
        with stopwatch("retrieve"):
            keyframes = self._retrieve(query)
        with stopwatch("match"):
            descriptors = dequantize(query.descriptors)
            observed = []
            for k in map(int, keyframes):
                keypoints, others = mutual_nearest(descriptors, self._descriptors[k])
                landmarks = self._landmarks[k][others]
                known = landmarks != _NO_LANDMARK
                observed.append(np.column_stack([keypoints[known], landmarks[known]]))
            matches = np.unique(np.concatenate(observed), axis=0)
        query = corrected(query, self._map.info.intrinsics_correction(camera), camera)
        with stopwatch("pose"):
            estimate = estimate_absolute_pose(
                query.keypoints[matches[:, 0]].astype(np.float64),
                self._map.landmark_positions[matches[:, 1]].astype(np.float64),
                camera,
                max_error=_MAX_REPROJECTION_ERROR,
                max_trials=_MAX_TRIALS,
                seed=0,
            )
        return None if estimate is None else estimate.cam_from_map.inverse()

    def _extract(self, record: Record) -> Features:
        features = self._map.extractor.extract(record.read_image())
        return corrected(features, self._map.info.intrinsics_correction(record.camera), record.camera)

    def _retrieve(self, query: Features) -> Int64:
        return self._index.search(query.global_descriptor, _TOP_K)[0]

    def _landmark_of_keypoint(self, keyframe: int, features: Features) -> Int32:
        """(N,) landmark of every keypoint; the map has only the keypoints that observe one."""
        rows = self._map.observations_of(keyframe)
        pixels, descriptors = self._map.observation_pixels[rows], self._map.observation_descriptors[rows]
        observed = {
            (pixel.tobytes(), descriptor.tobytes()): landmark
            for pixel, descriptor, landmark in zip(
                pixels, descriptors, self._map.landmarks_of(keyframe).tolist(), strict=True
            )
        }
        keypoints = zip(features.keypoints, features.descriptors, strict=True)
        return np.array([observed.get((p.tobytes(), d.tobytes()), _NO_LANDMARK) for p, d in keypoints], np.int32)


def mutual_nearest(a: Float32, b: Float32) -> tuple[Int64, Int64]:
    """Index pairs of unit vectors (N, D) and (M, D) that are mutual nearest neighbors."""
    similarity = a @ b.T
    nearest = similarity.argmax(axis=1)
    rows = np.flatnonzero(similarity.max(axis=1) >= similarity.max(axis=0)[nearest])
    return rows, nearest[rows]
