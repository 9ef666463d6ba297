"""Options from YAML files."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel

from vizloc_ros.bounded import load_yaml, read_regular_text
from vizloc_ros.errors import ConfigError
from vizloc_ros.options import leaves, merge, nested, validated
from vizloc_ros.ros.node_options import NODE_OPTIONS

Model = TypeVar("Model", bound=BaseModel)
_ROS = "ros__parameters"


def read_options(path: Path | None, model: type[Model], **given: object) -> Model:
    """Options of a YAML file, or the defaults without one; ``given`` options override those of the file.

    The file is a tree of options, or a parameter file of the nodes, from which the options of ``model`` are taken.

    Raises:
        ConfigError: an option is unknown or has an invalid value; the message names the file and the option.
    """
    return validated(model, {**options_of(read_mapping(path), model), **given}, str(path or "options"))


def options_of(content: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Values for a tree of options, from the content of a YAML file."""
    sections = list(_ros_sections(content))
    if not sections:
        return nested(content)
    tree: dict[str, Any] = {}
    for section in sections:
        merge(tree, nested(section))
    of_nodes = {name.split(".")[0] for options in NODE_OPTIONS.values() for name, _ in leaves(options)}
    return {name: value for name, value in tree.items() if name in model.model_fields or name not in of_nodes}


def read_mapping(path: Path | None) -> dict[str, Any]:
    """Content of a YAML file; empty without one.

    ``$NAME`` and ``${NAME}`` in the file are replaced by environment variables that are set.

    Raises:
        ConfigError: the file cannot be read or has no keys.
    """
    if path is None:
        return {}
    try:
        content = load_yaml(os.path.expandvars(read_regular_text(path))) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: holds no keys; write 'key: value' lines")
    return content


def _ros_sections(content: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Parameters of every node in a ROS parameter file, in the order of the file."""
    for name, value in content.items():
        if name == _ROS and isinstance(value, Mapping):
            yield value
        elif isinstance(value, Mapping):
            yield from _ros_sections(value)
