"""What a feature front end is, and how configuration chooses one.

A front end whose global descriptor is learned on the map's images (VLAD) is returned by ``learn``; before, ``extract``
makes preliminary features, which ``describe`` of the learned one completes. HF-Net, trained beforehand, returns itself.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vizloc_ros.arrays import UInt8
from vizloc_ros.errors import ConfigError, DeviceError
from vizloc_ros.features.types import Features

if TYPE_CHECKING:
    from vizloc_ros.features.device import Device


class FeatureExtractor(Protocol):
    """Turns a rectified image into ``Features``. Calls may come from several threads."""

    @property
    def name(self) -> str:
        """The configured name, e.g. ``rootsift``."""
        ...

    @property
    def feature_id(self) -> str:
        """Names everything that the numbers depend on: features of different ids must never be compared."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """What ``open_extractor`` needs to make the same extractor again; plain YAML values."""
        ...

    def warm_up(self, size: tuple[int, int]) -> None:
        """Prepares for images of (width, height), so that the first one takes no longer than the others."""
        ...

    def extract(self, image: UInt8) -> Features:
        """Features of a (H, W) gray or (H, W, 3) BGR image."""
        ...

    def describe(self, features: Features) -> Features:
        """Features made before ``learn``, completed. Raises ``FeatureError`` if this extractor has not learned."""
        ...

    def learn(self, features: Sequence[Features], seed: int) -> "FeatureExtractor":
        """The extractor with what it has to learn from the map's images learned."""
        ...

    def save(self, folder: Path) -> None:
        """Writes what was learned as flat ``.npy`` files into an existing folder."""
        ...


def open_extractor(
    name: str,
    settings: dict[str, Any] | None = None,
    folder: Path | None = None,
    device: "Device | None" = None,
) -> FeatureExtractor:
    """The extractor of a name.

    Args:
        name: ``hfnet``, ``rootsift``, or the path of an ONNX file: an exported HF-Net, or any network with dense
            descriptors and a detector.
        settings: as ``FeatureExtractor.settings`` of the extractor that built a map; the defaults where absent.
        folder: where ``save`` wrote what was learned; without it the extractor has yet to learn.
        device: what a network runs on; the CPU where absent.

    Raises:
        ConfigError: no such extractor, or settings it does not know.
        DeviceError: the device cannot be had, or is nothing that the extractor runs on.
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
