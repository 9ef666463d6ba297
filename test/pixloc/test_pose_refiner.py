"""Refinement of the localizer's poses: both count by their covariances, and its inliers must not contradict."""

from dataclasses import replace

import numpy as np
import pytest
from pixloc_helpers import truth
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.datasets.record import Record
from vizloc_ros.geometry.covariance import map_covariance
from vizloc_ros.geometry.poses import pose_error, transform_points
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.pose_refiner import PoseRefiner, Support
from vizloc_ros.pixloc.tracking import CameraImage, Frame

pytestmark = pytest.mark.e2e

OFF = Rigid3d(Rotation3d(), np.array([0.1, 0.0, 0.2]))
UNCERTAIN, PRECISE = map_covariance(0.5, 2.0), map_covariance(0.015, 0.06)
Shot = tuple[Record, CameraImage]


@pytest.fixture(scope="module")
def refiner(tracked_map: VisualMap, extractor: PyramidExtractor) -> PoseRefiner:
    return PoseRefiner(tracked_map, extractor)


@pytest.fixture
def shot(drive: list[tuple[Record, Frame]]) -> Shot:
    record, frame = drive[4]
    return record, frame.images[0]


def supported(pose: Rigid3d, taken: CameraImage, covariance: np.ndarray, variance: float = 2.0) -> Support:
    """Support by landmarks 5 to 30 m ahead whose keypoints are where the pose sees them, with noise of 1 px."""
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.uniform(-4, 4, 200), rng.uniform(-2, 2, 200), rng.uniform(5, 30, 200)])
    pixels = taken.camera.project(points)[0] + rng.normal(size=(200, 2))
    return Support(covariance, pixels, transform_points(pose, points), variance)


def test_the_more_certain_pose_decides(refiner: PoseRefiner, shot: Shot) -> None:
    """An uncertain pose ends where its alignment alone ends, a precise one near itself; both know it."""
    record, taken = shot
    start = truth(record) * OFF
    alone = refiner.refine(taken.image, taken.camera, start)
    apart, _ = pose_error(alone.map_from_cam, start)
    assert apart > 0.15
    loose = supported(start, taken, UNCERTAIN, variance=1e6)
    free = refiner.refine(taken.image, taken.camera, start, loose)
    held = refiner.refine(taken.image, taken.camera, start, replace(loose, covariance=PRECISE))
    assert (free.reason, held.reason) == ("", "")
    assert pose_error(free.map_from_cam, alone.map_from_cam)[0] < 0.02 * apart
    assert pose_error(held.map_from_cam, start)[0] < pose_error(alone.map_from_cam, start)[0]
    assert alone.covariance is not None
    assert held.covariance is not None
    assert np.linalg.eigvalsh(alone.covariance - held.covariance)[0] > 0


def test_inliers_that_contradict_keep_the_pose(refiner: PoseRefiner, shot: Shot) -> None:
    record, taken = shot
    start = truth(record) * OFF
    refined = refiner.refine(taken.image, taken.camera, start, supported(start, taken, UNCERTAIN))
    assert refined.reason == "the localizer's inliers contradict the alignment"
    assert refined.map_from_cam is start
    assert refined.covariance is None
    agreeing = refiner.refine(taken.image, taken.camera, start, supported(truth(record), taken, UNCERTAIN))
    assert agreeing.reason == ""


def test_a_pose_better_known_than_the_map_stays(refiner: PoseRefiner, shot: Shot) -> None:
    record, taken = shot
    refined = refiner.refine(
        taken.image, taken.camera, truth(record), supported(truth(record), taken, map_covariance(0.009, 0.03))
    )
    assert refined.reason == "the pose is better known than the map"
    assert refined.map_from_cam is record.world_from_cam


def test_the_contradiction_is_the_growth_of_the_squared_errors(shot: Shot) -> None:
    """A landmark on the axis, 10 m ahead, is seen beside its keypoint from a pose 0.1 m to the side."""
    record, taken = shot
    camera = taken.camera
    support = Support(UNCERTAIN, np.array([[camera.cx, camera.cy]]), truth(record) * np.array([[0.0, 0, 10]]), 2.0)
    aside = truth(record) * Rigid3d(Rotation3d(), np.array([0.1, 0, 0]))
    assert support.contradiction(truth(record), aside, camera) == pytest.approx((camera.fx * 0.1 / 10) ** 2 / 2)
    assert support.contradiction(aside, truth(record), camera) < 0
