"""Teacher of the local heads: any ONNX file with dense descriptors and detector scores."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from vizloc_ros.arrays import Bool, Float32, Float64, UInt8
from vizloc_ros.features.device import Device
from vizloc_ros.features.hfnet.hfnet_config import CELL
from vizloc_ros.features.onnx_dense_network import DenseMaps, DenseNetwork, DenseNetworkConfig
from vizloc_ros.features.onnx_features import local_maxima
from vizloc_ros.features.onnx_session import read_network
from vizloc_ros.features.types import quantize
from vizloc_ros.options import Options
from vizloc_ros.training.fingerprint import fingerprint, teacher_fingerprint
from vizloc_ros.training.teacher.joined_descriptors import JoinedDescriptors
from vizloc_ros.training.teacher.targets import Targets, soft_labels


class TeacherOptions(Options):
    """Options of the teacher.

    Attributes:
        path: ONNX file.
        network: inputs and outputs of the file, as far as its names and shapes leave them open.
        keypoint_ratio: number of target keypoints per pixel of the image.
        provider: device, ``cpu`` or ``cuda``; the targets do not depend on it.
    """

    path: Path
    network: DenseNetworkConfig = DenseNetworkConfig()
    keypoint_ratio: float = Field(default=1 / 300, gt=0, le=1 / CELL**2)
    provider: Literal["cpu", "cuda"] = Field(default="cpu", exclude=True)


@dataclass(frozen=True)
class Source:
    """Image that a view was made from.

    Attributes:
        image: (H, W) gray image.
        image_from_view: (3, 3) homography between their pixels.
    """

    image: UInt8
    image_from_view: Float64

    def original(self, points: Float32) -> Float32:
        """Move (N, 2) pixels of the view to the image."""
        moved = np.concatenate([points, np.ones_like(points[:, :1])], axis=1) @ self.image_from_view.T
        return (moved[:, :2] / moved[:, 2:]).astype(np.float32)

    def shows(self, points: Float32) -> Bool:
        """Mask (N,) of pixels of the view that are inside the image, and not mirrored at its border."""
        height, width = self.image.shape
        points = self.original(points)
        return np.asarray(((points >= 0) & (points <= [width - 1, height - 1])).all(axis=1))


class Teacher:
    """Teacher of keypoints and local descriptors.

    Attributes:
        network: the network.
        fingerprint: fingerprint of the network, its options and the descriptors joined to its own.
    """

    def __init__(self, options: TeacherOptions, threads: int = 0) -> None:
        """Open the network, with threads on the CPU (0 for all cores)."""
        self._options = options
        self._joined: JoinedDescriptors | None = None
        self.network = DenseNetwork(options.path, options.network, Device(options.provider, threads))
        self.fingerprint = teacher_fingerprint(options.path, options)

    def join(self, joined: JoinedDescriptors) -> None:
        """Join the descriptors of other networks to those of this one."""
        self._joined = joined
        files = (read_network(network.path).checksum for network in joined.networks)
        self.fingerprint = fingerprint(self.fingerprint, *files, joined.checksum)

    def targets(self, image: UInt8, source: Source | None = None) -> Targets:
        """Targets for a (H, W) gray image whose sides are multiples of 8.

        Args:
            image: image, or view of another image.
            source: the other image, to take the descriptors from; keypoints outside of it are left out.
        """
        maps = self.network.maps(image)
        odds = maps.odds
        height, width = image.shape
        keypoints = local_maxima(odds, round(self._options.keypoint_ratio * odds.size)).astype(np.float32)
        rows, columns = np.mgrid[0 : height // CELL, 0 : width // CELL]
        centers = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float32) * CELL + (CELL - 1) / 2
        points = keypoints
        if source is not None:
            image, maps = source.image, self.network.maps(source.image)
            keypoints = keypoints[source.shows(keypoints)]
            centers, points = source.original(centers), source.original(keypoints)
        sample = self._sampler(image, maps)
        dense = quantize(sample(centers))
        return Targets(
            soft_labels(odds).astype(np.float16),
            np.ascontiguousarray(dense.T).reshape(-1, height // CELL, width // CELL),
            keypoints,
            quantize(sample(points)),
        )

    def _sampler(self, image: UInt8, maps: DenseMaps) -> Callable[[Float32], Float32]:
        """Function that samples unit descriptors (N, D) at (N, 2) pixels of an image with the network's maps."""
        joined = self._joined
        if joined is None:
            return maps.sample
        every = [maps, *(network.maps(image) for network in joined.networks)]
        return lambda points: joined.sample(every, points)
