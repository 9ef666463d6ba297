"""Interface of the extractors of dense features, and a function that opens them by name."""

from pathlib import Path
from typing import Protocol

from vizloc_ros.arrays import UInt8
from vizloc_ros.features.device import Device
from vizloc_ros.pixloc.optimizer.alignment_options import LearnedAlignment
from vizloc_ros.pixloc.patches import SmoothedImage
from vizloc_ros.pixloc.pyramid import FeaturePyramid


class PyramidExtractor(Protocol):
    """Extracts feature pyramids of images (PixLoc, section 3.1). Calls may come from several threads."""

    @property
    def model_id(self) -> str:
        """Name that changes with everything on which features depend; those of a map must be of the same name."""
        ...

    @property
    def learned(self) -> LearnedAlignment:
        """Damping and robust cost that belong to the features."""
        ...

    @property
    def unit_features(self) -> bool:
        """True if features are of unit length; intensities are not."""
        ...

    def extract(self, image: UInt8) -> FeaturePyramid:
        """Extract the pyramid of a (H, W) gray or (H, W, 3) BGR image.

        Raises:
            ImageError: the image is too small or too long.
        """
        ...

    def smoothed(self, image: UInt8) -> SmoothedImage | None:
        """Return the image for patches alone, in a fraction of the time; None without the fine level.

        As that of the pyramid; raises as ``extract``.
        """
        ...


def open_pyramid_extractor(name: str = "", device: Device | None = None, long_side: int = 640) -> PyramidExtractor:
    """Open an extractor.

    Args:
        name: path of a network that ``vizloc export pixloc`` wrote, empty for the package's own, or ``photometric``
            for intensities.
        device: device on which a network runs; the CPU by default.
        long_side: longer side to which an image is shrunk [px].

    Raises:
        FeatureError: the network is missing, damaged, or another file.
        DeviceError: the device is not available.
    """
    if name == "photometric":
        from vizloc_ros.pixloc.extractors.photometric import IntensityExtractor

        return IntensityExtractor(long_side)
    from vizloc_ros.pixloc.extractors.network_extractor import NetworkExtractor
    from vizloc_ros.pixloc.extractors.pixloc_weights import DEFAULT_WEIGHTS

    return NetworkExtractor(Path(name) if name else DEFAULT_WEIGHTS, device or Device(), long_side)
