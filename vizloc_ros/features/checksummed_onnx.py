"""ONNX files with a checksum in their metadata.

ONNX Runtime detects neither a flipped bit in the weights nor the file of another network. An exported file therefore
contains its own CRC-32, computed with zeros in the place of the checksum.
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
    """Serialized model with its checksum in the place of the last ``EMPTY_CHECKSUM``."""
    before, _, after = model.rpartition(EMPTY_CHECKSUM.encode())
    return b"".join([before, b"crc32:%08x" % zlib.crc32(model), after])


def read_checksummed(path: Path, kind: str, exporter: str) -> NetworkFile:
    """Read an exported file and compare its checksum.

    Args:
        path: the ONNX file.
        kind: name of the network in error messages, such as HF-Net.
        exporter: command that exports such a file.

    Raises:
        FeatureError: the file is missing, damaged, or no file of the exporter.
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
