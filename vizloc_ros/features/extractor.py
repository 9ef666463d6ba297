"""Interface of feature extractors, and their choice by name.

A VLAD descriptor is learned on the images of a map: ``extract`` first returns features without a global descriptor,
and ``describe`` of the extractor that ``learn`` returns adds it. HF-Net is trained in advance; its ``learn`` returns
the extractor itself.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vizloc_ros.arrays import UInt8
from vizloc_ros.errors import ConfigError, DeviceError
from vizloc_ros.features.types import Features

if TYPE_CHECKING:
    from vizloc_ros.features.device import Device


class FeatureKind(Protocol):
    """Kind of features: all that a map stores of its extractor."""

    @property
    def name(self) -> str:
        """Name of the extractor, e.g. ``rootsift``."""
        ...

    @property
    def feature_id(self) -> str:
        """Identifier of all that the features depend on; features with different ones must not be compared."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """Settings with which ``open_extractor`` makes the same extractor again; plain YAML values."""
        ...

    def save(self, folder: Path) -> None:
        """Write the result of ``learn`` as ``.npy`` files into an existing folder."""
        ...


class FeatureExtractor(FeatureKind, Protocol):
    """Extractor of ``Features`` from rectified images. Thread-safe."""

    def warm_up(self, size: tuple[int, int]) -> None:
        """Prepare for images of (width, height), so that the first one takes no longer than the others."""
        ...

    def extract(self, image: UInt8) -> Features:
        """Extract features from an (H, W) gray or (H, W, 3) BGR image."""
        ...

    def describe(self, features: Features) -> Features:
        """Add the global descriptor to features. Raises ``FeatureError`` if it must be learned first."""
        ...

    def learn(self, features: Sequence[Features], seed: int) -> "FeatureExtractor":
        """Return an extractor whose global descriptor is learned on the features of a map's images."""
        ...


def open_extractor(
    name: str,
    settings: dict[str, Any] | None = None,
    folder: Path | None = None,
    device: "Device | None" = None,
) -> FeatureExtractor:
    """Open an extractor by its name.

    Args:
        name: ``hfnet``, ``rootsift``, or the path of an ONNX file: an exported HF-Net, or any network with dense
            descriptors and a detector.
        settings: ``FeatureExtractor.settings`` of the extractor that built a map; missing ones have their defaults.
        folder: folder that ``save`` wrote to; without it the extractor has not learned yet.
        device: device that a network runs on; the CPU by default.

    Raises:
        ConfigError: no such extractor, or unknown settings.
        DeviceError: the device is not available, or the extractor does not run on it.
        FeatureError: the file of a network is missing, damaged, or not the one that the map was built with.
    """
    settings = settings or {}
    if name == "rootsift":
        from vizloc_ros.features.rootsift import RootSiftVlad

        if device is not None and device.provider != "cpu":
            raise DeviceError(f"rootsift runs on the CPU only: set the provider to cpu instead of {device.provider}")
        return RootSiftVlad.open(settings, folder)
    if name == "hfnet":
        from vizloc_ros.features.hfnet.runtime import HfNetExtractor

        return HfNetExtractor.open(settings, folder, device)
    if name.endswith(".onnx"):
        return _open_network({"path": name, **settings}, folder, device)
    raise ConfigError(
        f"there is no feature extractor '{name}'; there is: hfnet, rootsift, or the path of an .onnx file"
    )


def _open_network(settings: dict[str, Any], folder: Path | None, device: "Device | None") -> FeatureExtractor:
    from vizloc_ros.features.hfnet.weights import HFNET_METADATA
    from vizloc_ros.features.onnx_features import OnnxFeatures
    from vizloc_ros.features.onnx_session import network_metadata

    path = Path(settings["path"])
    if HFNET_METADATA in network_metadata(path):
        settings = {key: value for key, value in settings.items() if key != "path"}
        return open_extractor("hfnet", {"weights": str(path), **settings}, folder, device)
    return OnnxFeatures.open(settings, folder, device)
