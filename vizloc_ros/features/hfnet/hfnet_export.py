"""Export of HF-Net to ONNX: one graph from a gray image to features."""

import copy
from collections.abc import Mapping
from pathlib import Path

import torch

from vizloc_ros.errors import ConfigError
from vizloc_ros.features.checksummed_onnx import CHECKSUM_METADATA
from vizloc_ros.features.hfnet.hfnet_config import CELL
from vizloc_ros.features.hfnet.hfnet_network import HfNet
from vizloc_ros.features.hfnet.postprocessing import Extraction
from vizloc_ros.features.hfnet.weights import FORMAT_VERSION, HFNET_METADATA, OUTPUTS
from vizloc_ros.features.onnx_export import halve_weights, traced_graph, weights_identity, write_checksummed

_EXAMPLE = (96, 64)  # (width, height) [px] of the input that dynamic graphs are traced with


def export_onnx(
    network: HfNet,
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    half: bool = True,
    max_keypoints: int = 2048,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write the network and its postprocessing as one graph; batch norms are folded into the convolutions.

    The graph turns ``image``, (1, 1, H, W) uint8, into the outputs of ``postprocessing.Extracted``.

    Args:
        network: trained network; it is not changed.
        path: file to write, whole or not at all.
        size: (width, height) [px] of a graph of fixed size, best for TensorRT; None for any that the
            network takes.
        half: True to store weights in 16 bit; computation stays in 32 bit.
        max_keypoints: number N of keypoints that the graph returns.
        metadata: further metadata of the file, e.g. about the training.

    Raises:
        ConfigError: the network cannot take the size, or ``metadata`` uses a name of the format.
    """
    multiple = network.config.multiple
    if size is not None and (min(size) < 2 * CELL or any(side % multiple for side in size)):
        raise ConfigError(
            f"the network cannot be exported for {size[0]}x{size[1]}: use multiples of {multiple} from 16"
        )
    reserved = {
        HFNET_METADATA: FORMAT_VERSION,
        "config": network.config.model_dump_json(),
        "weights_id": weights_identity(network, half),
        "max_keypoints": str(max_keypoints),
        "multiple": str(multiple),
    }
    if taken := {*reserved, CHECKSUM_METADATA} & (metadata or {}).keys():
        raise ConfigError(f"metadata cannot be called {sorted(taken)}: the format uses these names itself")
    width, height = size or _EXAMPLE
    example = torch.zeros(1, 1, height, width, dtype=torch.uint8)
    module = Extraction(copy.deepcopy(network).cpu().eval(), max_keypoints)
    model = traced_graph(module, example, OUTPUTS, dynamic=size is None)
    if half:
        halve_weights(model)
    write_checksummed(model, {**(metadata or {}), **reserved}, path)
