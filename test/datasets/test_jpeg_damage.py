"""Damaged JPEGs: shifted blocks are found, and pictures with edges and repeated things are left alone."""

import array

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.image_messages import check_damage
from vizloc_ros.datasets.jpeg_damage import is_shifted
from vizloc_ros.errors import ImageError

HEIGHT, WIDTH = 240, 320


@pytest.fixture
def picture() -> UInt8:
    """Picture with details of all sizes, as walls and trees have."""
    rng = np.random.default_rng(3)
    layers = [
        cv2.resize(rng.normal(0, 1, (HEIGHT // size, WIDTH // size)), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        for size in (4, 8, 20, 40)
    ]
    return np.asarray((128 + 25 * sum(layers)).clip(0, 255), np.uint8)


def flipped(picture: UInt8, seed: int) -> bytes:
    """JPEG with ten flipped bytes."""
    data = cv2.imencode(".jpg", picture)[1].copy()
    rng = np.random.default_rng(seed)
    data[rng.integers(700, len(data) - 2, 10)] ^= rng.integers(1, 256, 10, dtype=np.uint8)
    return data.tobytes()


@pytest.mark.parametrize("blocks", [1, -2])
def test_a_shift_by_whole_blocks_is_found(picture: UInt8, blocks: int) -> None:
    """The decoder has counted too few blocks or too many: what follows, row after row of blocks, is shifted."""
    rows = picture.reshape(HEIGHT // 8, 8, WIDTH // 8, 8).transpose(0, 2, 1, 3)
    order = rows.reshape(-1, 8, 8)
    begin = 10 * (WIDTH // 8)
    damaged = np.concatenate([order[:begin], np.roll(order[begin:], blocks, axis=0)])
    image = damaged.reshape(rows.shape).transpose(0, 2, 1, 3).reshape(HEIGHT, WIDTH)
    assert is_shifted(np.ascontiguousarray(image))


def test_most_jpegs_with_flipped_bytes_are_found(picture: UInt8) -> None:
    decoded = [cv2.imdecode(np.frombuffer(flipped(picture, seed), np.uint8), 0) for seed in range(30)]
    assert np.mean([is_shifted(image) for image in decoded if image is not None]) > 0.6


def test_clean_pictures_are_not(picture: UInt8) -> None:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    bars = np.where((x // 16) % 2 == 0, 60, 190).astype(np.uint8)
    dashboard = picture.copy()
    dashboard[160:] = np.roll(bars, 5, axis=1)[160:]  # an edge of blocks, below which all is different
    stripes = np.where((y // 8) % 2 == 0, bars, 255 - bars).astype(np.uint8)
    for image in (picture, bars, dashboard, np.full_like(picture, 90), picture[:, ::-1].copy(), picture[:20, :30]):
        for quality in (95, 50):
            data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            assert not is_shifted(np.asarray(cv2.imdecode(data, 0), np.uint8))
    assert not is_shifted(stripes[:8])


def test_messages_of_damaged_jpegs_are_refused_and_others_are_not_asked(picture: UInt8) -> None:
    image = np.roll(picture.copy(), 0)
    image[120:] = np.roll(picture, 40, axis=1)[120:]
    data = array.array("B", cv2.imencode(".jpg", image)[1].tobytes())
    with pytest.raises(ImageError, match="the JPEG is damaged"):
        check_damage(image, CompressedImage(format="jpeg", data=data))
    check_damage(picture, CompressedImage(format="jpeg", data=data))
    check_damage(image, CompressedImage(format="png", data=array.array("B", cv2.imencode(".png", image)[1].tobytes())))
