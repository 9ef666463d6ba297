"""Writes networks of our own as ONNX files that are sealed (PyTorch and onnx are needed)."""

import copy
import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from vizloc_ros.features.checksummed_onnx import CHECKSUM_METADATA, EMPTY_CHECKSUM, with_checksum

OPSET = 17  # with IR version 8: ONNX Runtime 1.13 and later read it
_LEAST_HALVED = 1024  # elements; below, 16 bit would save nothing


def traced_graph(module: nn.Module, example: Tensor, outputs: Sequence[str], dynamic: bool) -> onnx.ModelProto:
    """The graph of a module whose one input is ``image``; batch norms are folded into the convolutions.

    Args:
        module: it is not changed.
        example: an input.
        outputs: their names.
        dynamic: whether height and width are open, or those of the example.
    """
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        path = Path(folder) / "graph.onnx"
        # The tracer warns of shapes that become constants, and of its own age. The newer exporter of PyTorch 2.13 takes
        # minutes for the dynamic graph, writes this machine's paths into it, and the result is no faster.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            copy.deepcopy(module).cpu().eval(),
            (example,),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=["image"],
            output_names=list(outputs),
            dynamic_axes={"image": {2: "height", 3: "width"}} if dynamic else None,
        )
        return onnx.load(path)


def write_checksummed(model: onnx.ModelProto, metadata: Mapping[str, str], path: Path) -> None:
    """Checks a graph and writes it with metadata and its checksum, aside and renamed."""
    helper.set_model_props(model, {**metadata, CHECKSUM_METADATA: EMPTY_CHECKSUM})
    onnx.checker.check_model(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(with_checksum(model.SerializeToString()))
    part.replace(path)


def halve_weights(model: onnx.ModelProto) -> None:
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


def weights_identity(network: nn.Module, half: bool) -> str:
    """Eight hexadecimal digits that change with any weight and with the precision in which it is stored."""
    checksum = int(half)
    for name, values in network.state_dict().items():
        checksum = zlib.crc32(name.encode(), checksum)
        checksum = zlib.crc32(values.cpu().numpy().tobytes(), checksum)
    return f"{checksum:08x}"
