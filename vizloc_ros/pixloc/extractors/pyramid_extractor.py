"""The interface of everything that makes dense features, and how one is opened."""

from pathlib import Path
from typing import Protocol

from vizloc_ros.arrays import UInt8
from vizloc_ros.features.device import Device
from vizloc_ros.pixloc.optimizer.alignment_options import LearnedAlignment
from vizloc_ros.pixloc.pyramid import FeaturePyramid


class PyramidExtractor(Protocol):
    """Makes pyramids. Calls may come from several threads."""

    @property
    def model_id(self) -> str:
        """Changes with everything that the features depend on; references of another one are refused."""
        ...

    @property
    def learned(self) -> LearnedAlignment:
        """Damping and loss that belong to the features."""
        ...

    @property
    def unit_features(self) -> bool:
        """Whether features are of unit length; intensities are not."""
        ...

    def extract(self, image: UInt8) -> FeaturePyramid:
        """The pyramid of a (H, W) gray or (H, W, 3) BGR image. Raises ``ImageError`` for one of impossible size."""
        ...


def open_pyramid_extractor(name: str = "", device: Device | None = None, long_side: int = 640) -> PyramidExtractor:
    """The extractor of a name.

    Args:
        name: the path of a network that ``vizloc export pixloc`` wrote, empty for the package's own, or
            ``photometric`` for intensities.
        device: what a network runs on; the CPU where absent.
        long_side: what the longer side of an image is shrunk to [px].

    Raises:
        FeatureError: the network is missing, damaged, or something else.
        DeviceError: the device cannot be had.
    """
    if name == "photometric":
        from vizloc_ros.pixloc.extractors.photometric import IntensityExtractor

        return IntensityExtractor(long_side)
    from vizloc_ros.pixloc.extractors.network_extractor import NetworkExtractor
    from vizloc_ros.pixloc.extractors.pixloc_weights import DEFAULT_WEIGHTS

    return NetworkExtractor(Path(name) if name else DEFAULT_WEIGHTS, device or Device(), long_side)
