"""ONNX files of our own that let damage be found.

ONNX Runtime notices neither a flipped bit in the weights nor that a file is another network's, so the file carries the
CRC-32 of itself, taken with zeros in its place.
"""

import re
import zlib
from dataclasses import replace
from pathlib import Path

from vizloc_ros.errors import FeatureError
from vizloc_ros.features.onnx_session import NetworkFile, read_network

CHECKSUM_METADATA = "file_checksum"
EMPTY_CHECKSUM = "crc32:00000000"
_CHECKSUM = re.compile(rb"crc32:([0-9a-f]{8})")


def with_checksum(model: bytes) -> bytes:
    """The serialized model with its checksum at the last place that says ``EMPTY_CHECKSUM``."""
    before, _, after = model.rpartition(EMPTY_CHECKSUM.encode())
    return b"".join([before, b"crc32:%08x" % zlib.crc32(model), after])


def read_checksummed(path: Path, kind: str, exporter: str) -> NetworkFile:
    """An exported file that is whole.

    Args:
        path: the file.
        kind: what it should be, for messages.
        exporter: the command that makes one.

    Raises:
        FeatureError: it is missing, damaged, or something else.
    """
    file = read_network(
        path,
        "the weights cannot be read",
        f"check the setting 'weights', install the package with its weights, or make your own with '{exporter}'",
    )
    checksums = list(_CHECKSUM.finditer(file.model))
    if not checksums:
        raise FeatureError(
            f"{path}: is cut off, or no {kind} that '{exporter}' wrote: copy it again, or export it again"
        )
    start, end = checksums[-1].span()
    checksum = checksums[-1][1].decode()
    if zlib.crc32(b"".join([file.model[:start], EMPTY_CHECKSUM.encode(), file.model[end:]])) != int(checksum, 16):
        raise FeatureError(f"{path}: is damaged (its checksum is not the one written in it): copy it again")
    return replace(file, checksum=checksum)
