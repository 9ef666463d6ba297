"""Tracking without ROS checks the camera as the nodes do: frozen images and a wrong calibration give no pose."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from pixloc_helpers import small_extractor

from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import CameraError
from vizloc_ros.evaluation.offline_tracking import TrackingRun, track_records
from vizloc_ros.evaluation.recall import WRONG, PoseError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.camera_info import require_possible
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.localization import calibration_check
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.pixloc.frame_views import RememberedFrame
from vizloc_ros.pixloc.image_aligner import ImageAligner
from vizloc_ros.pixloc.tracking import Tracked

TAKEN = 3  # images before the fault


@pytest.fixture(scope="module")
def drive(street: SyntheticStreet, tracked_map: VisualMap) -> Sequence[Record]:
    return tracked_map.info.place.records_in_map(street.records("query")[2:8])


def track(records: Sequence[Record], visual_map: VisualMap, *, check_camera: bool = True) -> TrackingRun:
    return track_records(
        records, visual_map, HierarchicalLocalizer(visual_map), small_extractor(), check_camera=check_camera
    )


def zoomed(record: Record, scale: float) -> Record:
    camera = record.camera
    return replace(record, camera=replace(camera, fx=scale * camera.fx, fy=scale * camera.fy))


def test_frozen_images_give_no_pose(drive: Sequence[Record], tracked_map: VisualMap) -> None:
    frozen = [*drive[:TAKEN], *(replace(r, read_image=drive[TAKEN - 1].read_image) for r in drive[TAKEN:])]
    run = track(frozen, tracked_map)
    assert drive[TAKEN - 1].name in run.estimates
    assert all(run.reasons[record.name].startswith("camera frozen") for record in frozen[TAKEN:])
    unchecked = track(frozen[: TAKEN + 1], tracked_map, check_camera=False)
    assert frozen[TAKEN].name in unchecked.estimates


def test_a_calibration_that_does_not_fit_gives_no_pose(drive: Sequence[Record], tracked_map: VisualMap) -> None:
    run = track([zoomed(record, 1.1) for record in drive[:TAKEN]], tracked_map)
    assert run.estimates == {}
    assert all("the calibration does not fit the map" in reason for reason in run.reasons.values())


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A calibration that no image confirms, so that it is believed at the third pose."""
    monkeypatch.setattr(calibration_check, "_confirms", lambda fit: False)


@pytest.mark.usefixtures("waits")
def test_poses_that_wait_for_calibration_and_track_are_given_afterwards(
    drive: Sequence[Record], tracked_map: VisualMap
) -> None:
    run = track(drive, tracked_map)
    names = [record.name for record in drive]
    assert len(names) > len(run.late) >= TAKEN, "two or more for the calibration, one for the second localization"
    assert run.late == names[: len(run.late)]
    assert list(run.tracked) == list(run.estimates) == names
    assert run.reasons == {}
    assert {run.states[name] for name in run.late} == {"NOT_LOCALIZED"}
    for record in drive[: len(run.late)]:
        assert record.world_from_cam is not None
        assert PoseError(*pose_error(run.estimates[record.name], record.world_from_cam)).within(WRONG)
        assert run.tracked[record.name].covariance is not None


@pytest.mark.usefixtures("waits")
def test_poses_that_waited_for_a_calibration_that_does_not_fit_are_never_given(
    drive: Sequence[Record], tracked_map: VisualMap
) -> None:
    zooming = [drive[0], *(zoomed(record, 1.1) for record in drive[1:3]), *drive[3:]]
    run = track(zooming, tracked_map)
    assert not {record.name for record in zooming[:3]} & run.estimates.keys()
    frozen = [*drive[:2], replace(drive[2], read_image=drive[1].read_image), *drive[3:]]
    assert not {record.name for record in frozen[:3]} & track(frozen, tracked_map).estimates.keys()


def test_an_image_that_fails_between_tracked_ones_gets_the_pose_of_the_localizer(
    drive: Sequence[Record], tracked_map: VisualMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    align = ImageAligner.align

    def failing(self: ImageAligner, remembered: RememberedFrame, *args: Any, **options: Any) -> Tracked:
        tracked = align(self, remembered, *args, **options)
        is_third = remembered.frame.stamp_ns == drive[TAKEN].timestamp_ns
        return replace(tracked, map_from_cam=None, covariance=None, reason="fails") if is_third else tracked

    monkeypatch.setattr(ImageAligner, "align", failing)
    run = track(drive, tracked_map)
    assert drive[TAKEN].name in run.late
    assert run.states[drive[TAKEN].name] == "TRACKING"
    assert list(run.estimates) == [record.name for record in drive]


def test_a_calibration_that_changes_ends_the_track_at_once(drive: Sequence[Record], tracked_map: VisualMap) -> None:
    changed = [*drive[:TAKEN], *(zoomed(record, 1.1) for record in drive[TAKEN:])]
    run = track(changed, tracked_map)
    assert drive[TAKEN - 1].name in run.estimates
    assert all("calibration" in run.reasons[record.name] for record in changed[TAKEN:])


@pytest.mark.parametrize(
    ("fx", "fy", "cx"), [(1.0, 1.0, 320.0), (1e300, 1e300, 320.0), (400, 40, 320), (400, 400, -2000)]
)
def test_a_camera_that_cannot_be_is_refused(fx: float, fy: float, cx: float) -> None:
    require_possible(PinholeCamera(640, 400, 400, 400, 320, 200))
    with pytest.raises(CameraError, match="k has"):
        require_possible(PinholeCamera(640, 400, fx, fy, cx, 200))
