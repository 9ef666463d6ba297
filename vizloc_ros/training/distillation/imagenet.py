"""Initialization of the encoder from ImageNet weights of the standard MobileNetV2 1.0, by channel selection.

Layers whose shape HF-Net changed (6 to 8, the widened ones and the one behind) keep random weights; of the others, the
channels with the largest weights are copied. Batch norms are then set so that each layer's output has the original's
scale and shift, measured on images.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vizloc_ros.errors import InputError
from vizloc_ros.features.hfnet.hfnet_network import Backbone, InvertedResidual

_STAGES = ((0,), (1, 2), (3,), (4,), (5,), (6, 7, 8, 9), (10, 11, 12), (13, 14, 15), (16,))
"""Groups of blocks whose outputs are added to each other, and which therefore keep the same channels."""
_WIDENED = (4, 5)  # layers 6 and 7

_Weights = dict[str, Tensor]


def load_imagenet(backbone: Backbone, path: Path, images: Tensor) -> None:
    """Copy the weights of all layers whose shape allows it.

    Args:
        backbone: backbone with random weights.
        path: ``.npz`` with ``<layer>.weight`` and ``<layer>.bias``, batch norms folded.
        images: (B, 1, H, W) gray values for the statistics of the batch norms.

    Raises:
        InputError: the file is missing or has other weights.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            weights = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        _copy(backbone, weights, images)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"imagenet: {path}: no MobileNetV2 weights ({error})") from error


@torch.no_grad()
def _copy(backbone: Backbone, weights: _Weights, images: Tensor) -> None:
    weights = {
        **weights,
        "stem.weight": weights["stem.weight"].sum(dim=1, keepdim=True),
    }  # gray: the same in each channel
    blocks = [*backbone.shallow, *backbone.deep]
    biases: dict[nn.Module, Tensor] = {}

    def copy(layer: nn.Sequential, name: str, outputs: Tensor, inputs: Tensor | None = None) -> None:
        weight = weights[f"{name}.weight"][outputs]
        layer[0].weight.copy_(weight if inputs is None else weight[:, inputs])
        biases[layer[1]] = weights[f"{name}.bias"][outputs]

    stem = _largest(_size(weights["stem.weight"]), _width(backbone.stem))
    copy(backbone.stem, "stem", stem)
    outputs = [stem, *_outputs(blocks, weights)]
    for b, block in enumerate(blocks):
        inputs, kept = outputs[b], outputs[b + 1]
        if inputs is None:
            continue
        hidden = inputs
        if block.expand is not None:
            hidden = _largest(_size(weights[f"block{b}.expand.weight"]), _width(block.expand))
            copy(block.expand, f"block{b}.expand", hidden, inputs)
        copy(block.filter, f"block{b}.dw", hidden)
        if kept is not None:
            copy(block.project, f"block{b}.project", kept, hidden)
    _set_batch_norms(backbone, biases, images)


def _outputs(blocks: Sequence[InvertedResidual], weights: _Weights) -> list[Tensor | None]:
    """Channels of the standard network that each block's output keeps; None where HF-Net has more channels."""
    outputs: list[Tensor | None] = []
    for stage in _STAGES:
        importance = torch.stack([_size(weights[f"block{b}.project.weight"]) for b in stage]).sum(dim=0)
        for b in stage:
            outputs.append(None if b in _WIDENED else _largest(importance, _width(blocks[b].project)))
    return outputs


def _set_batch_norms(backbone: Backbone, biases: dict[nn.Module, Tensor], images: Tensor) -> None:
    """Set each batch norm to the output of the folded layer, measured on one batch, in order of execution."""

    def measure(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0]
        deviation, mean = torch.std_mean(x, dim=(0, 2, 3), correction=0)
        norm.weight.copy_(deviation)
        norm.bias.copy_(mean + biases[norm])

    handles = [norm.register_forward_pre_hook(measure) for norm in biases]
    try:
        backbone.train()
        backbone(images)
    finally:
        for handle in handles:
            handle.remove()


def _width(layer: nn.Sequential) -> int:
    return layer[0].out_channels


def _size(weight: Tensor) -> Tensor:
    """(O,) sum of the magnitudes of each output channel's weights."""
    return weight.abs().sum(dim=(1, 2, 3))


def _largest(importance: Tensor, count: int) -> Tensor:
    """Indices of the ``count`` largest, in order."""
    if count > len(importance):
        raise ValueError(f"a layer has {len(importance)} channels, and {count} are needed: choose a width of at most 1")
    return importance.topk(count).indices.sort().values
