"""Images that are prepared for the tracker in another thread: no more of them than one ahead, and none is forgotten."""

from __future__ import annotations

import threading
import time
from typing import Any, cast

import numpy as np
import pytest

from vizloc_ros.arrays import UInt8
from vizloc_ros.errors import ImageError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.nodes import prepared_image
from vizloc_ros.nodes.prepared_image import ImagePreparation, PreparedImage
from vizloc_ros.ros.image_input import ImageInput
from vizloc_ros.timing import Stopwatch

CAMERA = PinholeCamera(64, 48, 50.0, 50.0, 31.5, 23.5)


class Numbers:
    """Source whose messages are gray values; that of 13 cannot be decoded, that of 14 is a bug."""

    def decode_and_rectify(self, msg: int, stopwatch: Stopwatch, prefix: str) -> tuple[UInt8, PinholeCamera]:
        with stopwatch(f"{prefix}_decode"):
            if msg == 13:
                raise ImageError("13 is no image")
            if msg == 14:
                raise ZeroDivisionError
            return np.full((48, 64), msg, np.uint8), CAMERA


def prepare(preparation: ImagePreparation, msg: Any) -> PreparedImage:
    return preparation.prepare(msg, cast(ImageInput, Numbers()), None)


def test_an_image_comes_with_its_durations_and_without_features_that_nobody_needs() -> None:
    prepared = prepare(ImagePreparation(), 7)
    assert not isinstance(prepared.image, ImageError)
    assert (prepared.image[0] == 7).all()
    assert (prepared.msg, prepared.image[1], prepared.features) == (7, CAMERA, None)
    assert list(prepared.timings_ms) == ["tracker_decode"]


def test_what_cannot_be_used_is_passed_on_with_the_reason() -> None:
    assert str(prepare(ImagePreparation(), 13).image) == "13 is no image"


def test_a_third_image_waits_until_one_is_done() -> None:
    preparation, done = ImagePreparation(), []
    first, _second = prepare(preparation, 1), prepare(preparation, 13)
    thread = threading.Thread(target=lambda: done.append(prepare(preparation, 3)))
    thread.start()
    time.sleep(0.1)
    assert not done
    first.release()
    thread.join(5)
    assert [prepared.msg for prepared in done] == [3]


def test_a_bug_leaves_no_place_taken() -> None:
    preparation = ImagePreparation()
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            prepare(preparation, 14)
    started = time.monotonic()
    prepare(preparation, 1), prepare(preparation, 2)
    assert time.monotonic() - started < 0.5


def test_it_does_not_wait_for_ever_for_images_that_were_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepared_image, "_PATIENCE", 0.05)
    preparation = ImagePreparation()
    taken = [prepare(preparation, number) for number in range(4)]
    assert [prepared.at_once is not None for prepared in taken] == [True, True, False, False]
    for prepared in taken:
        prepared.release()
    preparation.reset()
    assert prepare(preparation, 5).at_once is not None
