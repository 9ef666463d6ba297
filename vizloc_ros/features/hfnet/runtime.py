"""``FeatureExtractor`` of the exported HF-Net in ONNX Runtime, without PyTorch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import AfterValidator, Field

from vizloc_ros.arrays import UInt8
from vizloc_ros.errors import ConfigError, FeatureError
from vizloc_ros.features.device import Device
from vizloc_ros.features.gray_image import gray_image
from vizloc_ros.features.hfnet.image_size import shrink_to_cells
from vizloc_ros.features.hfnet.weights import DEFAULT_WEIGHTS, OUTPUTS, Description, read_weights
from vizloc_ros.features.onnx_session import ORT_ERRORS, WARM_UP_RUNS, one_line, open_session
from vizloc_ros.features.types import Features, quantize
from vizloc_ros.options import Options, validated


def _absolute(path: str) -> str:
    """Absolute path, because a map may be opened from another folder than it was built from; empty stays empty."""
    return str(Path(path).resolve()) if path else ""


class HfNetOptions(Options):
    """Options that the features depend on; they are stored in a map, unlike the ``Device``.

    Attributes:
        weights: exported file; empty for the one in the package.
        max_keypoints: maximum number of keypoints, best first.
        threshold: minimum score, a probability.
        long_side: length of the longer side of an image after shrinking; images are never enlarged [px].
        refine: True to refine keypoints to a fraction of a pixel.
    """

    weights: Annotated[str, AfterValidator(_absolute)] = ""
    max_keypoints: int = Field(default=2048, ge=1)
    threshold: float = Field(default=0.005, ge=0, lt=1)
    long_side: int = Field(default=640, ge=16)
    refine: bool = True


class HfNetExtractor:
    """``FeatureExtractor`` of HF-Net. Thread-safe.

    Attributes:
        description: metadata of the exported file.
    """

    name: ClassVar[str] = "hfnet"

    def __init__(self, settings: HfNetOptions, device: Device) -> None:
        """Open the weights; the errors are those of ``open``."""
        self._settings, self._device = settings, device
        weights = read_weights(device.weights or Path(settings.weights or DEFAULT_WEIGHTS))
        self._path = weights.path
        self._session = open_session(weights, device)
        self.description = Description.of(self._session, weights.path)
        if settings.max_keypoints > self.description.max_keypoints:
            raise ConfigError(
                f"{weights.path}: finds at most {self.description.max_keypoints} keypoints, and max_keypoints is "
                f"{settings.max_keypoints}: set it lower, or export the network with more"
            )

    def __reduce__(self) -> "tuple[type[HfNetExtractor], tuple[HfNetOptions, Device]]":
        return HfNetExtractor, (self._settings, self._device)  # another process opens its own session

    @classmethod
    def open(cls, settings: dict[str, Any], folder: Path | None, device: Device | None = None) -> "HfNetExtractor":
        """Open the extractor, see ``open_extractor``.

        Args:
            settings: those of ``HfNetOptions`` that differ from the defaults.
            folder: ignored, because nothing is learned on a map's images.
            device: device to run on; the CPU by default.

        Raises:
            ConfigError: a setting is unknown or impossible.
            DeviceError: the device is not available.
            FeatureError: the weights are missing, damaged, or no HF-Net.
        """
        return cls(validated(HfNetOptions, settings, f"settings of {cls.name}"), device or Device())

    @property
    def settings(self) -> dict[str, Any]:
        """Plain values with which ``open`` makes the same extractor."""
        return self._settings.model_dump()

    @property
    def feature_id(self) -> str:
        """Identifier such as ``hfnet-1a2b3c4d-2048-0.005-640-refined``; the second part depends on the weights."""
        own = self._settings
        numbers = f"{own.max_keypoints}-{own.threshold:g}-{own.long_side}-{'refined' if own.refine else 'pixels'}"
        return f"{self.name}-{self.description.weights_id}-{numbers}"

    def warm_up(self, size: tuple[int, int]) -> None:
        """Prepare the device for images of (width, height), so that the first one takes no longer.

        A network of fixed size is prepared for its own size: the camera's images may differ from those of the map.
        """
        image = np.zeros((self.description.size or size)[::-1], np.uint8)
        for _ in range(WARM_UP_RUNS):
            self.extract(image)

    def extract(self, image: UInt8) -> Features:
        """Extract features from an (H, W) gray or (H, W, 3) BGR image; a uniform image has no keypoints.

        Raises:
            ImageError: the image has another type, is too small, or not of the size that the network was exported for.
            FeatureError: the device fails, e.g. because of too little memory.
        """
        gray = gray_image(image)
        fitted = shrink_to_cells(gray, self._settings.long_side, self.description.size, self.description.multiple)
        keypoints, offsets, scores, descriptors, global_descriptor = self._run(fitted.pixels)
        valid = (scores > self._settings.threshold) & fitted.inside(keypoints)
        if np.ptp(fitted.pixels) == 0:
            valid[:] = False
        chosen = np.flatnonzero(valid)[: self._settings.max_keypoints]
        points = keypoints[chosen] + offsets[chosen] if self._settings.refine else keypoints[chosen]
        return Features(
            fitted.original(points),
            scores[chosen],
            quantize(descriptors[chosen]),
            global_descriptor,
            (gray.shape[1], gray.shape[0]),
        )

    def describe(self, features: Features) -> Features:
        """Return the features unchanged: they have a global descriptor already."""
        return features

    def learn(self, features: Sequence[Features], seed: int) -> "HfNetExtractor":
        """Return the extractor unchanged: nothing is learned on a map's images."""
        return self

    def save(self, folder: Path) -> None:
        """Write nothing: ``feature_id`` identifies the weights."""

    def _run(self, pixels: UInt8) -> list[Any]:
        """Run the network on a fitted image (H, W); the outputs are those of ``postprocessing.Extracted``."""
        location = ("cpu", 0) if self._device.provider == "cpu" else ("cuda", self._device.index)
        binding = self._session.io_binding()
        try:
            binding.bind_cpu_input("image", pixels[None, None])
            for output in OUTPUTS:
                binding.bind_output(output, *location)
            self._session.run_with_iobinding(binding)
            return binding.copy_outputs_to_cpu()
        except ORT_ERRORS as error:
            size = f"{pixels.shape[1]}x{pixels.shape[0]}"
            raise FeatureError(
                f"{self._path}: fails on '{self._device.provider}' with an image of {size} ({one_line(error)})"
            ) from error
