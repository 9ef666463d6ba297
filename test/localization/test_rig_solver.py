"""Localization of a rig: one verified pose of all cameras that see, whatever the others see."""

from dataclasses import replace

import numpy as np
import pytest
from pycolmap import Rigid3d, Rotation3d
from rig_scene import BASE, ELSEWHERE, FRONT, MOUNTS, REAR, RigScene, moved

from vizloc_ros.geometry.covariance import max_position_std, move_to_base, squared_error
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.localization.absolute_pose import reprojection_errors
from vizloc_ros.localization.localization_options import PoseOptions
from vizloc_ros.localization.pose_evidence import PoseEvidence, shipped_model
from vizloc_ros.localization.pose_solver import PoseSolver
from vizloc_ros.localization.rig_solver import RigSolver
from vizloc_ros.localization.rig_verification import rig_probability
from vizloc_ros.localization.rig_view import RigLocalization, RigPose, RigView


@pytest.fixture(scope="module")
def scene() -> RigScene:
    return RigScene()


@pytest.fixture(scope="module")
def views(scene: RigScene) -> list[RigView]:
    return [scene.view(FRONT), scene.view(REAR)]


def right_pose(outcome: RigLocalization) -> RigPose:
    assert outcome.pose is not None, outcome.reason
    distance, angle = pose_error(outcome.pose.map_from_rig, BASE)
    assert distance < 0.02
    assert angle < 0.1
    return outcome.pose


def test_all_cameras_give_one_pose(views: list[RigView]) -> None:
    outcome = RigSolver().solve(views)
    pose = right_pose(outcome)
    assert list(pose.cameras) == [FRONT, REAR]
    assert outcome.inliers >= 100
    assert {"match", "pose", "rivals"} <= outcome.timings_ms.keys()
    assert squared_error(pose.map_from_rig, BASE, pose.covariance) < 25
    for view in views:
        camera = pose.cameras[view.name]
        assert pose_error(camera.map_from_cam, pose.map_from_rig * MOUNTS[view.name]) == pytest.approx((0, 0), abs=1e-9)
        pixels = view.features.keypoints[camera.keypoints].astype(np.float64)
        errors = reprojection_errors(camera.map_from_cam.inverse(), pixels, camera.positions, view.camera)
        assert errors.max() <= PoseOptions().max_reprojection_error
        assert np.sqrt((errors**2).mean()) == pytest.approx(camera.reprojection_rms)
        assert not set(camera.rejected) & set(camera.keypoints)
        back = move_to_base(camera.covariance, camera.map_from_cam, MOUNTS[view.name].inverse())
        np.testing.assert_allclose(back, pose.covariance, atol=1e-12)


def test_it_is_more_certain_than_each_camera_alone(views: list[RigView]) -> None:
    exact = PoseOptions(map_position_std=0, map_rotation_std=0)
    stds = [max_position_std(right_pose(RigSolver(exact).solve(v)).covariance) for v in (views, views[:1], views[1:])]
    assert stds[0] < min(stds[1:])


def test_a_rig_of_one_camera_is_localized_as_before(views: list[RigView]) -> None:
    for view in views:
        alone = PoseSolver().solve(view.features, view.places, view.camera)
        rig = RigSolver().solve([view])
        assert alone.pose is not None
        pose = right_pose(rig)
        assert (rig.matches, rig.inliers) == (alone.matches, alone.inliers)
        assert np.array_equal(pose.cameras[view.name].map_from_cam.matrix(), alone.pose.map_from_cam.matrix())
        assert np.array_equal(
            pose.covariance, move_to_base(alone.pose.covariance, alone.pose.map_from_cam, MOUNTS[view.name].inverse())
        )


@pytest.mark.parametrize("covered", [FRONT, REAR])
@pytest.mark.parametrize("visible", [0, 12])
def test_a_covered_camera_does_not_stop_the_others(
    scene: RigScene, views: list[RigView], covered: str, visible: int
) -> None:
    seen = [scene.covered(view, visible) if view.name == covered else view for view in views]
    pose = right_pose(RigSolver().solve(seen))
    assert list(pose.cameras) == [view.name for view in views if view.name != covered]


@pytest.mark.parametrize("missing", ["places", "features"])
def test_a_camera_without_places_or_keypoints_is_left_out(views: list[RigView], missing: str) -> None:
    nothing = views[0].features.keypoints[:0]
    empty = replace(
        views[0].features, keypoints=nothing, scores=nothing[:, 0], descriptors=views[0].features.descriptors[:0]
    )
    first = replace(views[0], places=[]) if missing == "places" else replace(views[0], features=empty)
    assert list(right_pose(RigSolver().solve([first, views[1]])).cameras) == [REAR]
    outcome = RigSolver().solve([first, replace(views[1], places=[])])
    assert outcome.pose is None
    assert outcome.reason


def test_a_camera_whose_best_place_is_wrong_takes_its_next(scene: RigScene, views: list[RigView]) -> None:
    other = RigScene(seed=5).view(FRONT).places[0]
    first = replace(views[0], places=[other, *views[0].places])
    pose = right_pose(RigSolver().solve([first, views[1]]))
    assert pose.cameras[FRONT].place == 1
    assert pose.cameras[REAR].place == 0


def test_places_that_are_all_wrong_give_no_pose(views: list[RigView]) -> None:
    other = RigScene(seed=5)
    seen = [replace(view, places=other.view(view.name).places) for view in views]
    outcome = RigSolver().solve(seen)
    assert outcome.pose is None
    assert outcome.reason


def test_cameras_at_two_places_contradict_each_other(views: list[RigView]) -> None:
    """A pose of one of them alone would be verified: which one is right, nobody knows."""
    seen = [views[0], moved(views[1], ELSEWHERE)]
    assert RigSolver().solve(seen[1:]).pose is not None
    outcome = RigSolver().solve(seen)
    assert outcome.pose is None
    assert "give poses that are" in outcome.reason
    assert {FRONT, REAR} <= set(outcome.reason.replace(",", "").split())


def test_a_wrong_mount_is_named(scene: RigScene) -> None:
    turned = MOUNTS[REAR] * Rigid3d(Rotation3d(np.array([0, 0.5, 0])), np.zeros(3))
    outcome = RigSolver().solve([scene.view(FRONT), scene.view(REAR, mount=turned)])
    assert outcome.pose is None
    assert "the pose of a camera on the vehicle is wrong" in outcome.reason


@pytest.mark.parametrize("degrees", [0.5, 1.0, 2.0, 5.0, 8.0])
def test_a_mount_that_is_not_exact_makes_the_pose_uncertain(degrees: float) -> None:
    """Sharp images, of which a mean of two cameras at odds would be given as exact."""
    scene = RigScene(seed=11)
    mount = MOUNTS[REAR] * Rigid3d(Rotation3d(np.array([0, np.radians(degrees), 0])), np.zeros(3))
    seen = [scene.view(FRONT, noise_px=0.1), scene.view(REAR, noise_px=0.1, mount=mount)]
    outcome = RigSolver(PoseOptions(max_position_std=0.5)).solve(seen)
    if outcome.pose is None:
        assert degrees > 2
        assert "front and rear disagree by" in outcome.reason
        return
    assert degrees < 5
    assert squared_error(outcome.pose.map_from_rig, BASE, outcome.pose.covariance) < 25
    distance, angle = outcome.pose.disagreement
    assert distance > 0.1 * degrees
    assert angle == pytest.approx(0.5 * degrees, rel=0.3)


def test_exact_mounts_do_not_disagree(views: list[RigView]) -> None:
    assert right_pose(RigSolver().solve(views)).disagreement == (0, 0)


def test_places_that_look_alike_for_all_cameras_make_the_pose_ambiguous(views: list[RigView]) -> None:
    twice = [replace(view, places=[*view.places, *moved(view, ELSEWHERE).places]) for view in views]
    assert RigSolver().solve(twice).reason == "ambiguous: 2 places look alike"
    assert right_pose(RigSolver(PoseOptions(max_rival_ratio=1)).solve(twice))


def test_a_place_that_looks_alike_for_one_camera_does_too(views: list[RigView]) -> None:
    twice = [replace(views[0], places=[*views[0].places, *moved(views[0], ELSEWHERE).places]), views[1]]
    assert RigSolver().solve(twice).reason == "ambiguous: 2 places look alike"


def test_places_of_other_ranks_are_one_rival(views: list[RigView]) -> None:
    """The rival is the second place of one camera and the third of the other."""
    elsewhere, unlike = [moved(view, ELSEWHERE).places[0] for view in views], RigScene(seed=5).view(FRONT).places[0]
    seen = [
        replace(views[0], places=[*views[0].places, elsewhere[0], unlike]),
        replace(views[1], places=[*views[1].places, unlike, elsewhere[1]]),
    ]
    options = PoseOptions(max_rival_ratio=0.7)  # each camera alone has about half
    assert RigSolver(options).solve(seen).reason == "ambiguous: 2 places look alike"


def test_limits_hold_for_the_rig(views: list[RigView]) -> None:
    for options, words in (
        (PoseOptions(max_position_std=1e-4), "the position is uncertain by"),
        (PoseOptions(min_probability=1 - 1e-15), "right with a probability of"),
        (PoseOptions(min_inliers=2000), "matches of front and rear"),
    ):
        outcome = RigSolver(options).solve(views)
        assert outcome.pose is None
        assert words in outcome.reason


def test_images_that_are_too_poor_alone_are_enough_together(scene: RigScene) -> None:
    """Of 15 inliers that a pose needs, each image has fewer."""
    poor = [scene.view(name, keypoints=11, clutter=3, noise_px=0.2) for name in (FRONT, REAR)]
    options = PoseOptions(min_probability=0)
    assert all(RigSolver(options).solve([view]).pose is None for view in poor)
    assert right_pose(RigSolver(options).solve(poor))


def test_a_camera_with_less_evidence_does_not_make_a_pose_less_probable() -> None:
    good = PoseEvidence(200, 150, 0.2, 30, 3.0, 0.4, 200, 150, 200.0)
    poor = PoseEvidence(300, 50, 0.5, 10, 2.0, 0.1, 300, 60, 50.0)
    assert rig_probability([good, poor]) >= shipped_model().probability(good)
    assert rig_probability([poor]) == shipped_model().probability(poor)


def test_a_few_inliers_of_another_camera_do_not_make_a_road_a_street() -> None:
    road = PoseEvidence(120, 45, 0.3, 10, 1.8, 0.01, 150, 50, 20.0)
    few = PoseEvidence(20, 6, 0.3, 4, 1.5, 0.6, 20, 6, 5.0)
    limit = PoseOptions().min_probability
    assert rig_probability([road]) < limit
    assert rig_probability([road, few]) < limit


@pytest.mark.parametrize("seed", range(5))
def test_the_covariance_is_honest(seed: int) -> None:
    scene = RigScene(seed=100 + seed)
    pose = right_pose(RigSolver().solve([scene.view(FRONT), scene.view(REAR)]))
    assert squared_error(pose.map_from_rig, BASE, pose.covariance) < 25
