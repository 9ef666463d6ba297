"""Export of networks to checksummed ONNX files; needs PyTorch and onnx."""

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
from vizloc_ros.files import replacing

OPSET = 17  # with IR version 8: ONNX Runtime 1.13 and later read it
_MIN_HALVED = 1024  # elements; smaller tensors save nothing in 16 bit


def traced_graph(module: nn.Module, example: Tensor, outputs: Sequence[str], dynamic: bool) -> onnx.ModelProto:
    """Trace the graph of a module whose only input is ``image``; batch norms are folded into the convolutions.

    Args:
        module: network to trace; it is not changed.
        example: input tensor to trace with.
        outputs: names of the outputs.
        dynamic: True for any height and width, False for those of the example.
    """
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        path = Path(folder) / "graph.onnx"
        # The tracer warns of shapes that become constants and of its deprecation. The newer exporter of PyTorch 2.13
        # takes minutes for the dynamic graph, writes local paths into it, and the result is no faster.
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
    """Check a graph, then write it with metadata and its checksum, whole or not at all."""
    helper.set_model_props(model, {**metadata, CHECKSUM_METADATA: EMPTY_CHECKSUM})
    onnx.checker.check_model(model)
    with replacing(path) as file:
        file.write(with_checksum(model.SerializeToString()))


def halve_weights(model: onnx.ModelProto) -> None:
    """Store large weights in 16 bit, with a cast that ONNX Runtime executes once, when it loads the file."""
    casts = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < _MIN_HALVED or np.abs(values).max() > np.finfo(np.float16).max:
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
