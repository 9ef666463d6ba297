"""Every usual mistake in poses and intrinsics is named; right ones give no warning."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from point_street import PointStreet, matched
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import MapError
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.features.rootsift import RootSift
from vizloc_ros.mapping.builder import build_map
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.pair_matching import PairMatches
from vizloc_ros.mapping.pose_diagnosis import median_speed, pose_agreement, pose_warnings, scale_warnings

pytestmark = pytest.mark.e2e

Change = Callable[[Keyframe], Keyframe]

# Columns: the wrong frame's axes in the camera's optical frame.
BODY = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])  # x forward, y left, z up
OPENGL = np.diag([1.0, -1.0, -1.0])


def with_pose(change: Callable[[Rigid3d], Rigid3d]) -> Change:
    return lambda keyframe: replace(keyframe, map_from_cam=change(keyframe.map_from_cam))


def with_axes(axes: np.ndarray) -> Change:
    return with_pose(lambda pose: pose * Rigid3d(Rotation3d(axes), np.zeros(3)))


def with_intrinsics(**factors: float) -> Change:
    def change(keyframe: Keyframe) -> Keyframe:
        scaled = {name: factor * getattr(keyframe.camera, name) for name, factor in factors.items()}
        return replace(keyframe, camera=replace(keyframe.camera, **scaled))

    return change


def qw_first(pose: Rigid3d) -> Rigid3d:
    x, y, z, w = pose.rotation.quat
    return Rigid3d(Rotation3d(np.array([w, x, y, z])), pose.translation)


def displayed(orientation: int, of_camera: bool) -> Change:
    """Pose, and perhaps intrinsics, of the image that a viewer makes of the stored one by its EXIF orientation.

    As pixels: clockwise by 90 degrees (6), the pixel (u, v) of a stored image of height h goes to (h - 1 - v, u).
    """
    stored_from_upright = {
        3: np.diag([-1.0, -1.0, 1.0]),
        6: np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
        8: np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]),
    }[orientation]

    def change(keyframe: Keyframe) -> Keyframe:
        c = keyframe.camera
        center = {
            3: (c.width - 1 - c.cx, c.height - 1 - c.cy),
            6: (c.height - 1 - c.cy, c.cx),
            8: (c.cy, c.width - 1 - c.cx),
        }[orientation]
        focal = (c.fx, c.fy) if orientation == 3 else (c.fy, c.fx)
        camera = replace(c, fx=focal[0], fy=focal[1], cx=center[0], cy=center[1]) if of_camera else c
        return replace(with_axes(stored_from_upright)(keyframe), camera=camera)

    return change


MISTAKES = {
    **{
        f"EXIF {orientation}, {what} of the upright image": (
            displayed(orientation, of_camera),
            rf"^turned images: {what} are those .* EXIF orientation {orientation} \(viewers turn it by {turn}\)",
        )
        for orientation, turn in {
            3: "180 degrees",
            6: "90 degrees clockwise",
            8: "90 degrees counterclockwise",
        }.items()
        for of_camera, what in ((False, "the poses"), (True, "poses and intrinsics"))
    },
    "inverted": (with_pose(Rigid3d.inverse), r"the poses are cam_from_world"),
    "body axes": (with_axes(BODY), r"of a body frame \(x forward, y left, z up\)"),
    "OpenGL axes": (with_axes(OPENGL), r"OpenGL's"),
    "wxyz": (with_pose(qw_first), r"wrong quaternion order: they are qw,qx,qy,qz"),
    "rotations inverted": (
        with_pose(lambda pose: Rigid3d(pose.rotation.inverse(), pose.translation)),
        r"the rotations are cam_from_world",
    ),
    "focal length x 1.25": (
        with_intrinsics(fx=1.25, fy=1.25),
        r"wrong intrinsics: the focal length should be about 0\.[789] times",
    ),
    "half the image size": (
        with_intrinsics(fx=0.5, fy=0.5, cx=0.5, cy=0.5),
        r"wrong intrinsics: .* another image size; scale all of them by 2 ",
    ),
}


Scene = tuple[list[Keyframe], list[PairMatches]]


@pytest.fixture(scope="module")
def points() -> Scene:
    keyframes = [view.keyframe for view in PointStreet(seed=5).views(10, noise_px=0.5, clutter=250)]
    return keyframes, matched(keyframes)


@pytest.fixture(scope="module")
def images(street: SyntheticStreet) -> Scene:
    extract = RootSift(max_keypoints=700).extract
    records = street.records("map")[::2]
    keyframes = [Keyframe(r.name, r.timestamp_ns, r.camera, r.world_from_cam, extract(r.read_image())) for r in records]
    return keyframes, matched(keyframes)


@pytest.fixture(params=["points", "images"])
def scene(request: pytest.FixtureRequest) -> Scene:
    return request.getfixturevalue(request.param)


def test_right_poses_give_no_warning(scene: Scene) -> None:
    assert pose_agreement(scene[1]) > 0.7
    assert pose_warnings(*scene) == []


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_named(points: Scene, mistake: str) -> None:
    """On a bend, where all of them show."""
    change, expected = MISTAKES[mistake]
    (warning,) = pose_warnings([change(k) for k in points[0]], points[1])
    assert re.search(expected, warning)
    fitting = re.search(r"with that (\d+)%", warning)
    assert fitting
    assert int(fitting[1]) > 100 * pose_agreement(points[1]) - 5, "undone, the mistake leaves the right poses"


@pytest.mark.parametrize(
    "mistake", ["inverted", "body axes", "OpenGL axes", "rotations inverted", "half the image size"]
)
def test_a_mistake_is_named_on_a_straight_street(images: Scene, mistake: str) -> None:
    """Straight ahead, flipped axes leave the epipolar lines as they are: only the sign of the depths tells."""
    change, expected = MISTAKES[mistake]
    (warning,) = pose_warnings([change(k) for k in images[0]], images[1])
    assert re.search(expected, warning)


def test_poses_of_something_else_are_suspected_without_a_cause(points: Scene) -> None:
    rng = np.random.default_rng(0)

    def shaken(pose: Rigid3d) -> Rigid3d:
        return Rigid3d(Rotation3d(rng.uniform(-2, 2, 3)) * pose.rotation, pose.translation + rng.normal(size=3) * 5)

    (warning,) = pose_warnings([with_pose(shaken)(k) for k in points[0]], points[1])
    assert "poses and images do not belong together" in warning


def scaled(factor: float, keyframes: Sequence[Keyframe]) -> list[Keyframe]:
    return [with_pose(lambda pose: Rigid3d(pose.rotation, factor * np.asarray(pose.translation)))(k) for k in keyframes]


def test_speed_and_depth_tell_the_scale(points: Scene) -> None:
    keyframes = points[0]
    assert median_speed(keyframes) == pytest.approx(5.0, rel=0.02)
    assert scale_warnings(keyframes, np.array([5.0, 12.0, 30.0])) == []
    millimetres = scale_warnings(scaled(1000, keyframes), np.array([5e3, 12e3, 30e3]))
    assert ["wrong scale" in warning for warning in millimetres] == [True, True]
    assert "metres" in millimetres[0]
    assert "5e+03 m/s" in millimetres[0]
    kilometres = scale_warnings(scaled(0.001, keyframes), np.array([5e-3]))
    assert ["wrong scale" in warning for warning in kilometres] == [True, True]


def test_speed_of_a_vehicle_with_two_cameras(points: Scene) -> None:
    """The rear camera is 2.4 m behind the front one; a step from it to the next image of the front one is no motion."""
    behind = Rigid3d(Rotation3d(np.array([0.0, np.pi, 0.0])), np.array([0.0, 0.0, -2.4]))
    both = [each for k in points[0] for each in (k, replace(k, map_from_cam=k.map_from_cam * behind))]
    assert median_speed(both) == pytest.approx(median_speed(points[0]), rel=0.1)


def test_without_time_there_is_no_speed(points: Scene) -> None:
    still = [replace(k, timestamp_ns=0) for k in points[0]]
    assert np.isnan(median_speed(still))
    assert scale_warnings(still, np.zeros(0)) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (partial(scaled, 1000), r"wrong scale \(are positions in metres\?\)"),
        (lambda keyframes: [with_axes(BODY)(k) for k in keyframes], "of a body frame"),
    ],
    ids=["millimetres", "body axes"],
)
def test_a_build_says_what_is_wrong(
    street: SyntheticStreet, tmp_path: Path, change: Callable[[list[Keyframe]], list[Keyframe]], expected: str
) -> None:
    """Either the map is refused with the cause, or the report warns of it."""
    records = street.records("map")[4:16:3]
    dummies = [Keyframe(r.name, r.timestamp_ns, r.camera, r.world_from_cam, None) for r in records]  # type: ignore[arg-type]
    wrong = [replace(r, world_from_cam=k.map_from_cam) for r, k in zip(records, change(dummies), strict=True)]
    extractor = open_extractor("rootsift", {"max_keypoints": 600})
    try:
        text = " ".join(build_map(wrong, extractor, tmp_path / "map", dataset="wrong").warnings)
    except MapError as error:
        text = str(error)
        assert not (tmp_path / "map").exists()
    assert re.search(expected, text)
