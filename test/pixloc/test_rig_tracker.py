"""Tracker of two cameras, front and rear: together, and when one is covered, missing, frozen, rolled or elsewhere."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import Vizloc
from pixloc_helpers import LONG_SIDE, small_extractor, truth, with_references
from pycolmap import Rigid3d

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.corruptions import Degradation, degrade_records
from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import SyntheticStreet, open_synthetic
from vizloc_ros.datasets.synthetic.lens_covers import covered
from vizloc_ros.evaluation.offline_tracking import submaps_of
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.geometry.covariance import max_position_std, squared_error
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.geometry.quarter_turns import Roll
from vizloc_ros.geometry.se3 import so3_exp
from vizloc_ros.mapping.builder import build_map
from vizloc_ros.mapping.keyframe_rolls import KeyframeRolls
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.pixloc.submap import SubmapSelector
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.pixloc.tracking import CameraImage, Frame, Tracked, TrackerOptions

FRONT, REAR = CAMERAS = ("front", "rear")
SPEC = "length=10&width=400&height=250&cameras=front,rear"
Instant = tuple[Record, Record]


@pytest.fixture(scope="module")
def rig_street() -> SyntheticStreet:
    return open_synthetic(SPEC)


@pytest.fixture(scope="module")
def rig_map(rig_street: SyntheticStreet, tmp_path_factory: pytest.TempPathFactory) -> VisualMap:
    folder = tmp_path_factory.mktemp("rig")
    build_map(rig_street.records("map"), open_extractor("rootsift"), folder / "bare", dataset=rig_street.name)
    return VisualMap.open(with_references(folder / "bare", rig_street.records("map"), folder / "map"))


@pytest.fixture(scope="module")
def instants(rig_street: SyntheticStreet) -> list[Instant]:
    records = rig_street.records("query")
    return list(zip(records[2::2], records[3::2], strict=True))[:14]


@pytest.fixture
def tracker(rig_map: VisualMap) -> Tracker:
    """A tracker that trusts the first prior."""
    roll_of = KeyframeRolls(rig_map.keyframe_poses).roll_of
    return Tracker(small_extractor(), submaps_of(SubmapSelector(rig_map)), TrackerOptions(confirmations=1), roll_of)


def image_of(record: Record, first: Record, image: UInt8 | None = None) -> CameraImage:
    """Image of a camera of the rig whose frame is that of the first one."""
    mount, rig = record.mounting.base_from_cam, first.mounting.base_from_cam
    assert mount is not None
    assert rig is not None
    pixels = record.read_image() if image is None else image
    return CameraImage(pixels, record.camera, name=record.mounting.camera, cam_from_rig=mount.inverse() * rig)


def frame_of(instant: Instant, **images: UInt8 | None) -> Frame:
    """Frame of an instant, with other images for some cameras; None for no image."""
    front, _ = instant
    return Frame(
        tuple(
            image_of(record, front, images.get(record.mounting.camera))
            for record in instant
            if images.get(record.mounting.camera, ...) is not None
        ),
        front.timestamp_ns,
    )


def begin(tracker: Tracker, instants: list[Instant], count: int = 3) -> None:
    """Track the first instants by both cameras."""
    tracker.offer_prior(truth(instants[0][0]), instants[0][0].timestamp_ns)
    for instant in instants[:count]:
        tracked = tracker.track(frame_of(instant))
        assert error_of(tracked, instant) < 0.05
        assert tracked.cameras == CAMERAS


def error_of(tracked: Tracked, instant: Instant) -> float:
    """Distance of the rig's pose from the truth [m]."""
    assert tracked.map_from_cam is not None, (tracked.reason, tracked.left_out)
    distance, angle = pose_error(tracked.map_from_cam, truth(instant[0]))
    assert angle < 1.0
    return distance


def strange(seed: int, shape: tuple[int, ...]) -> UInt8:
    """Random image, which matches nothing in the map."""
    coarse = np.random.default_rng(seed).integers(0, 255, (14, 21), np.uint8)
    return np.kron(coarse, np.ones((20, 20), np.uint8))[: shape[0], : shape[1]]


def test_both_cameras_are_aligned_together(tracker: Tracker, instants: list[Instant]) -> None:
    begin(tracker, instants, count=10)


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_covered_camera_is_left_out(camera: str, tracker: Tracker, instants: list[Instant]) -> None:
    begin(tracker, instants)
    for number, instant in enumerate(instants[3:9]):
        seen = instant[CAMERAS.index(camera)].read_image()
        image = covered(seen, "most", 0, 0.0) if number % 2 else strange(number, seen.shape)
        tracked = tracker.track(frame_of(instant, **{camera: image}))
        assert error_of(tracked, instant) < 0.1
        assert tracked.cameras == tuple(name for name in CAMERAS if name != camera)
        assert "of the landmarks look as in the map" in tracked.left_out[camera]
    tracked = tracker.track(frame_of(instants[9]))
    assert error_of(tracked, instants[9]) < 0.05
    assert tracked.cameras == CAMERAS
    assert tracked.left_out == {}


@pytest.mark.parametrize("camera", CAMERAS)
def test_a_camera_without_an_image_does_not_stop_the_track(
    camera: str, tracker: Tracker, instants: list[Instant]
) -> None:
    begin(tracker, instants)
    for instant in instants[3:7]:
        tracked = tracker.track(frame_of(instant, **{camera: None}))
        assert error_of(tracked, instant) < 0.1
        assert tracked.cameras == tuple(name for name in CAMERAS if name != camera)


@pytest.mark.parametrize("ahead", [1, 2, 4, 8])
def test_a_camera_that_shows_another_place_does_not_give_a_wrong_pose(
    ahead: int, tracker: Tracker, instants: list[Instant]
) -> None:
    """Such as one whose driver is late. Half a meter ahead, nothing tells which of the two is right."""
    begin(tracker, instants, count=4)
    instant = instants[4]
    tracked = tracker.track(frame_of(instant, rear=instants[4 + ahead][1].read_image()))
    if tracked.map_from_cam is None:
        assert ahead <= 2
        assert "front and rear alone give poses" in tracked.reason
    else:
        assert error_of(tracked, instant) < 0.1
        assert tracked.cameras == (FRONT,)


def test_a_mount_that_is_not_exact_makes_the_pose_less_certain(tracker: Tracker, instants: list[Instant]) -> None:
    begin(tracker, instants)
    exact = tracker.track(frame_of(instants[3]))
    moved = Rigid3d(so3_exp(np.radians([0.0, 0.4, 0.0])), np.array([0.05, 0.0, 0.0]))
    frame = frame_of(instants[4])
    front, rear = frame.images
    assert rear.cam_from_rig is not None
    off = replace(rear, cam_from_rig=moved * rear.cam_from_rig)
    tracked = tracker.track(replace(frame, images=(front, off)))
    assert error_of(tracked, instants[4]) < 0.15
    assert tracked.cameras == CAMERAS
    assert tracked.covariance is not None
    assert exact.covariance is not None
    assert max_position_std(tracked.covariance) > 2 * max_position_std(exact.covariance)
    assert squared_error(tracked.map_from_cam, truth(instants[4][0]), tracked.covariance) < 20


def test_without_any_camera_that_looks_as_in_the_map_there_is_no_pose(
    tracker: Tracker, instants: list[Instant]
) -> None:
    begin(tracker, instants)
    tracked = tracker.track(frame_of(instants[3], front=strange(1, (250, 400)), rear=strange(2, (250, 400))))
    assert tracked.map_from_cam is None
    assert "of the landmarks look as in the map" in tracked.reason


def test_a_frozen_camera_is_left_out(tracker: Tracker, instants: list[Instant]) -> None:
    begin(tracker, instants, count=6)
    noise = np.random.default_rng(0).normal(0, 1, (250, 400))
    again = (instants[5][0].read_image() + noise).clip(0, 255).astype(np.uint8)
    tracked = tracker.track(frame_of(instants[6], front=again))
    assert error_of(tracked, instants[6]) < 0.1
    assert tracked.cameras == (REAR,)
    assert "no vehicle stops at once" in tracked.left_out[FRONT]


@pytest.mark.parametrize("turned", [(FRONT,), (REAR,), CAMERAS])
def test_cameras_may_be_upside_down(turned: tuple[str, ...], tracker: Tracker, instants: list[Instant]) -> None:
    roll = Roll.UPSIDE_DOWN
    cam_from_upright = roll.inverse.upright_from_cam

    def of_rolled(record: Record) -> Record:
        if record.mounting.camera not in turned:
            return record
        upright = replace(record.mounting, base_from_cam=record.mounting.base_from_cam * roll.upright_from_cam)
        image = roll.inverse.turn_image(record.read_image())
        pose = truth(record) * roll.upright_from_cam
        camera = roll.inverse.turn_camera(record.camera)
        return replace(record, mounting=upright, read_image=lambda: image, world_from_cam=pose, camera=camera)

    assert (roll.upright_from_cam * cam_from_upright).rotation.angle() == pytest.approx(0, abs=1e-6)
    begin(tracker, [(of_rolled(front), of_rolled(rear)) for front, rear in instants[:4]], count=4)


@pytest.mark.e2e
def test_the_command_tracks_a_rig(vizloc: Vizloc, rig_map: VisualMap, tmp_path: Path) -> None:
    config = tmp_path / "options.yaml"
    config.write_text(f"long_side: {LONG_SIDE}\n")
    arguments = ("track", rig_map.folder, f"synthetic:{SPEC}", "--config", config, "--rig")
    assert vizloc(*arguments, "--out", tmp_path / "out").code == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["num_images"] == 2 * report["num_instants"] == 40
    assert report["recall"]["0.25m_2deg"] > 0.85
    assert report["tracked_by"][FRONT] == report["tracked_by"][REAR]
    assert report["median_translation_m"] < 0.02
    refused = vizloc(*arguments, "--roll", "auto", "--out", tmp_path / "other")
    assert refused.code == 2
    assert "--rig with --roll" in refused.err


@pytest.mark.parametrize("blurred", ["", FRONT, REAR])
def test_patches_alone_are_those_of_all_cameras_or_of_none(
    tracker: Tracker, instants: list[Instant], blurred: str
) -> None:
    """A camera that is out of focus has no say in its patches, and must not be left to the other one's."""
    begin(tracker, instants, 6)
    images = {
        record.mounting.camera: degraded.read_image()
        for record, degraded in zip(instants[6], degrade_records(instants[6], Degradation("blur", 5)), strict=True)
        if record.mounting.camera == blurred
    }
    tracked = tracker.track(frame_of(instants[6], **images), patches_first=True)
    assert tracked.by_patches is not bool(blurred)
    assert ("features" in tracked.timings_ms) is bool(blurred)
