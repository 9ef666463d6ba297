"""Checkpoints of a training run: everything that the next step depends on."""

import json
import pickle
from pathlib import Path
from typing import Any

import torch

from vizloc_ros.errors import ConfigError
from vizloc_ros.features.hfnet.config import HfNetConfig
from vizloc_ros.features.hfnet.network import HfNet
from vizloc_ros.training.provenance import without_folders


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes aside and renames, so that a kill leaves the old checkpoint whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".part")
    torch.save(state, aside)
    aside.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What ``save_checkpoint`` wrote; nothing in the file is executed. Raises ``ConfigError`` naming the file."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such checkpoint") from None
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise ConfigError(f"{path}: is no checkpoint, or is damaged ({error})") from error


def load_network(checkpoint: Path) -> tuple[HfNet, dict[str, str]]:
    """The trained network of a checkpoint, and what the exported file says about its training.

    Raises:
        ConfigError: the file is no checkpoint of this network.
    """
    state = load_checkpoint(checkpoint)
    try:
        config = json.loads(state["config"])
        network = HfNet(HfNetConfig.model_validate(config["network"]))
        network.load_state_dict(state["network"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{checkpoint}: is no checkpoint of HF-Net ({error})") from error
    return network.eval(), {"training": json.dumps(without_folders(config)), "steps": str(state["step"])}
