"""Checkpoints of a training run: everything that the next step depends on."""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from vizloc_ros.errors import ConfigError
from vizloc_ros.features.hfnet.hfnet_config import HfNetConfig
from vizloc_ros.features.hfnet.hfnet_network import HfNet
from vizloc_ros.training.provenance import without_folders

_MAY_CHANGE = {
    *("steps", "drops", "learning_rate", "validate_every"),
    *("folder", "dataset", "checkpoint", "imagenet", "targets", "cache"),  # where things are; names of files must stay
}


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


def load_state(path: Path, config: BaseModel, resume: bool) -> dict[str, Any] | None:
    """The state that a run goes on from; None where a fresh one begins.

    Args:
        path: where the run is saved.
        config: of the run.
        resume: whether it goes on.

    Raises:
        ConfigError: there is a run that would be overwritten, or none to resume, or it is another stage's, or was
            started with a configuration that differs in more than its length, its rate and where the files are.
    """
    if not resume:
        if path.exists():
            raise ConfigError(f"{path}: there is a run already: give --resume, or another --out")
        return None
    state = load_checkpoint(path)
    try:
        told = json.loads(state["config"])
        before = type(config).model_validate(told.get("global_training", told))
    except (KeyError, TypeError, ValueError) as error:
        details = " ".join(str(error).split())
        raise ConfigError(f"{path}: is no checkpoint of this stage of training ({details})") from error
    old, new = (dict(_settings(each.model_dump())) for each in (before, config))
    if changed := sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key)):
        raise ConfigError(
            f"{path}: the run was started with another {', '.join(changed)}: resume it with that, or start a new one "
            "with another --out"
        )
    return state


def restore(path: Path, state: dict[str, Any], parts: dict[str, Any]) -> None:
    """Puts a checkpoint's state into modules and optimizers. Raises ``ConfigError`` if it is of others."""
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
    except (KeyError, RuntimeError, ValueError) as error:
        raise ConfigError(f"{path}: is a checkpoint of another network ({error})") from error


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


def _settings(value: Any, key: str = "") -> Iterator[tuple[str, object]]:
    """Dotted names and values of what must not change while a run goes on."""
    if isinstance(value, dict):
        for name, part in value.items():
            if name not in _MAY_CHANGE:
                yield from _settings(part, f"{key}.{name}" if key else name)
    elif isinstance(value, list):
        for i, part in enumerate(value):
            yield from _settings(part, f"{key}[{i}]")
    else:
        yield key, value.name if isinstance(value, Path) else value
