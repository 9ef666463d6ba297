"""Descriptors of several networks joined to one: one finds its way over seasons, another over viewpoints.

The unit descriptors of all networks at a point, one after the other, are reduced to the length of the first one's by
PCA without centering, which keeps most of their similarities. A rotation then brings them as near to the first
network's descriptors as possible, so that a student that starts as that network starts near its targets.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np

from vizloc_ros.arrays import UNREADABLE_ARRAY, Float32, UInt8
from vizloc_ros.errors import InputError
from vizloc_ros.features.onnx_dense_network import DenseMaps, DenseNetwork
from vizloc_ros.features.onnx_features import local_maxima
from vizloc_ros.files import replacing

_KEYPOINTS = 300  # of an image that the projection is learned on
_MIN_SAMPLES = 4  # keypoints for each element of the joined descriptors


@dataclass(frozen=True)
class JoinedDescriptors:
    """Descriptors of several networks, reduced to D elements.

    Attributes:
        networks: the networks after the first one.
        projection: (sum of all lengths, D) matrix from descriptors one after the other to joined ones.
    """

    networks: tuple[DenseNetwork, ...]
    projection: Float32

    @classmethod
    def learn(
        cls, first: DenseNetwork, networks: Sequence[DenseNetwork], images: Iterable[UInt8]
    ) -> "JoinedDescriptors":
        """Learn the projection from the descriptors at the first network's keypoints.

        Args:
            first: network whose keypoints are used, and which the result resembles.
            networks: the other networks.
            images: gray images.

        Raises:
            InputError: the images have too few keypoints.
        """
        samples: list[Float32] = []
        dimension = 0
        for image in images:
            maps = [network.maps(image) for network in (first, *networks)]
            points = local_maxima(maps[0].odds, _KEYPOINTS).astype(np.float32)
            dimension = maps[0].descriptors.shape[0]
            samples.append(side_by_side(maps, points))
        joined = np.concatenate(samples) if samples else np.zeros((0, 1), np.float32)
        if len(joined) < _MIN_SAMPLES * joined.shape[1]:
            raise InputError(
                f"'joined': the images have {len(joined)} keypoints, too few to join descriptors of "
                f"{joined.shape[1]} elements: give more images"
            )
        axes = np.linalg.svd(joined.T @ joined)[0][:, :dimension]
        left, _, right = np.linalg.svd((joined @ axes).T @ joined[:, :dimension])  # Procrustes
        return cls(tuple(networks), (axes @ left @ right).astype(np.float32))

    @classmethod
    def read(cls, path: Path, networks: Sequence[DenseNetwork]) -> "JoinedDescriptors":
        """Read the projection. Raises ``InputError`` if the file is damaged."""
        try:
            return cls(tuple(networks), np.load(path, allow_pickle=False))
        except UNREADABLE_ARRAY as error:
            raise InputError(f"{path}: cannot be read ({error}): delete it, and it is made again") from error

    def write(self, path: Path) -> None:
        """Write the projection to a ``.npy`` file."""
        with replacing(path) as file:
            np.save(file, self.projection)

    @property
    def checksum(self) -> int:
        """Checksum of the projection."""
        return crc32(self.projection.tobytes())

    def sample(self, maps: Sequence[DenseMaps], points: Float32) -> Float32:
        """Joined unit descriptors (N, D) at (N, 2) pixels of an image with the maps of all networks."""
        joined = side_by_side(maps, points) @ self.projection
        return joined / np.maximum(np.linalg.norm(joined, axis=1, keepdims=True), np.float32(1e-9))


def side_by_side(maps: Sequence[DenseMaps], points: Float32) -> Float32:
    """Unit descriptors of all networks at (N, 2) pixels, one after the other."""
    return np.concatenate([of_network.sample(points) for of_network in maps], axis=1)
