"""The exported file of a PixLoc network: an ONNX graph whose metadata say what it is and what was learned beside it."""

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

PIXLOC_METADATA = "vizloc_pixloc"  # the key that marks an exported network; its value is the version of the format
FORMAT_VERSION = "1"
DEFAULT_WEIGHTS = Path(__file__).parents[2] / "weights" / "pixloc_light.onnx"


def output_names(levels: int) -> tuple[str, ...]:
    """Of the graph: (1, H, W, C) features and (1, H, W) confidences of each level, finest first."""
    return tuple(f"{name}_{level}" for level in range(levels) for name in ("features", "confidences"))


def read_weights(path: Path) -> NetworkFile:
    """An exported file that is whole. Raises ``FeatureError`` if it is missing, damaged, or something else."""
    return read_checksummed(path, "PixLoc network", "vizloc export pixloc")


@dataclass(frozen=True)
class Description:
    """What an exported file says about itself.

    Attributes:
        kind: of the network, ``light`` or ``unet``.
        weights_id: eight hexadecimal digits that change with the weights.
        learned: damping and loss.
        metadata: everything, including what it was trained on.
    """

    kind: str
    weights_id: str
    learned: LearnedAlignment
    metadata: dict[str, str]

    @classmethod
    def of(cls, session: Any, path: Path) -> "Description":
        """Reads it from an ONNX Runtime session. Raises ``FeatureError`` if it is of another version or network."""
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
