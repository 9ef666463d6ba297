"""The first image of a track that begins from localizations some images ago."""

import numpy as np
import pytest
from pixloc_helpers import is_right, truth, with_image
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.record import Record
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.pyramid import FeaturePyramid
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.pixloc.tracking import Frame, TrackerState

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
