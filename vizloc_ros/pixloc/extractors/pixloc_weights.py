"""Exported file of a PixLoc network: an ONNX graph with metadata, damping and robust cost."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vizloc_ros.errors import FeatureError
from vizloc_ros.features.checksummed_onnx import read_checksummed
from vizloc_ros.features.onnx_session import NetworkFile
from vizloc_ros.pixloc.optimizer.alignment_options import LearnedAlignment
from vizloc_ros.pixloc.optimizer.robust import BarronLoss

PIXLOC_METADATA = "vizloc_pixloc"  # key that marks an exported network; its value is the version of the format
FORMAT_VERSION = "1"
DEFAULT_WEIGHTS = Path(__file__).parents[2] / "weights" / "pixloc_light.onnx"


def output_names(levels: int) -> tuple[str, ...]:
    """Return the names of the graph's outputs: (1, H, W, C) features and (1, H, W) confidences, finest level first."""
    return tuple(f"{name}_{level}" for level in range(levels) for name in ("features", "confidences"))


def read_weights(path: Path) -> NetworkFile:
    """Read an exported file and check it. Raises ``FeatureError`` if it is missing, damaged, or another file."""
    return read_checksummed(path, "PixLoc network", "vizloc export pixloc")


@dataclass(frozen=True)
class Description:
    """Metadata of an exported file.

    Attributes:
        kind: kind of the network, ``light`` or ``unet``.
        weights_id: eight hexadecimal digits that change with the weights.
        learned: learned damping and robust cost.
        metadata: all metadata, with those of the training.
    """

    kind: str
    weights_id: str
    learned: LearnedAlignment
    metadata: dict[str, str]

    @classmethod
    def of(cls, session: Any, path: Path) -> "Description":
        """Read the metadata of an ONNX Runtime session.

        Raises:
            FeatureError: the file at ``path`` is of another format or network.
        """
        metadata = dict(session.get_modelmeta().custom_metadata_map)
        outputs = tuple(output.name for output in session.get_outputs())
        version = metadata.get(PIXLOC_METADATA)
        if version != FORMAT_VERSION or outputs != output_names(len(outputs) // 2):
            raise FeatureError(
                f"{path}: is a PixLoc network of format {version} with outputs {', '.join(outputs)}; this program "
                f"reads format {FORMAT_VERSION}: export it again with 'vizloc export pixloc'"
            )
        dampings = np.array(json.loads(metadata["dampings"]), np.float64)
        loss = BarronLoss(float(metadata["robust_alpha"]), float(metadata["robust_scale"]))
        return cls(metadata["kind"], metadata["weights_id"], LearnedAlignment(dampings, loss), metadata)
