"""Provenance of a trained network, without the folders of the machine that trained it."""

import re
from typing import Any

_FOLDERS = re.compile(r"(^|:)(?:[A-Za-z]:)?[\\/](?:[^\\/]+[\\/])*")


def without_folders(value: Any) -> Any:
    """Plain values in which every absolute path, also behind ``reader:``, is reduced to its last name."""
    if isinstance(value, dict):
        return {key: without_folders(part) for key, part in value.items()}
    if isinstance(value, list):
        return [without_folders(part) for part in value]
    return _FOLDERS.sub(r"\1", value) if isinstance(value, str) else value
