"""Tracking without ROS checks the camera as the nodes do: frozen images and a wrong calibration give no pose."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from pixloc_helpers import small_extractor

from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import CameraError
from vizloc_ros.evaluation.offline_tracking import TrackingRun, track_records
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.camera_info import require_possible
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.mapping.visual_map import VisualMap

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
