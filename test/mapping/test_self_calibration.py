"""Errors of a camera's calibration, found in the map: from points whose projections are known."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from point_street import CAMERA, PointStreet, View, matched, write_point_map
from pycolmap import Rigid3d, Rotation3d
from scipy.special import chdtrc

from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.evaluation.offline_localization import localize_records
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.features.types import corrected
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera, shift_jacobian
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.mapping import self_calibration
from vizloc_ros.mapping.build_report import BuildReport
from vizloc_ros.mapping.builder import BuildOptions, build_map
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.map_format import read_info
from vizloc_ros.mapping.map_writer import write_map
from vizloc_ros.mapping.self_calibration import SelfCalibrationOptions, calibration_warnings, estimate_corrections
from vizloc_ros.mapping.triangulation import Triangulation, TriangulationOptions, triangulate
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.parallel import silent

pytestmark = pytest.mark.e2e

NOTHING = IntrinsicsCorrection()
OFF = IntrinsicsCorrection(focal=0.004, cx=1.0, cy=-0.8, radial=0.004)  # 4 px in a corner
OTHER = replace(CAMERA, cx=CAMERA.cx + 2, cy=CAMERA.cy - 3)  # of the camera that sees the points: wrong


def miscalibrated(keyframe: Keyframe, correction: IntrinsicsCorrection = OFF) -> Keyframe:
    """Pixels of the camera if its calibration is off by so much."""
    pixels = keyframe.features.keypoints.astype(np.float64)
    seen = (pixels + correction.shift(pixels, keyframe.camera)).astype(np.float32)
    return replace(keyframe, features=replace(keyframe.features, keypoints=seen))


def misplaced(keyframes: list[Keyframe], seed: int, metres: float, degrees: float, length: float = 0) -> list[Keyframe]:
    """With errors in their poses: independent ones, or smooth ones over so many metres."""
    rng = np.random.default_rng(seed)
    apart = 2.0 * np.subtract.outer(np.arange(len(keyframes)), np.arange(len(keyframes)))
    mix = np.exp(-0.5 * (apart / length) ** 2) if length else np.eye(len(keyframes))
    shifts, turns = (mix / np.linalg.norm(mix, axis=1, keepdims=True)) @ rng.normal(size=(2, len(keyframes), 3))
    errors = [Rigid3d(Rotation3d(np.radians(degrees) * r), metres * t) for t, r in zip(shifts, turns, strict=True)]
    return [replace(k, map_from_cam=k.map_from_cam * e) for k, e in zip(keyframes, errors, strict=True)]


def triangulated(keyframes: list[Keyframe]) -> Triangulation:
    return triangulate(keyframes, matched(keyframes), TriangulationOptions(), silent)


def found_in(
    keyframes: list[Keyframe], options: SelfCalibrationOptions | None = None
) -> Mapping[PinholeCamera, IntrinsicsCorrection]:
    return estimate_corrections(keyframes, triangulated(keyframes), options or SelfCalibrationOptions())


def street_keyframes(seed: int, count: int = 12, noise_px: float = 0.5) -> list[Keyframe]:
    return [view.keyframe for view in PointStreet(seed).views(count, noise_px=noise_px)]


def all_corrected(keyframes: list[Keyframe], correction: IntrinsicsCorrection) -> list[Keyframe]:
    return [replace(k, features=corrected(k.features, correction, k.camera)) for k in keyframes]


def corners(camera: PinholeCamera) -> np.ndarray:
    return np.array([[0.0, 0], [camera.width - 1, 0], [0, camera.height - 1], [camera.width - 1, camera.height - 1]])


@pytest.fixture(scope="module")
def wrong() -> list[Keyframe]:
    """28 keyframes of a camera whose calibration is off."""
    return [miscalibrated(keyframe) for keyframe in street_keyframes(1, 28)]


@pytest.fixture(scope="module")
def found(wrong: list[Keyframe]) -> IntrinsicsCorrection:
    return found_in(wrong)[CAMERA]


def test_the_shift_is_what_opencv_projects_to_first_order() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform((-8, -5, 10), (8, 5, 30), (200, 3))
    calibrated, _ = CAMERA.project(points)

    def true_pixels(correction: IntrinsicsCorrection) -> np.ndarray:
        matrix = np.diag([1 + correction.focal, 1 + correction.focal, 1]) @ CAMERA.matrix
        matrix[:2, 2] = CAMERA.cx + correction.cx, CAMERA.cy + correction.cy
        distortion = np.array([correction.radial, 0, 0, 0])
        return cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix, distortion)[0][:, 0]

    shift = true_pixels(OFF) - calibrated
    np.testing.assert_allclose(OFF.shift(calibrated, CAMERA), shift, atol=0.02 * np.abs(shift).max())
    for i, step in enumerate(1e-6 * np.eye(4)):
        derivative = (true_pixels(IntrinsicsCorrection(*step)) - true_pixels(IntrinsicsCorrection(*-step))) / 2e-6
        np.testing.assert_allclose(shift_jacobian(calibrated, CAMERA)[:, :, i], derivative, rtol=1e-4, atol=1e-4)


def test_the_largest_shift_is_that_of_a_corner_or_border() -> None:
    assert OFF.max_shift(CAMERA) == np.linalg.norm(OFF.shift(corners(CAMERA), CAMERA), axis=1).max()
    assert IntrinsicsCorrection(cx=3.0, cy=4.0).max_shift(CAMERA) == pytest.approx(5.0)
    assert NOTHING.max_shift(CAMERA) == 0.0


def test_features_are_put_where_the_calibration_has_them(wrong: list[Keyframe]) -> None:
    right, seen = street_keyframes(1, 1)[0], wrong[0]
    back = corrected(seen.features, OFF, CAMERA)
    assert back.keypoints.dtype == np.float32
    assert np.abs(back.keypoints - right.features.keypoints).max() < 0.1, "what is left is of second order"
    assert back.descriptors is seen.features.descriptors
    assert corrected(seen.features, NOTHING, CAMERA) is seen.features


def left_over(found: IntrinsicsCorrection) -> float:
    """The largest error that is left in a corner once what was found is corrected [px]."""
    left = OFF.shift(corners(CAMERA), CAMERA) - found.shift(corners(CAMERA), CAMERA)
    return float(np.linalg.norm(left, axis=1).max())


def test_a_wrong_calibration_is_found(found: IntrinsicsCorrection) -> None:
    """Focal length and principal point go with each other, and are drawn to what a calibration is expected to be."""
    assert 0.3 * OFF.focal < found.focal < 1.1 * OFF.focal
    assert 0.3 * OFF.cx < found.cx < 1.1 * OFF.cx
    assert found.cy == pytest.approx(OFF.cy, abs=0.25)
    assert found.radial == pytest.approx(OFF.radial, abs=0.001)
    assert left_over(found) < 0.4 * OFF.max_shift(CAMERA)


def test_a_wrong_calibration_is_found_with_poses_as_good_as_is_said(wrong: list[Keyframe]) -> None:
    assert left_over(found_in(misplaced(wrong, 0, 0.01, 0.04))[CAMERA]) < 0.5 * OFF.max_shift(CAMERA)


def test_nothing_is_found_again(wrong: list[Keyframe], found: IntrinsicsCorrection) -> None:
    assert found_in(all_corrected(wrong, found)) == {}


@pytest.mark.parametrize(("seed", "noise_px"), [(0, 0.5), (1, 1.0)])
def test_a_right_calibration_is_left_alone(seed: int, noise_px: float) -> None:
    assert found_in(street_keyframes(seed, noise_px=noise_px)) == {}


@pytest.mark.parametrize(("times", "significant"), [(1.5, False), (2.0, True)])
def test_a_correction_is_applied_only_if_it_is_significant(
    times: float, significant: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight keyframes show these errors with a chi squared of 9 and 16; chance exceeds the threshold in 1 of 100."""
    off = IntrinsicsCorrection(*(times * np.array([OFF.focal, OFF.cx, OFF.cy, OFF.radial])))
    keyframes = [miscalibrated(keyframe, off) for keyframe in street_keyframes(1, 8)]
    triangulation = triangulated(keyframes)
    applied = estimate_corrections(keyframes, triangulation, SelfCalibrationOptions())
    assert set(applied) == ({CAMERA} if significant else set())
    assert chdtrc(4, self_calibration._SIGNIFICANT_CHI2) == pytest.approx(0.01, rel=0.02)
    monkeypatch.setattr(self_calibration, "_SIGNIFICANT_CHI2", 0.0)
    estimated = estimate_corrections(keyframes, triangulation, SelfCalibrationOptions())
    assert 0.3 * off.cy > estimated[CAMERA].cy > 1.1 * off.cy, "the estimate is there; only the threshold holds it back"


@pytest.mark.parametrize(
    ("metres", "degrees", "length"),
    [(0.02, 0.05, 0), (0.01, 0.04, 5.0), (0.01, 0.04, 20.0)],
    ids=["independent, beyond the options", "smooth over 5 m", "smooth over 20 m"],
)
def test_errors_of_the_poses_are_not_taken_for_errors_of_the_calibration(
    metres: float, degrees: float, length: float
) -> None:
    assert found_in(misplaced(street_keyframes(2), 2, metres, degrees, length)) == {}


def test_they_are_if_the_poses_are_said_to_be_exact() -> None:
    exact = SelfCalibrationOptions(position_std=1e-4, rotation_std=1e-4)
    keyframes = street_keyframes(0)
    assert found_in(keyframes, exact) == {}
    assert found_in(misplaced(keyframes, 0, 0.01, 0.04, 5.0), exact) != {}


def test_of_two_cameras_the_wrong_one_is_corrected() -> None:
    keyframes = street_keyframes(3, 20)
    keyframes[1::2] = [replace(keyframe, camera=OTHER) for keyframe in keyframes[1::2]]
    corrections = found_in(keyframes)
    assert set(corrections) == {OTHER}
    assert corrections[OTHER].cx < -0.5
    assert corrections[OTHER].cy == pytest.approx(3, abs=0.6)


def seen_from(triangulation: Triangulation, mask: np.ndarray) -> Triangulation:
    """Without the observations that are masked out."""
    kept = {name: getattr(triangulation, name)[mask] for name in ("keyframes", "keypoints", "landmarks")}
    return replace(triangulation, **kept)


@pytest.mark.parametrize("seeing", [[], [5], [0, 2, 4, 6]], ids=["none", "one", "those of one camera"])
def test_keyframes_that_see_nothing_are_no_evidence(wrong: list[Keyframe], seeing: list[int]) -> None:
    """The landmarks that a single keyframe sees are none either."""
    keyframes = wrong[:8]
    keyframes[1::2] = [replace(keyframe, camera=OTHER) for keyframe in keyframes[1::2]]
    triangulation = triangulated(wrong[:8])
    few = seen_from(triangulation, np.isin(triangulation.keyframes, seeing))
    assert OTHER not in estimate_corrections(keyframes, few, SelfCalibrationOptions())


def test_long_maps_are_judged_by_stretches_of_them(wrong: list[Keyframe], monkeypatch: pytest.MonkeyPatch) -> None:
    """Here of nine keyframes, the second left out, the last a single keyframe; the error is twice as large."""
    monkeypatch.setattr(self_calibration, "_STRETCH_LENGTH", 9)
    monkeypatch.setattr(self_calibration, "_MAX_STRETCHES", 3)
    found = found_in([miscalibrated(keyframe) for keyframe in wrong])[CAMERA]
    assert 1.2 * OFF.max_shift(CAMERA) < found.max_shift(CAMERA) < 2.2 * OFF.max_shift(CAMERA)


def test_only_large_errors_are_worth_a_warning() -> None:
    small, large = IntrinsicsCorrection(cx=3.9), IntrinsicsCorrection(focal=0.02, cx=-4.1)
    assert calibration_warnings({}) == calibration_warnings({CAMERA: small}) == []
    (warning,) = calibration_warnings({OTHER: small, CAMERA: large})
    assert warning.startswith("the calibration of the 640x400 camera (fx 350) is off by up to 11.1 px")
    assert "focal length +2.0%, principal point (-4.1, +0.0) px" in warning


def test_the_map_keeps_the_corrections(point_views: list[View], tmp_path: Path) -> None:
    content, _ = write_point_map(point_views, tmp_path / "map")
    assert read_info(tmp_path / "map").intrinsics_correction(CAMERA) == NOTHING
    write_map(replace(content, corrections={CAMERA: OFF}), {"warnings": []}, tmp_path / "map")
    info = read_info(tmp_path / "map")
    assert info.camera_corrections == [OFF]
    assert info.intrinsics_correction(CAMERA) == OFF
    assert info.intrinsics_correction(replace(CAMERA, fx=CAMERA.fx + 1e-3)) == OFF, "a rounded calibration is the same"
    assert info.intrinsics_correction(replace(CAMERA, fx=CAMERA.fx + 0.1)) == NOTHING
    assert info.intrinsics_correction(CAMERA.scaled(320, 200)) == NOTHING
    assert info.intrinsics_correction(replace(CAMERA, width=641)) == NOTHING
    older = info.model_copy(update={"camera_corrections": []})
    assert older.intrinsics_correction(CAMERA) == NOTHING


def build_and_localize(
    street: SyntheticStreet, camera: PinholeCamera, out: Path, *, self_calibration: bool
) -> tuple[BuildReport, float]:
    """The build of the first lap with a calibration, and the mean error of queries of the other lap [m]."""
    mapped, queries = (
        [replace(record, camera=camera) for record in street.records(split)[first:last:step]]
        for split, first, last, step in (("map", 0, None, 4), ("query", 5, 18, 4))
    )
    options = BuildOptions(self_calibration=SelfCalibrationOptions(enabled=self_calibration))
    report = build_map(mapped, open_extractor("rootsift"), out, dataset=street.name, options=options)
    visual_map = VisualMap.open(out)
    run = localize_records(queries, visual_map, HierarchicalLocalizer(visual_map))
    assert len(run.estimates) == len(queries)
    return report, float(np.mean([pose_error(run.estimates[q.name], q.world_from_cam)[0] for q in queries]))


def test_a_wrong_calibration_costs_little_accuracy(street: SyntheticStreet, tmp_path: Path) -> None:
    wrong_camera = replace(street.camera, cx=street.camera.cx - 2, cy=street.camera.cy - 3)
    report, error = build_and_localize(street, wrong_camera, tmp_path / "corrected", self_calibration=True)
    as_it_is, larger_error = build_and_localize(street, wrong_camera, tmp_path / "wrong", self_calibration=False)
    correction = read_info(tmp_path / "corrected").intrinsics_correction(wrong_camera)
    assert report.calibration_shift_px == correction.max_shift(wrong_camera)
    assert correction.cy == pytest.approx(3.0, abs=0.6)
    assert as_it_is.calibration_shift_px == 0.0
    assert read_info(tmp_path / "wrong").intrinsics_correction(wrong_camera) == NOTHING
    assert error < 0.5 * larger_error
