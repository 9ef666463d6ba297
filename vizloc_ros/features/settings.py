"""Settings of extractors, as maps and configuration files hand them over: plain values that may be wrong."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from vizloc_ros.errors import ConfigError

Settings = TypeVar("Settings", bound=BaseModel)


def checked_settings(settings_type: type[Settings], values: Mapping[str, Any], owner: str) -> Settings:
    """The settings of an extractor. Raises ``ConfigError`` naming it and what is unknown or impossible."""
    try:
        return settings_type.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        known = ", ".join(settings_type.model_fields)
        raise ConfigError(f"settings of {owner}: {problems}; it has {known}") from error
