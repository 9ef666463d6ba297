"""The first image of a track that begins from localizations some images ago."""

from dataclasses import replace

import numpy as np
import pytest
from pixloc_helpers import is_right, truth, with_image
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.record import Record
from vizloc_ros.evaluation.offline_tracking import submaps_of
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.pyramid import FeaturePyramid
from vizloc_ros.pixloc.submap import SubmapSelector
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.pixloc.tracking import Frame, TrackerOptions, TrackerState

NEWEST = 3


@pytest.fixture
def extracted(extractor: PyramidExtractor, monkeypatch: pytest.MonkeyPatch) -> list[UInt8]:
    """Images of which features are extracted from now on."""
    images: list[UInt8] = []
    extract = extractor.extract

    def noted(image: UInt8) -> FeaturePyramid:
        images.append(image)
        return extract(image)

    monkeypatch.setattr(extractor, "extract", noted)
    return images


def begin(tracker: Tracker, drive: list[tuple[Record, Frame]], localized: tuple[int, ...]) -> None:
    """Show the images before ``NEWEST``, then localize some of them."""
    for _, frame in drive[:NEWEST]:
        tracker.track(frame)
    for index in localized:
        record, frame = drive[index]
        tracker.offer_prior(truth(record), frame.stamp_ns, 0.02, 0.001, covariance=1e-6 * np.eye(6))


def test_from_two_localizations_no_image_is_caught_up_with(
    tracker: Tracker, drive: list[tuple[Record, Frame]], extracted: list[UInt8]
) -> None:
    begin(tracker, drive, (0, 1))
    record, frame = drive[NEWEST]
    assert is_right(tracker.track(frame), record)
    assert len(extracted) == 1


def test_from_one_localization_images_are_caught_up_with(
    tracker: Tracker, drive: list[tuple[Record, Frame]], extracted: list[UInt8]
) -> None:
    begin(tracker, drive, (0,))
    record, frame = drive[NEWEST]
    assert is_right(tracker.track(frame), record)
    assert len(extracted) == NEWEST


def test_after_a_failed_image_the_others_are_caught_up_with(
    tracker: Tracker, drive: list[tuple[Record, Frame]], extracted: list[UInt8]
) -> None:
    begin(tracker, drive, (0, 1))
    _, frame = drive[NEWEST]
    covered = with_image(frame, np.full_like(frame.images[0].image, 90))
    assert tracker.track(covered).map_from_cam is None
    assert len(extracted) == 1
    record, following = drive[NEWEST + 1]
    assert is_right(tracker.track(following), record)
    assert len(extracted) > 2


def test_two_localizations_that_the_motion_joins_confirm_a_track(
    careful: Tracker, drive: list[tuple[Record, Frame]]
) -> None:
    begin(careful, drive, (0, 1))
    record, frame = drive[NEWEST]
    tracked = careful.track(frame)
    assert tracked.state is TrackerState.TRACKING
    assert is_right(tracked, record)


@pytest.mark.parametrize("change", ["another place", "the same image", "no covariance"])
def test_what_is_no_localization_of_an_earlier_image_confirms_nothing(
    careful: Tracker, drive: list[tuple[Record, Frame]], change: str
) -> None:
    begin(careful, drive, ())
    record, frame = drive[0]
    moved = Rigid3d(Rotation3d(), np.array([2.0, 0.0, 0.0])) if change == "another place" else Rigid3d()
    stamp_ns = drive[1][1].stamp_ns if change == "the same image" else frame.stamp_ns
    covariance = None if change == "no covariance" else 1e-6 * np.eye(6)
    careful.offer_prior(truth(record) * moved, stamp_ns, 0.02, 0.001, covariance=covariance)
    careful.offer_prior(truth(drive[1][0]), drive[1][1].stamp_ns, 0.02, 0.001, covariance=1e-6 * np.eye(6))
    tracked = careful.track(drive[NEWEST][1])
    assert tracked.map_from_cam is None
    assert "1 of 2 localizations agree" in tracked.reason


def test_a_localization_confirms_no_track_but_its_own(
    tracked_map: VisualMap, extractor: PyramidExtractor, drive: list[tuple[Record, Frame]]
) -> None:
    """A newer one, of another place whose landmarks have not arrived, replaces it; the old track goes on meanwhile."""
    around = submaps_of(SubmapSelector(tracked_map))
    elsewhere = Rigid3d(Rotation3d(), np.array([0.0, 0.0, 300.0]))
    careful = Tracker(
        extractor, lambda pose, camera: around(pose, camera) if abs(pose.translation).max() < 100 else None
    )
    begin(careful, drive, (0, 1))
    _, frame = drive[NEWEST]
    careful.track(with_image(frame, np.full_like(frame.images[0].image, 90)))
    record, localized = drive[2]
    careful.offer_prior(truth(record) * elsewhere, localized.stamp_ns, 0.02, 0.001, covariance=1e-6 * np.eye(6))
    for _, following in drive[NEWEST + 1 : NEWEST + 3]:
        assert careful.track(following).map_from_cam is None


@pytest.mark.parametrize("confirmations", [1, 2])
def test_standing_with_odometry_a_wrong_start_gives_way_to_right_localizations(
    tracked_map: VisualMap, extractor: PyramidExtractor, drive: list[tuple[Record, Frame]], confirmations: int
) -> None:
    """The odometry stays sure where nothing moves; so failed images must count, else the start is retried for ever."""
    options = TrackerOptions(confirmations=confirmations)
    tracker = Tracker(extractor, submaps_of(SubmapSelector(tracked_map)), options)
    (record, frame), wrong = drive[0], Rigid3d(Rotation3d(), np.array([0.0, 0.0, -6.0]))
    noise, states = np.random.default_rng(0), []
    for number in range(30):
        pixels = frame.images[0].image + noise.normal(0, 2, frame.images[0].image.shape)
        stamp_ns = frame.stamp_ns + number * 100_000_000
        standing = replace(with_image(frame, pixels.clip(0, 255).astype(np.uint8), stamp_ns), odom_from_cam=Rigid3d())
        states.append(tracker.track(standing).state)
        pose = truth(record) * wrong if number < 4 else truth(record)
        tracker.offer_prior(pose, stamp_ns, 0.02, 0.001, covariance=1e-6 * np.eye(6))
    assert states[-1] is TrackerState.TRACKING, states
