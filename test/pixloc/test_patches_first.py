"""Images whose patches alone are aligned: every other one of a fast camera, if its pose is sure."""

import numpy as np
import pytest
from pixloc_helpers import is_right, truth, with_image

from vizloc_ros.datasets.corruptions import Degradation, degrade_records
from vizloc_ros.datasets.record import Record
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.pixloc.tracking import Frame, Tracked

pytestmark = pytest.mark.e2e
Drive = list[tuple[Record, Frame]]


def begin(tracker: Tracker, drive: Drive, count: int = 6) -> None:
    """Track the first images with features, until the speed is known."""
    tracker.offer_prior(truth(drive[0][0]), drive[0][1].stamp_ns, 0.02, 0.002)
    assert all(is_right(tracker.track(frame), record) for record, frame in drive[:count])


def had_features(tracked: Tracked) -> bool:
    return "features" in tracked.timings_ms


def test_patches_alone_follow_a_steady_drive_as_well_as_features(tracker: Tracker, drive: Drive) -> None:
    begin(tracker, drive)
    found = [(tracker.track(frame, patches_first=True), record) for record, frame in drive[6:]]
    assert all(is_right(tracked, record) for tracked, record in found)
    alone = [(tracked, record) for tracked, record in found if tracked.by_patches]
    assert len(alone) > len(found) / 2
    assert not any(had_features(tracked) for tracked, _ in alone)
    errors = [pose_error(tracked.map_from_cam, truth(record)) for tracked, record in alone if tracked.map_from_cam]
    assert np.median([distance for distance, _ in errors]) < 0.02
    for tracked, _ in alone:
        assert tracked.covariance is not None
        assert 0 < np.trace(tracked.covariance[:3, :3]) < 0.05**2


def test_without_being_asked_it_takes_features(tracker: Tracker, drive: Drive) -> None:
    begin(tracker, drive)
    tracked = tracker.track(drive[6][1])
    assert had_features(tracked)
    assert not tracked.by_patches


def test_the_first_images_of_a_track_have_features(tracker: Tracker, drive: Drive) -> None:
    tracker.offer_prior(truth(drive[0][0]), drive[0][1].stamp_ns, 0.02, 0.002)
    first = tracker.track(drive[0][1], patches_first=True)
    assert is_right(first, drive[0][0])
    assert had_features(first)


@pytest.mark.parametrize("kind", ["blur", "night", "occlusion"])
def test_patches_that_do_not_look_as_in_the_map_give_way_to_features(tracker: Tracker, drive: Drive, kind: str) -> None:
    begin(tracker, drive)
    (bad,) = degrade_records([drive[6][0]], Degradation(kind, 5))
    tracked = tracker.track(with_image(drive[6][1], bad.read_image()), patches_first=True)
    assert had_features(tracked)
    assert not tracked.by_patches


def test_after_a_failed_image_the_next_one_has_features(tracker: Tracker, drive: Drive) -> None:
    begin(tracker, drive)
    gray = np.full_like(drive[6][1].images[0].image, 128)
    failed = tracker.track(with_image(drive[6][1], gray), patches_first=True)
    assert failed.map_from_cam is None
    assert had_features(failed)
    assert had_features(tracker.track(drive[7][1], patches_first=True))


def test_without_the_fine_level_there_are_features(tracker: Tracker, drive: Drive) -> None:
    begin(tracker, drive)
    alignment = tracker.options.alignment
    fine = alignment.fine.model_copy(update={"enabled": False})
    tracker.use(tracker.options.model_copy(update={"alignment": alignment.model_copy(update={"fine": fine})}))
    assert had_features(tracker.track(drive[6][1], patches_first=True))


def test_a_wrong_prediction_gives_no_wrong_pose(tracker: Tracker, drive: Drive) -> None:
    """The image of another place, where the prediction is narrow: patches do not fit, and features say so."""
    begin(tracker, drive)
    elsewhere = with_image(drive[6][1], drive[14][1].images[0].image)
    tracked = tracker.track(elsewhere, patches_first=True)
    assert not tracked.by_patches
    assert tracked.map_from_cam is None or pose_error(tracked.map_from_cam, truth(drive[14][0]))[0] < 0.5
