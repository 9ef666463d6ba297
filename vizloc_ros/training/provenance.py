"""What a trained network says about its training, without telling where on a machine the files were."""

import re
from typing import Any

_FOLDERS = re.compile(r"(^|:)(?:[A-Za-z]:)?[\\/](?:[^\\/]+[\\/])*")


def without_folders(value: Any) -> Any:
    """Plain values with every absolute path in them, also behind ``reader:``, cut down to its last name."""
    if isinstance(value, dict):
        return {key: without_folders(part) for key, part in value.items()}
    if isinstance(value, list):
        return [without_folders(part) for part in value]
    return _FOLDERS.sub(r"\1", value) if isinstance(value, str) else value
