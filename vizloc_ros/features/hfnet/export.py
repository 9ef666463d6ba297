"""Export to ONNX: one graph from gray image to features."""

import copy
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from vizloc_ros.errors import ConfigError
from vizloc_ros.features.hfnet.config import CELL
from vizloc_ros.features.hfnet.extraction import Extraction
from vizloc_ros.features.hfnet.network import HfNet
from vizloc_ros.features.hfnet.weights import FORMAT_VERSION, HFNET_METADATA, OPEN_SEAL, OUTPUTS, SEAL_METADATA, seal

OPSET = 17  # with IR version 8: ONNX Runtime 1.13 and later read it
_EXAMPLE = (96, 64)  # (width, height) that dynamic graphs are traced with
_LEAST_HALVED = 1024  # elements; below, 16 bit would save nothing


def export_onnx(
    network: HfNet,
    path: Path,
    *,
    size: tuple[int, int] | None = None,
    half: bool = True,
    max_keypoints: int = 2048,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes the network with all that follows it; batch norms are folded into the convolutions.

    The graph turns ``image``, (1, 1, H, W) uint8, into the outputs of ``extraction.Extracted``.

    Args:
        network: trained; it is not changed.
        path: the file, written aside and renamed.
        size: (width, height) of a graph of fixed size, as TensorRT likes it; None for any multiples of 8.
        half: store weights in 16 bit; computation stays in 32 bit.
        max_keypoints: how many keypoints the graph finds, K.
        metadata: more to say in the file, e.g. about the training.

    Raises:
        ConfigError: the size is none that the network can take, or ``metadata`` uses a name of the format.
    """
    if size is not None and (min(size) < 2 * CELL or any(side % CELL for side in size)):
        raise ConfigError(f"the network cannot be exported for {size[0]}x{size[1]}: use multiples of {CELL} from 16")
    own = {
        HFNET_METADATA: FORMAT_VERSION,
        "config": network.config.model_dump_json(),
        "weights_id": weights_identity(network, half),
        "max_keypoints": str(max_keypoints),
        SEAL_METADATA: OPEN_SEAL,
    }
    if taken := own.keys() & (metadata or {}).keys():
        raise ConfigError(f"metadata cannot be called {sorted(taken)}: the format uses these names itself")
    model = _graph(network, size, max_keypoints)
    if half:
        _halve_weights(model)
    helper.set_model_props(model, {**(metadata or {}), **own})
    onnx.checker.check_model(model)
    _write(path, seal(model.SerializeToString()))


def _graph(network: HfNet, size: tuple[int, int] | None, max_keypoints: int) -> onnx.ModelProto:
    width, height = size or _EXAMPLE
    module = Extraction(copy.deepcopy(network).cpu().eval(), max_keypoints)
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        path = Path(folder) / "graph.onnx"
        # The tracer warns of shapes that become constants, and of its own age. The newer exporter of PyTorch 2.13 takes
        # minutes for the dynamic graph, writes this machine's paths into it, and the result is no faster.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.zeros(1, 1, height, width, dtype=torch.uint8),),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=["image"],
            output_names=list(OUTPUTS),
            dynamic_axes=None if size else {"image": {2: "height", 3: "width"}},
        )
        return onnx.load(path)


def _halve_weights(model: onnx.ModelProto) -> None:
    """Stores large weights in 16 bit, with a cast that ONNX Runtime does once, when it loads the file."""
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < _LEAST_HALVED or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        stored = f"{tensor.name}.half"
        casts.append(helper.make_node("Cast", [stored], [tensor.name], to=TensorProto.FLOAT))
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), stored))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def weights_identity(network: HfNet, half: bool) -> str:
    """Eight hexadecimal digits that change with any weight and with the precision in which it is stored."""
    checksum = int(half)
    for name, values in network.state_dict().items():
        checksum = zlib.crc32(name.encode(), checksum)
        checksum = zlib.crc32(values.cpu().numpy().tobytes(), checksum)
    return f"{checksum:08x}"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    part.replace(path)
