"""Checkpoints of a training run: everything that the next step depends on; and networks of one or several."""

import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, TypeAdapter

from vizloc_ros.bounded import open_regular
from vizloc_ros.errors import InputError
from vizloc_ros.features.hfnet.hfnet_config import EdgePointConfig, NetworkConfig
from vizloc_ros.features.hfnet.hfnet_network import EdgePointHfNet, HfNet, build_hfnet
from vizloc_ros.files import replacing
from vizloc_ros.training.edgepoint2_weights import load_edgepoint2
from vizloc_ros.training.provenance import without_folders
from vizloc_ros.training.training_options import fixed_options


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint: a kill leaves the old one whole."""
    with replacing(path) as file:
        torch.save(state, file)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; nothing in the file is executed. Raises ``InputError`` if it is missing or damaged."""
    try:
        with open_regular(path) as file:
            return torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such checkpoint") from None
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise InputError(f"{path}: is no checkpoint, or is damaged ({error})") from error


def load_state(path: Path, options: BaseModel, resume: bool) -> dict[str, Any] | None:
    """State that a run continues from; None for a new run.

    Args:
        path: file of the state.
        options: options of the run.
        resume: continue the run.

    Raises:
        InputError: there is a run that would be overwritten, or none to resume, or one of another stage, or one whose
            options differ in others than those that may change.
    """
    if not resume:
        if path.exists():
            raise InputError(f"{path}: there is a run already: give --resume, or another --out")
        return None
    state = load_checkpoint(path)
    try:
        saved = json.loads(state["config"])
        before = type(options).model_validate(saved.get("global_training", saved))
    except (KeyError, TypeError, ValueError) as error:
        details = " ".join(str(error).split())
        raise InputError(f"{path}: is no checkpoint of this stage of training ({details})") from error
    old, new = dict(fixed_options(before)), dict(fixed_options(options))
    if changed := sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key)):
        raise InputError(
            f"{path}: the run was started with another {', '.join(changed)}: resume it with that, or start a new one "
            "with another --out"
        )
    return state


def restore(path: Path, state: dict[str, Any], parts: dict[str, Any]) -> None:
    """Load a checkpoint's state into modules and optimizers. Raises ``InputError`` if it is that of other ones."""
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
    except (KeyError, RuntimeError, ValueError) as error:
        raise InputError(f"{path}: is a checkpoint of another network ({error})") from error


def load_network(checkpoint: Path) -> tuple[HfNet, dict[str, str]]:
    """Load the trained HF-Net of a checkpoint, or make one of EdgePoint2's published weights (ONNX).

    The global head of the latter is random.

    Returns:
        The network, and the metadata of an exported file about its training.

    Raises:
        InputError: the file is no checkpoint of HF-Net.
    """
    if checkpoint.suffix == ".onnx":
        published = EdgePointHfNet(EdgePointConfig())
        load_edgepoint2(checkpoint, published.encoder, published.detector)
        return published.eval(), {"training": "none", "pretrained": checkpoint.name}
    state = load_checkpoint(checkpoint)
    try:
        config = json.loads(state["config"])
        network = build_hfnet(TypeAdapter(NetworkConfig).validate_python(config["network"]))
        network.load_state_dict(state["network"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{checkpoint}: is no checkpoint of HF-Net ({error})") from error
    return network.eval(), {"training": json.dumps(without_folders(config)), "steps": str(state["step"])}


def load_mean_network(checkpoints: Sequence[Path]) -> tuple[HfNet, dict[str, str]]:
    """Load the mean of the weights of several runs that started from the same ones, with the first one's global head.

    Such a mean is often better than each of them (Wortsman et al., Model soups, ICML 2022).

    Returns:
        The network, and the metadata of an exported file about its training.

    Raises:
        InputError: a file is no checkpoint of HF-Net, or of a network of another shape.
    """
    network, details = load_network(checkpoints[0])
    if len(checkpoints) == 1:
        return network, details
    others = [load_network(path) for path in checkpoints[1:]]
    mean = network.state_dict()
    for path, (other, _) in zip(checkpoints[1:], others, strict=True):
        weights = other.state_dict()
        if {name: value.shape for name, value in weights.items() if not _is_global(name)} != {
            name: value.shape for name, value in mean.items() if not _is_global(name)
        }:
            raise InputError(f"{path}: the network has another shape than that of {checkpoints[0]}")
    for name, value in mean.items():
        if value.is_floating_point() and not _is_global(name):
            values = [value, *(other.state_dict()[name] for other, _ in others)]
            mean[name] = torch.stack(values).mean(dim=0)
    network.load_state_dict(mean)
    return network, details | {f"mean_with_{index}": other["training"] for index, (_, other) in enumerate(others, 1)}


def _is_global(name: str) -> bool:
    """Return whether a weight is of the global head, by its name."""
    return name.startswith("global_head.")
