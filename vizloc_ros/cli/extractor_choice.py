"""Several extractors of one command: ``--extractor hfnet --extractor PATH.onnx``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vizloc_ros.cli.config_file import read_mapping
from vizloc_ros.errors import ConfigError
from vizloc_ros.features.extractor import FeatureExtractor, open_extractor

if TYPE_CHECKING:
    from vizloc_ros.features.device import Device


def open_extractors(names: Sequence[str], config: Path | None, device: "Device") -> dict[str, FeatureExtractor]:
    """Extractors by name. Raises ``ConfigError`` if one file of options is given for several."""
    if config is not None and len(names) > 1:
        raise ConfigError(f"--extractor-config {config} is for one extractor, not for {', '.join(names)}: give one")
    settings = read_mapping(config)
    return {name: open_extractor(name, settings, device=device) for name in names}


def open_named_extractors(names: Sequence[str], config: Path | None, device: "Device") -> dict[str, FeatureExtractor]:
    """Extractors by a name that a file may have. Raises ``ConfigError`` also if two have the same."""
    extractors = {_short_name(name): opened for name, opened in open_extractors(names, config, device).items()}
    if len(extractors) < len(names):
        raise ConfigError(f"--extractor: two of {', '.join(names)} have the same name: rename a file")
    return extractors


def _short_name(extractor: str) -> str:
    return Path(extractor).stem if extractor.endswith(".onnx") else extractor
