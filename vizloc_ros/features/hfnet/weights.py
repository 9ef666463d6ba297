"""The exported file: an ONNX graph whose metadata says what it is and lets damage be found.

ONNX Runtime notices neither a flipped bit in the weights nor that a file is another network's, so the file carries the
CRC-32 of itself, taken with zeros in its place.
"""

import re
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vizloc_ros.errors import FeatureError
from vizloc_ros.features.onnx_session import NetworkFile, read_network

HFNET_METADATA = "vizloc_hfnet"  # the key that marks an exported HF-Net; its value is the version of the format
FORMAT_VERSION = "1"
OUTPUTS = ("keypoints", "offsets", "scores", "descriptors", "global_descriptor")  # see extraction.Extracted
SEAL_METADATA = "file_checksum"
OPEN_SEAL = "crc32:00000000"
_SEAL = re.compile(rb"crc32:([0-9a-f]{8})")

DEFAULT_WEIGHTS = Path(__file__).parents[2] / "weights" / "hfnet.onnx"


def seal(model: bytes) -> bytes:
    """The serialized model with its checksum at the last place that says ``OPEN_SEAL``."""
    before, _, after = model.rpartition(OPEN_SEAL.encode())
    return b"".join([before, b"crc32:%08x" % zlib.crc32(model), after])


def read_weights(path: Path) -> NetworkFile:
    """An exported file that is whole. Raises ``FeatureError`` if it is missing, damaged, or something else."""
    file = read_network(
        path,
        "the weights cannot be read",
        "check the setting 'weights', install the package with its weights, or make your own with "
        "'vizloc export hfnet'",
    )
    seals = list(_SEAL.finditer(file.model))
    if not seals:
        raise FeatureError(
            f"{path}: is cut off, or no HF-Net that 'vizloc export hfnet' wrote: copy it again, or export it again"
        )
    start, end = seals[-1].span()
    checksum = seals[-1][1].decode()
    if zlib.crc32(b"".join([file.model[:start], OPEN_SEAL.encode(), file.model[end:]])) != int(checksum, 16):
        raise FeatureError(f"{path}: is damaged (its checksum is not the one written in it): copy it again")
    return replace(file, checksum=checksum)


@dataclass(frozen=True)
class Description:
    """What an exported file says about itself.

    Attributes:
        weights_id: eight hexadecimal digits that change with the weights, and not with size or place of the export.
        max_keypoints: how many keypoints it can find.
        size: (width, height) of its input [px]; None if any multiples of 8 will do.
        metadata: everything, including what it was trained on.
    """

    weights_id: str
    max_keypoints: int
    size: tuple[int, int] | None
    metadata: dict[str, str]

    @classmethod
    def of(cls, session: Any, path: Path) -> "Description":
        """Reads it from an ONNX Runtime session. Raises ``FeatureError`` if it is of another version or network."""
        metadata = dict(session.get_modelmeta().custom_metadata_map)
        version, outputs = metadata.get(HFNET_METADATA), tuple(output.name for output in session.get_outputs())
        if version != FORMAT_VERSION or outputs != OUTPUTS:
            raise FeatureError(
                f"{path}: is an HF-Net of format {version} with outputs {', '.join(outputs)}; this program reads "
                f"format {FORMAT_VERSION} with {', '.join(OUTPUTS)}: export it again with 'vizloc export hfnet'"
            )
        height, width = session.get_inputs()[0].shape[2:]
        return cls(
            metadata["weights_id"],
            int(metadata["max_keypoints"]),
            (width, height) if isinstance(width, int) else None,
            metadata,
        )
