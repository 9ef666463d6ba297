"""Quality of the retrieval: landmarks that a camera sees, and how many of them retrieved keyframes observe."""

import numpy as np
import pytest
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.evaluation.retrieval_recall import RetrievalQuality, VisibleLandmarks, retrieval_recall
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import pose_of
from vizloc_ros.mapping.visual_map import VisualMap

CAMERA = PinholeCamera(640, 480, 400.0, 400.0, 319.5, 239.5)


def expected(visual_map: VisualMap, map_from_cam: Rigid3d) -> list[int]:
    """The definition, landmark by landmark."""
    found, cam_from_map = set(), map_from_cam.inverse()
    for keyframe, pose in enumerate(visual_map.keyframe_poses):
        for landmark in visual_map.landmarks_of(keyframe).tolist():
            position = np.asarray(visual_map.landmark_positions[landmark], float)
            x, y, z = cam_from_map * position
            u, v = 400 * x / z + 319.5, 400 * y / z + 239.5
            if z <= 0 or not (-0.5 <= u < 639.5 and -0.5 <= v < 479.5):
                continue
            own, other = position - map_from_cam.translation, position - pose[:3]
            ratio = np.linalg.norm(own) / np.linalg.norm(other)
            angle = np.degrees(np.arctan2(np.linalg.norm(np.cross(own, other)), own @ other))
            if angle <= 30 and 0.5 <= ratio <= 2:
                found.add(landmark)
    return sorted(found)


@pytest.mark.parametrize("offset", [(0, 0, 0), (0.4, -0.2, 1.5), (0, 0, 40)])
def test_visible_landmarks_are_in_the_image_and_seen_from_a_similar_place(
    point_map: VisualMap, offset: tuple[float, float, float]
) -> None:
    keyframe = pose_of(point_map.keyframe_poses[5])
    pose = keyframe * Rigid3d(Rotation3d(), np.array(offset, float))
    visible = VisibleLandmarks(point_map).seen_from(pose, CAMERA)
    assert visible.tolist() == expected(point_map, pose)
    if offset == (0, 0, 0):
        assert len(visible) >= 50


def test_retrieved_keyframes_that_see_all_half_or_nothing(point_map: VisualMap) -> None:
    pose, quality = pose_of(point_map.keyframe_poses[5]), VisibleLandmarks(point_map)
    everything = quality.evaluate(np.arange(point_map.info.keyframes), pose, CAMERA)
    assert everything.landmarks == 1.0
    few = quality.evaluate(np.array([11, 5]), pose, CAMERA)
    assert few.rank == 1
    visible = quality.seen_from(pose, CAMERA)
    seen = np.isin(visible, np.concatenate([point_map.landmarks_of(k) for k in (11, 5)]))
    assert few.landmarks == pytest.approx(seen.mean())
    assert 0 < few.landmarks < 1
    away = Rigid3d(Rotation3d(), np.array([0, 0, 1e4]))
    assert quality.evaluate(np.array([0]), away, CAMERA) == RetrievalQuality(None, None)


def test_means_of_queries() -> None:
    qualities = [
        RetrievalQuality(0, 0.5),
        RetrievalQuality(9, 1.0),
        RetrievalQuality(10, None),
        RetrievalQuality(None, 0.0),
    ]
    assert retrieval_recall(qualities, 20) == {"r1_5m": 0.25, "r10_5m": 0.5, "landmarks": 0.5}
    assert retrieval_recall(qualities, 5) == {"r1_5m": 0.25, "landmarks": 0.5}
    assert retrieval_recall([RetrievalQuality(None, None)], 10) == {"r1_5m": 0.0, "r10_5m": 0.0}
    assert retrieval_recall([], 10) is None
