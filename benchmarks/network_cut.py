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

_DETECTOR = "/detector/"  # scope of nodes; the last one gives the logits
_DESCRIPTORS = ("/descriptor/", "/spread/")  # the same for the dense descriptors of MobileNetV2, and of EdgePoint2


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
        dense, sampled = (self._last_output(model, scope) for scope in _DESCRIPTORS)
        if not (dense or sampled):
            raise FeatureError(f"{path}: has no nodes of a descriptor head: export it again with 'vizloc export hfnet'")
        # The global head of EdgePoint2 takes keypoints, so it is no part of the bare network.
        self._bare = [
            *self._last_output(model, _DETECTOR),
            *(dense or sampled),
            *(["global_descriptor"] if dense else []),
        ]

    def session(self, stage: str, device: Device) -> Any:
        """Session of the graph up to one of ``STAGES``."""
        outputs = list(OUTPUTS) if stage == SAMPLED else [*self._bare, *STAGES[stage]]
        model = self._extractor.extract_model(["image"], outputs)
        return open_session(NetworkFile(self._path, model.SerializeToString(), ""), device)

    def _last_output(self, model: Any, scope: str) -> list[str]:
        """Name of the last output of a scope; empty if there are no such nodes."""
        return [str(output) for node in model.graph.node if node.name.startswith(scope) for output in node.output][-1:]
