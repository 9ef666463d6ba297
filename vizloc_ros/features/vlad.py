"""VLAD: a global descriptor from local ones, and extractors that learn its vocabulary on the images of a map."""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import Field
from scipy.sparse import csr_matrix

from vizloc_ros.arrays import UNREADABLE_ARRAY, Float32, Int8, Int32, UInt8
from vizloc_ros.bounded import read_array
from vizloc_ros.errors import FeatureError, MapError
from vizloc_ros.features.types import Features, dequantize
from vizloc_ros.options import Options

_MAX_VOCABULARY_SAMPLES = 100_000
_MAX_PCA_SAMPLES = 4096
_SUBSETS_PER_IMAGE = 4
_CLUSTER_ITERATIONS = 15


@dataclass(frozen=True)
class Vlad:
    """Vocabulary of VLAD, and the projection of its vectors to global descriptors.

    Attributes:
        words: (K, D) float32 cluster centres of local descriptors.
        mean: (K * D,) float32 mean of the vectors before the projection.
        projection: (K * D, G) float32 whitening PCA.
    """

    words: Float32
    mean: Float32
    projection: Float32

    def __post_init__(self) -> None:
        size = self.words.size
        if self.words.ndim != 2 or self.mean.shape != (size,) or self.projection.shape[:1] != (size,):
            raise FeatureError(
                f"the VLAD arrays do not fit together: words {self.words.shape}, mean {self.mean.shape}, "
                f"projection {self.projection.shape}: build the map again"
            )

    @property
    def dimension(self) -> int:
        """Length G of a global descriptor."""
        return int(self.projection.shape[1])

    @property
    def fingerprint(self) -> str:
        """CRC-32 of the three arrays, eight hexadecimal digits."""
        checksum = 0
        for array in (self.words, self.mean, self.projection):
            checksum = zlib.crc32(np.ascontiguousarray(array).data, checksum)
        return f"{checksum:08x}"

    def describe(self, descriptors: Int8) -> Float32:
        """Global descriptor (G,) of the (N, D) local descriptors of an image; N may be 0."""
        if descriptors.shape[1] != self.words.shape[1]:
            raise FeatureError(
                f"the vocabulary is for descriptors of {self.words.shape[1]} elements, these have "
                f"{descriptors.shape[1]}: use the extractor that the map was built with"
            )
        vector = aggregate(dequantize(descriptors), self.words) - self.mean
        return _unit((vector @ self.projection).astype(np.float32, copy=False))

    @classmethod
    def learn(cls, features: Sequence[Features], *, words: int, dimension: int, seed: int) -> "Vlad":
        """Learn vocabulary and whitening on the features of a map's images.

        The whitening is learned on random subsets of every image's keypoints. With fewer images than dimensions,
        whitening of whole images would make all of them equally far from each other. Subsets separate the directions
        that differ between places from those that are noise of one place.

        Args:
            features: features of the map's images.
            words: size K of the vocabulary.
            dimension: maximum length G of a global descriptor; few images give a shorter one.
            seed: seed of sampling and k-means.

        Raises:
            FeatureError: fewer than two images have enough keypoints.
        """
        rng = np.random.default_rng(seed)
        described = [f.descriptors for f in features if len(f) >= words]
        if len(described) < 2:
            raise FeatureError(
                f"only {len(described)} of {len(features)} images have the {words} keypoints that a VLAD vocabulary "
                "needs: the images are too dark, too blurred or too small"
            )
        centres = k_means(_sample(described, _MAX_VOCABULARY_SAMPLES, rng), words, rng)
        vectors = np.stack(list(_subset_vectors(described, centres, rng)))
        mean = vectors.mean(axis=0)
        projection = _whitening(vectors - mean, min(dimension, len(described) // 2 + 1))
        return cls(centres, mean, projection)


def k_means(samples: Float32, words: int, rng: np.random.Generator) -> Float32:
    """K-means centres (K, D) of (N, D) samples: Lloyd's algorithm, two matrix products an iteration."""
    centres = samples[rng.choice(len(samples), words, replace=False)]
    for _ in range(_CLUSTER_ITERATIONS):
        member = _membership(_nearest_word(samples, centres), words)
        counts = np.asarray(member.sum(axis=1))
        means = (member @ samples) / np.maximum(counts, 1)
        # A word without members restarts at a random sample.
        centres = np.where(counts > 0, means, samples[rng.choice(len(samples), words)]).astype(np.float32)
    return centres


def _sample(described: Sequence[Int8], count: int, rng: np.random.Generator) -> Float32:
    """About ``count`` local descriptors (N, D), the same number from every image."""
    per_image = max(1, count // len(described))
    chosen = [d if len(d) <= per_image else d[rng.choice(len(d), per_image, replace=False)] for d in described]
    return dequantize(np.concatenate(chosen))


def _subset_vectors(described: Sequence[Int8], words: Float32, rng: np.random.Generator) -> Iterator[Float32]:
    """VLAD vectors (K * D,) before the projection, of random halves of the images' keypoints."""
    images = rng.permutation(len(described))[: max(2, _MAX_PCA_SAMPLES // _SUBSETS_PER_IMAGE)]
    for i in images:
        descriptors = dequantize(described[i])
        nearest = _nearest_word(descriptors, words)
        for _ in range(_SUBSETS_PER_IMAGE):
            half = rng.random(len(descriptors)) < 0.5
            yield aggregate(descriptors[half], words, nearest[half])


def _nearest_word(descriptors: Float32, words: Float32) -> Int32:
    """Indices (N,) of the nearest words; |d - w|^2 = const - 2 d.w + |w|^2."""
    return np.argmax(descriptors @ words.T - 0.5 * (words**2).sum(axis=1), axis=1).astype(np.int32)


def _membership(nearest: Int32, words: int) -> csr_matrix:
    """Sparse matrix (K, N) that sums descriptors by word: one 1 in every column."""
    count = len(nearest)
    return csr_matrix((np.ones(count, np.float32), (nearest, np.arange(count))), shape=(words, count))


def aggregate(descriptors: Float32, words: Float32, nearest: Int32 | None = None) -> Float32:
    """Sums of residuals by word, (K * D,): each word's block, then the whole vector, scaled to unit length."""
    if nearest is None:
        nearest = _nearest_word(descriptors, words)
    member = _membership(nearest, len(words))
    residuals = member @ descriptors - np.asarray(member.sum(axis=1)) * words
    return _unit(_unit(residuals).reshape(-1))


def _whitening(vectors: Float32, dimension: int) -> Float32:
    """Whitening PCA (K * D, G) of centred (N, K * D) vectors, by the smaller of their two Gram matrices."""
    count, size = vectors.shape
    values, axes = np.linalg.eigh(vectors @ vectors.T if count < size else vectors.T @ vectors)
    kept = np.flatnonzero(values > 1e-6 * values[-1])[::-1][:dimension]
    values, axes = values[kept], axes[:, kept]
    if count < size:
        axes = vectors.T @ axes / np.sqrt(values)
    return np.ascontiguousarray(axes * np.sqrt(count / values), dtype=np.float32)


def _unit(vectors: Float32) -> Float32:
    """Scale the last axis to unit length; zero vectors stay zero."""
    norms = np.sqrt((vectors * vectors).sum(axis=-1, keepdims=True))
    unit: Float32 = vectors / np.maximum(norms, np.float32(1e-9))
    return unit


_FILES = {"words": "vlad_words.npy", "mean": "vlad_mean.npy", "projection": "vlad_projection.npy"}
_Learned = TypeVar("_Learned", bound="LocalVlad")


class VladOptions(Options):
    """Options of every extractor with VLAD.

    Attributes:
        words: size K of the vocabulary.
        dimension: maximum length G of a global descriptor.
    """

    words: int = Field(default=64, ge=1)
    dimension: int = Field(default=1024, ge=1)


@dataclass(frozen=True, kw_only=True)
class LocalVlad(ABC):
    """Base of the extractors that add a VLAD descriptor to local features of any kind.

    Attributes:
        words: size K of the vocabulary.
        dimension: maximum length G of a global descriptor.
        vlad: learned vocabulary; None before ``learn``.
    """

    words: int = 64
    dimension: int = 1024
    vlad: Vlad | None = None

    @property
    @abstractmethod
    def local_id(self) -> str:
        """Identifier of all that the local features depend on."""

    @abstractmethod
    def extract_local(self, image: UInt8) -> Features:
        """Extract local features from an (H, W) gray or (H, W, 3) BGR image; the global descriptor stays empty."""

    @property
    def feature_id(self) -> str:
        """Identifier of the features, e.g. ``rootsift-2048-0.02+vlad-64-70-1a2b3c4d``."""
        vlad = "unlearned" if self.vlad is None else f"{self.words}-{self.vlad.dimension}-{self.vlad.fingerprint}"
        return f"{self.local_id}+vlad-{vlad}"

    def warm_up(self, size: tuple[int, int]) -> None:
        """Extract features from a black image of (width, height)."""
        self.extract_local(np.zeros(size[::-1], np.uint8))

    def extract(self, image: UInt8) -> Features:
        """Extract local features, and the global descriptor if the vocabulary is learned."""
        features = self.extract_local(image)
        return features if self.vlad is None else self.describe(features)

    def describe(self, features: Features) -> Features:
        """Add the VLAD descriptor. Raises ``FeatureError`` without a vocabulary."""
        if self.vlad is None:
            raise FeatureError("the VLAD vocabulary is learned when a map is built: give the map to take it from")
        return replace(features, global_descriptor=self.vlad.describe(features.descriptors))

    def learn(self: _Learned, features: Sequence[Features], seed: int) -> _Learned:
        """Return the extractor with a vocabulary learned on these features."""
        return replace(self, vlad=Vlad.learn(features, words=self.words, dimension=self.dimension, seed=seed))

    def save(self, folder: Path) -> None:
        """Write vocabulary, mean and projection. Raises ``FeatureError`` without a vocabulary."""
        if self.vlad is None:
            raise FeatureError("there is no vocabulary to save: learn first")
        for attribute, file in _FILES.items():
            np.save(folder / file, getattr(self.vlad, attribute), allow_pickle=False)


def load_vlad(folder: Path | None) -> Vlad | None:
    """Read the files of ``LocalVlad.save``; None without a folder. Raises ``MapError`` for a damaged file."""
    if folder is None:
        return None
    arrays = {}
    for attribute, file in _FILES.items():
        try:
            arrays[attribute] = read_array(folder / file)
        except UNREADABLE_ARRAY as error:
            raise MapError(f"{folder / file}: cannot be read ({error}): check the map, or build it again") from error
    return Vlad(**arrays)
