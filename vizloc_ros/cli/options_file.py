"""Options of the core, and settings of extractors, from YAML files."""

import os
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from vizloc_ros.errors import ConfigError

Options = TypeVar("Options", bound=BaseModel)


def read_options(path: Path | None, options_type: type[Options], **given: object) -> Options:
    """Options of a YAML file, or the defaults without one; ``given`` ones come on top.

    Raises:
        ConfigError: naming the file and the key that is unknown or has an impossible value.
    """
    try:
        return options_type.model_validate({**read_mapping(path), **given})
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{path or 'options'}: {'; '.join(problems)}") from error


def read_mapping(path: Path | None) -> dict[str, Any]:
    """What a YAML file says; nothing without one.

    ``$NAME`` and ``${NAME}`` in the file are replaced by environment variables that are set.

    Raises:
        ConfigError: naming the file that cannot be read or has no keys.
    """
    if path is None:
        return {}
    try:
        content = yaml.safe_load(os.path.expandvars(path.read_text(encoding="utf-8"))) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: holds no keys; write 'key: value' lines")
    return content
