"""Images of a bag as drivers record them: padded, without an end marker, of 10 bits, in planes."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.rosbag2 import Writer

from vizloc_ros.arrays import UInt8
from vizloc_ros.bags.bag_camera import open_camera
from vizloc_ros.bags.bag_messages import (
    camera_info_message,
    compressed_image_message,
    header,
    image_message,
    transform_message,
)
from vizloc_ros.bags.reader import TYPES
from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import ImageError
from vizloc_ros.features.gray_image import gray_image
from vizloc_ros.geometry.poses import Rigid3d
from vizloc_ros.geometry.rectification import DistortedCamera


@pytest.fixture
def records(street: SyntheticStreet) -> list[Record]:
    return street.records("query")[:4]


def bag_of(path: Path, records: Sequence[Record], topic: str, images: Sequence[Any]) -> list[Record]:
    """Write a bag with a message for each record, and read it."""
    messages = [("/tf_static", transform_message(Rigid3d(), "camera", header(records[0].timestamp_ns, "base_link")))]
    base = topic.removesuffix("/compressed").rpartition("/")[0]
    messages += [
        (f"{base}/camera_info", camera_info_message(DistortedCamera(r.camera), header(r.timestamp_ns, "camera")))
        for r in records
    ]
    messages += [(topic, image) for image in images]
    with Writer(path, version=9) as writer:
        kinds = {name: message.__msgtype__ for name, message in messages}
        connections = {name: writer.add_connection(name, kind, typestore=TYPES) for name, kind in kinds.items()}
        for i, (name, message) in enumerate(messages):
            writer.write(connections[name], i, TYPES.serialize_cdr(message, message.__msgtype__))
    return open_camera(path).records()


def headers(records: Sequence[Record]) -> list[tuple[Any, UInt8]]:
    return [(header(r.timestamp_ns, "camera"), gray_image(r.read_image())) for r in records]


def test_jpegs_are_padded_and_lack_their_end(
    records: list[Record], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = [compressed_image_message(image, head, "jpeg") for head, image in headers(records)]
    padding = np.zeros(9000, np.uint8)
    given = [np.append(whole[0].data, padding), whole[1].data[:-2], np.append(whole[2].data[:-2], padding)]
    given.append(np.append(whole[3].data[:2000], padding))
    messages = [replace(message, data=data) for message, data in zip(whole, given, strict=True)]
    topic = "/camera/image/compressed"
    expected = bag_of(tmp_path / "whole", records, topic, whole)
    read = bag_of(tmp_path / "given", records, topic, messages)
    with caplog.at_level(logging.WARNING):
        for a, b in zip(read[:3], expected, strict=False):
            np.testing.assert_array_equal(a.read_image(), b.read_image())
        with pytest.raises(ImageError, match="truncated"):
            read[3].read_image()
    assert [r.getMessage().startswith(f"{topic}: the JPEG has no end marker") for r in caplog.records] == [True]


@pytest.mark.parametrize("encoding", ["mono16", "16UC1", "nv12"])
def test_raw_images_are_decoded_as_in_the_nodes(records: list[Record], tmp_path: Path, encoding: str) -> None:
    messages = []
    for head, image in headers(records):
        message = image_message(image, head)
        if encoding == "nv12":
            chroma = np.full(image.size // 2, 128, np.uint8)
            messages.append(replace(message, encoding=encoding, data=np.append(message.data, chroma)))
        else:
            data = (image.astype("<u2") << 2).view(np.uint8).reshape(-1)
            messages.append(replace(message, encoding=encoding, step=2 * message.step, data=data))
    read = bag_of(tmp_path / "bag", records, "/camera/ir/image_raw", messages)
    for record, (_, image) in zip(read, headers(records), strict=True):
        np.testing.assert_array_equal(record.read_image(), image)
