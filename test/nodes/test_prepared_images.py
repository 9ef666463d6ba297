"""Images that are prepared for the tracker in another thread: no more of them than one ahead, and none is forgotten."""

from __future__ import annotations

import threading
import time
from typing import cast

import numpy as np
import pytest
from pycolmap import Rigid3d
from std_msgs.msg import Header

from vizloc_ros.errors import ImageError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.nodes import prepared_images
from vizloc_ros.nodes.prepared_images import ImagePreparation, PreparedImages
from vizloc_ros.nodes.tracker_input import MountedImage, TrackerInput
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.ros.rig_join import Instant
from vizloc_ros.timing import Stopwatch

CAMERA = PinholeCamera(64, 48, 50.0, 50.0, 31.5, 23.5)


class Numbers:
    """Source whose messages are gray values; that of 13 cannot be decoded, that of 14 is a bug."""

    def images(self, instant: Instant, stopwatch: Stopwatch) -> tuple[list[MountedImage], dict[str, str]]:
        with stopwatch("tracker_decode"):
            number = instant.items[""]
            if number == 13:
                raise ImageError("13 is no image")
            if number == 14:
                raise ZeroDivisionError
            image = np.full((48, 64), number, np.uint8)
            return [MountedImage("", Header(), image, CAMERA, Rigid3d())], {}


def prepare(preparation: ImagePreparation, number: int) -> PreparedImages:
    return preparation.prepare(Instant({"": number}, ()), cast(TrackerInput, Numbers()), None)


def test_an_image_comes_with_its_durations_and_without_features_that_nobody_needs() -> None:
    prepared = prepare(ImagePreparation(), 7)
    assert not isinstance(prepared.images, ImageError)
    (image,) = prepared.images
    assert (image.image == 7).all()
    assert (prepared.instant.items, image.camera, prepared.features) == ({"": 7}, CAMERA, {})
    assert list(prepared.timings_ms) == ["tracker_decode"]


class Extracting:
    """Tracker that tracks, and whose features are the images' gray values."""

    is_tracking = True

    @property
    def aligner(self) -> Extracting:
        return self

    views = aligner

    def extract(self, camera: str, image: np.ndarray) -> tuple[str, int]:
        return camera, int(image[0, 0])


@pytest.mark.parametrize(("stride", "extracted"), [(1, [1, 2, 3, 4, 5, 6, 7]), (2, [1, 3, 5, 7]), (3, [1, 4, 7])])
def test_of_fast_images_some_have_features(stride: int, extracted: list[int]) -> None:
    preparation, found = ImagePreparation(), []
    for number in range(1, 8):
        instant, source = Instant({"": number}, ()), cast(TrackerInput, Numbers())
        prepared = preparation.prepare(instant, source, cast(Tracker, Extracting()), stride=stride)
        assert prepared.patches_first is not bool(prepared.features)
        found += [features[1] for features in prepared.features.values()]
        prepared.release()
    assert found == extracted


@pytest.mark.parametrize("stride", [1, 3])
def test_images_of_a_tracker_that_is_lost_get_no_features_and_are_for_patches_if_it_tracks_by_then(stride: int) -> None:
    preparation, tracker = ImagePreparation(), Extracting()
    tracker.is_tracking = False
    for number in range(3):
        instant, source = Instant({"": number}, ()), cast(TrackerInput, Numbers())
        prepared = preparation.prepare(instant, source, cast(Tracker, tracker), stride=stride)
        assert not prepared.features
        assert prepared.patches_first is (stride > 1)
        prepared.release()
    tracker.is_tracking = True
    assert preparation.prepare(instant, source, cast(Tracker, tracker), stride=stride).features


def test_what_cannot_be_used_is_passed_on_with_the_reason() -> None:
    assert str(prepare(ImagePreparation(), 13).images) == "13 is no image"


def test_a_third_image_waits_until_one_is_done() -> None:
    preparation, done = ImagePreparation(), []
    first, _second = prepare(preparation, 1), prepare(preparation, 13)
    thread = threading.Thread(target=lambda: done.append(prepare(preparation, 3)))
    thread.start()
    time.sleep(0.1)
    assert not done
    first.release()
    thread.join(5)
    assert [prepared.instant.items for prepared in done] == [{"": 3}]


def test_a_bug_leaves_no_place_taken() -> None:
    preparation = ImagePreparation()
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            prepare(preparation, 14)
    started = time.monotonic()
    prepare(preparation, 1), prepare(preparation, 2)
    assert time.monotonic() - started < 0.5


def test_it_does_not_wait_for_ever_for_images_that_were_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared_images, "_PATIENCE", 0.05)
    preparation = ImagePreparation()
    taken = [prepare(preparation, number) for number in range(4)]
    assert [prepared.at_once is not None for prepared in taken] == [True, True, False, False]
    for prepared in taken:
        prepared.release()
    preparation.reset()
    assert prepare(preparation, 5).at_once is not None
