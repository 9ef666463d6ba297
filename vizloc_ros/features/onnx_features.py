"""Features from a dense ONNX network, with a VLAD global descriptor learned on the map."""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
from pydantic import AfterValidator, Field

from vizloc_ros.arrays import Float32, Int64, UInt8
from vizloc_ros.errors import FeatureError, InputError
from vizloc_ros.features.device import Device
from vizloc_ros.features.onnx_dense_network import DenseMaps, DenseNetwork, DenseNetworkConfig
from vizloc_ros.features.onnx_session import ORT_ERRORS, described, one_line, open_session, read_network
from vizloc_ros.features.types import NO_GLOBAL_DESCRIPTOR, Features, quantize
from vizloc_ros.features.vlad import LocalVlad, VladOptions, load_vlad
from vizloc_ros.options import validated

NMS_RADIUS = 4  # no better pixel within this many rows and columns; pixels this close to the border are dropped [px]

# A map is opened from anywhere, not only from where it was built.
AbsolutePath = Annotated[Path, AfterValidator(Path.resolve)]


class OnnxFeaturesOptions(VladOptions):
    """Options of a dense network as feature extractor, and of its VLAD.

    Attributes:
        path: ONNX file of the network.
        descriptor_head: ONNX file that turns dense descriptors and keypoints into descriptors of the keypoints, as
            ALIKED's; without it the dense descriptors are sampled.
        checksums: checksums of these files when the map was built; other files are refused.
        max_keypoints: maximum number of keypoints, best first.
        threshold: minimum score, as a probability; logits are compared with its logit.
        subpixel: True to refine keypoints to a fraction of a pixel.
        network: inputs and outputs of the network.
    """

    path: AbsolutePath
    descriptor_head: AbsolutePath | None = None
    checksums: tuple[str, ...] | None = None
    max_keypoints: int = Field(default=2048, ge=1)
    threshold: float = Field(default=0.005, ge=0, lt=1)
    subpixel: bool = True
    network: DenseNetworkConfig = DenseNetworkConfig()

    @property
    def files(self) -> tuple[Path, ...]:
        """Files of the network and of the descriptor head."""
        return (self.path,) if self.descriptor_head is None else (self.path, self.descriptor_head)


class DescriptorHead:
    """Network that turns the dense descriptors of an image into descriptors of its keypoints."""

    def __init__(self, path: Path, device: Device) -> None:
        """Open a file. Raises ``FeatureError`` if it is no network, ``InputError`` if it is no descriptor head."""
        self._path, self._device = path, device
        self._session = open_session(read_network(path), device)
        inputs = self._session.get_inputs()
        by_rank = {len(value.shape): value.name for value in inputs}
        if sorted(len(value.shape) for value in inputs) != [2, 4]:
            raise InputError(f"{path}: a descriptor head takes dense features and keypoints, not {described(inputs)}")
        self._dense, self._keypoints = by_rank[4], by_rank[2]

    def __reduce__(self) -> "tuple[type[DescriptorHead], tuple[Path, Device]]":
        return DescriptorHead, (self._path, self._device)

    def describe(self, maps: DenseMaps, points: Float32) -> Float32:
        """Unit descriptors (N, D) at (N, 2) pixels."""
        inputs = {self._dense: maps.descriptors[None], self._keypoints: points}
        try:
            (descriptors, *_) = self._session.run(None, inputs)
        except ORT_ERRORS as error:
            shape = maps.descriptors.shape
            raise FeatureError(f"{self._path}: fails on features of {shape} ({one_line(error)})") from error
        return descriptors / np.maximum(np.linalg.norm(descriptors, axis=1, keepdims=True), np.float32(1e-9))


@dataclass(frozen=True)
class OnnxFeatures(LocalVlad):
    """``FeatureExtractor`` of a dense network with VLAD; without a vocabulary it cannot describe.

    Attributes:
        options: settings of the extractor.
        network: dense network.
        head: network that describes the keypoints, if there is one.
    """

    options: OnnxFeaturesOptions
    network: DenseNetwork
    head: DescriptorHead | None = None

    @classmethod
    def open(cls, settings: dict[str, Any], folder: Path | None, device: Device | None = None) -> "OnnxFeatures":
        """Open the extractor, see ``open_extractor``, with ``path`` among the settings.

        Raises:
            InputError: a setting is wrong, or the settings leave an output of the network open.
            DeviceError: the device is not available.
            FeatureError: a file is missing, no network, or not the one that the map was built with.
        """
        options = validated(OnnxFeaturesOptions, settings, f"settings of the network {settings.get('path')}")
        options = options.model_copy(update={"checksums": _checksums(options)})
        device = device or Device()
        network = DenseNetwork(options.path, options.network, device)
        head = DescriptorHead(options.descriptor_head, device) if options.descriptor_head else None
        return cls(options, network, head, words=options.words, dimension=options.dimension, vlad=load_vlad(folder))

    @property
    def name(self) -> str:
        """Name of the network's file."""
        return self.options.path.name

    @property
    def settings(self) -> dict[str, Any]:
        """Plain values with which ``open`` makes the same extractor."""
        return self.options.model_dump(mode="json")

    @property
    def local_id(self) -> str:
        """Identifier such as ``edgepoint2_e64-2048-1a2b3c4d``; the last part depends on every file and setting."""
        others = {"path", "descriptor_head", *VladOptions.model_fields}
        fingerprint = zlib.crc32(self.options.model_dump_json(exclude=others).encode())
        return f"{self.options.path.stem}-{self.options.max_keypoints}-{fingerprint:08x}"

    def extract_local(self, image: UInt8) -> Features:
        """Extract keypoints at the best local maxima of the scores, and their descriptors."""
        options, maps = self.options, self.network.maps(image)
        pixels = local_maxima(maps.scores, options.max_keypoints, maps.score_of(options.threshold))
        points = refine(maps, pixels) if options.subpixel else pixels.astype(np.float32)
        descriptors = self.head.describe(maps, points) if self.head else maps.sample(points)
        scores = maps.scores[pixels[:, 1], pixels[:, 0]]
        height, width = image.shape[:2]
        return Features(points, scores, quantize(descriptors), NO_GLOBAL_DESCRIPTOR, (width, height))


def local_maxima(scores: Float32, count: int, threshold: float = -np.inf) -> Int64:
    """Pixels (N, 2) (x, y) of the ``count`` best local maxima above ``threshold``, best first."""
    size = 2 * NMS_RADIUS + 1
    inner = (slice(NMS_RADIUS, -NMS_RADIUS),) * 2
    best = cv2.dilate(scores, np.ones((size, size), np.uint8))[inner]
    centre = scores[inner]
    rows, columns = np.nonzero((centre == best) & (centre > threshold))
    order = np.argsort(-centre[rows, columns], kind="stable")[:count]
    return np.stack([columns[order], rows[order]], axis=1) + NMS_RADIUS


def refine(maps: DenseMaps, pixels: Int64) -> Float32:
    """Sub-pixel positions (N, 2) of (N, 2) maxima that are not at the border.

    A quadratic without mixed term is fitted by least squares to the 3 x 3 logits around a maximum. It separates into a
    parabola through the sums of the columns and one through the sums of the rows. The logarithms of probabilities
    serve as logits: they fall off like a parabola, too.
    """
    x, y = pixels.T[:, :, None, None]
    near = np.arange(-1, 2)
    around = maps.scores[y + near[:, None], x + near]
    if maps.kind != "logit":
        around = np.log(np.maximum(around, np.float32(1e-9)))
    return (pixels + np.stack([_peak(around.sum(axis=1)), _peak(around.sum(axis=2))], axis=1)).astype(np.float32)


def _peak(values: Float32) -> Float32:
    """Peaks (N,) of the parabolas through (N, 3) values at -1, 0 and 1, at most half a pixel away."""
    before, at, after = values.T
    return np.clip((after - before) / np.maximum(2 * (2 * at - before - after), np.float32(1e-6)), -0.5, 0.5)


def _checksums(options: OnnxFeaturesOptions) -> tuple[str, ...]:
    """Checksums of the files. Raises ``FeatureError`` for a file that the map was not built with."""
    found = tuple(read_network(path).checksum for path in options.files)
    for path, checksum, wanted in zip(options.files, found, options.checksums or found, strict=False):
        if checksum != wanted:
            raise FeatureError(
                f"{path}: is not the network that the map was built with (checksum {checksum}, the map's {wanted}): "
                "put that one back, or build the map again"
            )
    return found
