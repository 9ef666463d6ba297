"""The first image of a track that begins from localizations some images ago."""

import numpy as np
import pytest
from pixloc_helpers import is_right, truth, with_image

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.record import Record
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.pyramid import FeaturePyramid
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.pixloc.tracking import Frame

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
        tracker.offer_prior(truth(record), frame.stamp_ns, 0.02, 0.001)


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
