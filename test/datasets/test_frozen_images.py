"""A frozen camera is told from one at rest, by the noise of its sensor, also after JPEG."""

import cv2
import numpy as np
import pytest

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.frozen_images import FrozenImages
from vizloc_ros.errors import FrozenCameraError

SECOND = 1_000_000_000


def scene() -> UInt8:
    rng = np.random.default_rng(0)
    return cv2.resize(rng.integers(20, 235, (30, 40), np.uint8), (320, 240), interpolation=cv2.INTER_CUBIC)


def test_the_same_image_again_is_refused_with_its_time() -> None:
    frozen, image = FrozenImages(), scene()
    frozen.check(image, SECOND)
    for count in (1, 2, 25):
        with pytest.raises(FrozenCameraError, match=f"camera frozen: .* for {count / 10:.1f} s"):
            frozen.check(image.copy(), SECOND + count * SECOND // 10)
    frozen.check(255 - image, 5 * SECOND)
    frozen.check(image, 6 * SECOND)
    frozen.check(image, SECOND)  # a recording that starts over
    frozen.check(image[:100], 2 * SECOND)


def test_images_that_are_left_out_count_too() -> None:
    frozen, image = FrozenImages(), scene()
    frozen.receive(image.tobytes(), 1 * SECOND)
    frozen.check(image, 1 * SECOND)
    for second in range(2, 9):  # frozen since 3
        frozen.receive((255 - image).tobytes() if second > 2 else image[::-1].tobytes(), second * SECOND)
    with pytest.raises(FrozenCameraError, match=r"for 4\.0 s"):
        frozen.check(255 - image, 7 * SECOND)
    frozen.receive(b"", 9 * SECOND)
    frozen.receive(image[::-1].tobytes(), 10 * SECOND)
    frozen.check(image[::-1], 10 * SECOND)


def test_a_stamp_drawn_into_a_frozen_image_does_not_hide_it() -> None:
    frozen, image = FrozenImages(), scene()
    frozen.check(image, 0)
    with pytest.raises(FrozenCameraError):
        frozen.check(cv2.putText(image.copy(), "1", (4, 12), cv2.FONT_HERSHEY_PLAIN, 0.5, 0), 1)


@pytest.mark.parametrize("quality", [0, 95, 50, 20])
@pytest.mark.parametrize("light", [1.0, 0.2])
def test_a_camera_at_rest_is_not_frozen(quality: int, light: float) -> None:
    rng, frozen = np.random.default_rng(1), FrozenImages()
    for stamp in range(5):
        image = np.clip(np.round(light * scene() + rng.normal(0, 0.4, (240, 320))), 0, 255).astype(np.uint8)
        if quality:
            coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.uint8)
        frozen.check(image, stamp)
