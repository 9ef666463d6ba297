"""Messages with random faults, and those that are too large, at the functions with which nodes read them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from message_mutations import camera_info, originals, read_mutated
from sensor_msgs.msg import CompressedImage, Image, PointCloud2

from vizloc_ros.datasets.image_messages import ImageDecoder
from vizloc_ros.errors import ImageError, VizlocError
from vizloc_ros.features.types import Features
from vizloc_ros.localization.places import Place
from vizloc_ros.ros import clouds
from vizloc_ros.ros.messages import header_of, rectified_camera_from_msg

HEADER = header_of(1, "camera")


def test_messages_with_random_faults_are_read_or_refused() -> None:
    """The whole run of 2,000 is ``python test/message_mutations.py``."""
    found = read_mutated(340, seed=1)
    assert sum(found.values()) == 340
    assert sum(count for name, count in found.items() if name.endswith("refused")) > 100


@pytest.mark.parametrize("kind", ["image", "image.png"])
def test_an_image_above_the_limit_is_refused_with_topic_and_size(kind: str) -> None:
    message: Image | CompressedImage = originals()[kind]
    warned: list[str] = []
    assert ImageDecoder("/front/image", warned.append, 64 * 48).gray(message).shape == (48, 64)
    with pytest.raises(ImageError, match=r"^/front/image: .* is 64x48 px, above the limit of 3,071 pixels"):
        ImageDecoder("/front/image", warned.append, 64 * 48 - 1).gray(message)


def features(count: int = 4, far: float = 0.0) -> PointCloud2:
    keypoints = np.full((count, 2), 1 + far, np.float32)
    scores, descriptors = np.ones(count, np.float32), np.ones((count, 8), np.int8)
    return clouds.features_to_msg(Features(keypoints, scores, descriptors, np.ones(1, np.float32), (64, 48)), HEADER)


def read_features(msg: PointCloud2) -> Features:
    return clouds.features_from_msg(msg, (64, 48))


def candidates(places: int = 1, observations: int = 4, position: float = 1.0) -> PointCloud2:
    rows = (np.full((observations, 3), position, np.float32), np.zeros(observations, np.int32))
    return clouds.places_to_msg([Place(*rows, np.ones((observations, 8), np.int8))] * places, HEADER)


def of_size(msg: PointCloud2, **fields: Any) -> PointCloud2:
    for name, value in fields.items():
        setattr(msg, name, value)
    return msg


@pytest.mark.parametrize(
    ("read", "msg", "reason"),
    [
        (lambda msg: clouds.features_from_msg(msg, (64, 48)), features(100_001), "100001 points"),
        (lambda msg: clouds.features_from_msg(msg, (64, 48)), features(far=1e4), "far outside the image of 64x48"),
        (
            lambda msg: clouds.features_from_msg(msg, (64, 48)),
            of_size(features(), fields=features().fields * 99),
            "396",
        ),
        (clouds.places_from_msg, candidates(observations=400_001), "400001 points"),
        (clouds.places_from_msg, candidates(places=1000), "has 1000 places"),
        (clouds.places_from_msg, candidates(position=2e9), "at most 1e[+]09 m"),
        (clouds.places_from_msg, of_size(candidates(), height=2**32 - 1, width=0, row_step=0, data=[]), None),
        (clouds.places_from_msg, of_size(candidates(), height=2**31, width=2), "4294967296 points"),
        (
            clouds.global_descriptor_from_msg,
            clouds.global_descriptor_to_msg(np.full(4, 1e30, np.float32), 1, HEADER),
            "not finite, or far from a unit vector",
        ),
        (rectified_camera_from_msg, camera_info(), "distortion"),
    ],
)
def test_what_is_too_large_or_cannot_be_is_refused_by_name(
    read: Callable[[Any], Any], msg: Any, reason: str | None
) -> None:
    if reason is None:
        assert len(read(msg)) == 0
        return
    with pytest.raises(VizlocError, match=reason):
        read(msg)


@pytest.mark.parametrize("focal", [0.0, -1.0, float("nan"), float("inf"), 1e300])
def test_a_camera_of_features_that_cannot_be_is_refused(focal: float) -> None:
    msg = camera_info()
    msg.d, msg.k = [0.0] * 5, np.array([focal, 0, 32, 0, 60, 24, 0, 0, 1])
    with pytest.raises(VizlocError, match="focal length"):
        rectified_camera_from_msg(msg)
