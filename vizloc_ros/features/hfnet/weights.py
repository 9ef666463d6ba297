"""Exported HF-Net: a checksummed ONNX graph with metadata."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vizloc_ros.errors import FeatureError
from vizloc_ros.features.checksummed_onnx import read_checksummed
from vizloc_ros.features.hfnet.hfnet_config import CELL
from vizloc_ros.features.onnx_session import NetworkFile

HFNET_METADATA = "vizloc_hfnet"  # key of an exported HF-Net; its value is the version of the format
FORMAT_VERSION = "1"
OUTPUTS = ("keypoints", "offsets", "scores", "descriptors", "global_descriptor")  # of postprocessing.Extracted
DEFAULT_WEIGHTS = Path(__file__).parents[2] / "weights" / "hfnet.onnx"


def read_weights(path: Path) -> NetworkFile:
    """Read an exported file. Raises ``FeatureError`` if it is missing, damaged, or no HF-Net."""
    return read_checksummed(path, "HF-Net", "vizloc export hfnet")


@dataclass(frozen=True)
class Description:
    """Metadata of an exported file.

    Attributes:
        weights_id: eight hexadecimal digits that identify the weights, whatever the size or file of the export.
        max_keypoints: number of keypoints that the graph returns.
        size: (width, height) of the input [px]; None for any multiples of ``multiple``.
        multiple: number that the sides of the input are multiples of [px].
        metadata: all metadata, including the training data.
    """

    weights_id: str
    max_keypoints: int
    size: tuple[int, int] | None
    multiple: int
    metadata: dict[str, str]

    @classmethod
    def of(cls, session: Any, path: Path) -> "Description":
        """Read the metadata of an ONNX Runtime session. Raises ``FeatureError`` for another version or network."""
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
            int(metadata.get("multiple", CELL)),
            metadata,
        )
