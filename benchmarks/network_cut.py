"""Parts of the exported HF-Net as separate sessions, for timing. Needs ``onnx``, but not PyTorch."""

from pathlib import Path
from typing import Any

from vizloc_ros.errors import ConfigError, FeatureError
from vizloc_ros.features.device import Device
from vizloc_ros.features.hfnet.weights import OUTPUTS, read_weights
from vizloc_ros.features.onnx_session import NetworkFile, open_session

BARE, SAMPLED = "HF-Net, bare network", "sampling of the descriptors"
STAGES = {
    BARE: (),
    "scores, NMS, best keypoints": ("keypoints", "scores"),
    "sub-pixel offsets": ("keypoints", "scores", "offsets"),
    SAMPLED: OUTPUTS,
}
"""Stages after which the graph can end, with the outputs that it then has besides those of the bare network."""

_HEADS = ("/detector/", "/descriptor/")  # scopes of nodes; the last node gives the logits, or the dense descriptors


class CutNetwork:
    """Exported HF-Net that can end after an early stage."""

    def __init__(self, path: Path) -> None:
        """Read a file. Raises ``FeatureError`` if it is not HF-Net, ``ConfigError`` if ``onnx`` is not installed."""
        try:
            import onnx
            import onnx.utils
        except ImportError as error:
            raise ConfigError(
                "the bare network is cut out of the weights with onnx: pip install 'vizloc_ros[train]'"
            ) from error
        self._path = path
        model = onnx.shape_inference.infer_shapes(onnx.load_from_string(read_weights(path).model))
        self._extractor = onnx.utils.Extractor(model)
        self._bare = [*(self._last_output(model, head) for head in _HEADS), "global_descriptor"]

    def session(self, stage: str, device: Device) -> Any:
        """Session of the graph up to one of ``STAGES``."""
        outputs = list(OUTPUTS) if stage == SAMPLED else [*self._bare, *STAGES[stage]]
        model = self._extractor.extract_model(["image"], outputs)
        return open_session(NetworkFile(self._path, model.SerializeToString(), ""), device)

    def _last_output(self, model: Any, scope: str) -> str:
        outputs = [output for node in model.graph.node if node.name.startswith(scope) for output in node.output]
        if not outputs:
            raise FeatureError(f"{self._path}: has no nodes {scope}*: export it again with 'vizloc export hfnet'")
        return str(outputs[-1])
