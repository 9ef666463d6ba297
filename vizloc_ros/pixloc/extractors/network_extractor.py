"""Extractor that runs an exported PixLoc network in ONNX Runtime, without PyTorch."""

from pathlib import Path

import numpy as np

from vizloc_ros.arrays import UInt8
from vizloc_ros.errors import FeatureError
from vizloc_ros.features.device import Device
from vizloc_ros.features.gray_image import gray_image
from vizloc_ros.features.onnx_session import ORT_ERRORS, one_line, open_session
from vizloc_ros.pixloc.extractors.pixloc_weights import Description, read_weights
from vizloc_ros.pixloc.image_fit import scale_to_multiples
from vizloc_ros.pixloc.optimizer.alignment_options import LearnedAlignment
from vizloc_ros.pixloc.patches import SmoothedImage
from vizloc_ros.pixloc.pyramid import FeaturePyramid, level_of_image


class NetworkExtractor:
    """A ``PyramidExtractor`` of the features and confidences of a network (PixLoc, section 3.1).

    Attributes:
        description: metadata of the network's file.
    """

    unit_features = True

    def __init__(self, path: Path, device: Device, long_side: int = 640) -> None:
        """Open an exported file. Images are shrunk to ``long_side`` [px]. Raises as ``open_pyramid_extractor``."""
        weights = read_weights(path)
        self._path, self._device, self._long_side = path, device, long_side
        self._session = open_session(weights, device)
        self.description = Description.of(self._session, path)

    def __reduce__(self) -> "tuple[type[NetworkExtractor], tuple[Path, Device, int]]":
        return NetworkExtractor, (self._path, self._device, self._long_side)  # another process opens its own session

    @property
    def model_id(self) -> str:
        """Name such as ``pixloc-light-1a2b3c4d-640``; the third part changes with the weights."""
        return f"pixloc-{self.description.kind}-{self.description.weights_id}-{self._long_side}"

    @property
    def learned(self) -> LearnedAlignment:
        """Learned damping and robust cost."""
        return self.description.learned

    def extract(self, image: UInt8) -> FeaturePyramid:
        """Extract the pyramid; as ``PyramidExtractor.extract``. Raises ``FeatureError`` if the device fails."""
        fitted = scale_to_multiples(gray_image(image), self._long_side)
        try:
            outputs = self._session.run(None, {"image": fitted[None, None]})
        except ORT_ERRORS as error:
            shape = f"{fitted.shape[1]}x{fitted.shape[0]}"
            raise FeatureError(
                f"{self._path}: fails on '{self._device.provider}' with an image of {shape} ({one_line(error)})"
            ) from error
        size = (image.shape[1], image.shape[0])
        return FeaturePyramid(
            tuple(
                level_of_image(np.asarray(features[0]), np.asarray(confidences[0]), size, normalize=False)
                for features, confidences in zip(outputs[::2], outputs[1::2], strict=True)
            ),
            size,
            SmoothedImage.of(fitted, size),
        )

    def smoothed(self, image: UInt8) -> SmoothedImage:
        """Return the image for patches, without running the network; as ``PyramidExtractor.smoothed``."""
        fitted = scale_to_multiples(gray_image(image), self._long_side)
        return SmoothedImage.of(fitted, (image.shape[1], image.shape[0]))
