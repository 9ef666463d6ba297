"""VLAD: a global descriptor from local ones, and extractors that learn its vocabulary from the images of a map."""

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy.sparse import csr_matrix

from vizloc_ros.arrays import UNREADABLE_ARRAY, Float32, Int8, Int32, UInt8
from vizloc_ros.errors import FeatureError, MapError
from vizloc_ros.features.types import Features, dequantize

_MAX_VOCABULARY_SAMPLES = 100_000
_MAX_PCA_SAMPLES = 4096
_SUBSETS_PER_IMAGE = 4
_CLUSTER_ITERATIONS = 15


@dataclass(frozen=True)
class Vlad:
    """A vocabulary and the projection behind it.

    Attributes:
        words: (K, D) float32 centres of the local descriptors.
        mean: (K * D,) float32 mean of the unprojected vectors.
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
        """Eight hexadecimal digits that change with any of the arrays."""
        checksum = 0
        for array in (self.words, self.mean, self.projection):
            checksum = zlib.crc32(np.ascontiguousarray(array).data, checksum)
        return f"{checksum:08x}"

    def describe(self, descriptors: Int8) -> Float32:
        """Global descriptor (G,) of an image's (N, D) local descriptors; the same for all that have none."""
        if descriptors.shape[1] != self.words.shape[1]:
            raise FeatureError(
                f"the vocabulary is for descriptors of {self.words.shape[1]} elements, these have "
                f"{descriptors.shape[1]}: use the extractor that the map was built with"
            )
        vector = _aggregate(dequantize(descriptors), self.words) - self.mean
        return _unit((vector @ self.projection).astype(np.float32, copy=False))

    @classmethod
    def learn(cls, features: Sequence[Features], *, words: int, dimension: int, seed: int) -> "Vlad":
        """Learns vocabulary and whitening on the features of a map's images.

        The whitening is learned on random subsets of every image's keypoints, not on the whole images alone: with
        fewer images than dimensions, whitening the images themselves makes all of them equally far from each other,
        while subsets show which directions tell places apart and which one place's noise.

        Args:
            features: of the map's images.
            words: size K of the vocabulary.
            dimension: the largest length G of a global descriptor; fewer when there are too few images.
            seed: of sampling and k-means.
        """
        rng = np.random.default_rng(seed)
        described = [f.descriptors for f in features if len(f) >= words]
        if len(described) < 2:
            raise FeatureError(
                f"only {len(described)} of {len(features)} images have the {words} keypoints that a VLAD vocabulary "
                "needs: the images are too dark, too blurred or too small"
            )
        centres = _cluster(_sample(described, _MAX_VOCABULARY_SAMPLES, rng), words, rng)
        vectors = np.stack(list(_subset_vectors(described, centres, rng)))
        mean = vectors.mean(axis=0)
        projection = _whitening(vectors - mean, min(dimension, len(described) // 2 + 1))
        return cls(centres, mean, projection)


def _cluster(samples: Float32, words: int, rng: np.random.Generator) -> Float32:
    """K-means centres (K, D) of (N, D) samples: Lloyd's iterations, each two matrix products."""
    centres = samples[rng.choice(len(samples), words, replace=False)]
    for _ in range(_CLUSTER_ITERATIONS):
        member = _membership(_nearest_word(samples, centres), words)
        counts = np.asarray(member.sum(axis=1))
        means = (member @ samples) / np.maximum(counts, 1)
        # A word that nothing is near to starts again at some sample.
        centres = np.where(counts > 0, means, samples[rng.choice(len(samples), words)]).astype(np.float32)
    return centres


def _sample(described: Sequence[Int8], count: int, rng: np.random.Generator) -> Float32:
    """About ``count`` local descriptors, the same number from every image."""
    share = max(1, count // len(described))
    chosen = [d if len(d) <= share else d[rng.choice(len(d), share, replace=False)] for d in described]
    return dequantize(np.concatenate(chosen))


def _subset_vectors(described: Sequence[Int8], words: Float32, rng: np.random.Generator) -> Iterator[Float32]:
    """Unprojected vectors of random halves of the images' keypoints."""
    images = rng.permutation(len(described))[: max(2, _MAX_PCA_SAMPLES // _SUBSETS_PER_IMAGE)]
    for i in images:
        descriptors = dequantize(described[i])
        nearest = _nearest_word(descriptors, words)
        for _ in range(_SUBSETS_PER_IMAGE):
            half = rng.random(len(descriptors)) < 0.5
            yield _aggregate(descriptors[half], words, nearest[half])


def _nearest_word(descriptors: Float32, words: Float32) -> Int32:
    """(N,) index of the nearest word; |d - w|^2 = const - 2 d.w + |w|^2."""
    return np.argmax(descriptors @ words.T - 0.5 * (words**2).sum(axis=1), axis=1).astype(np.int32)


def _membership(nearest: Int32, words: int) -> csr_matrix:
    """(K, N) sparse matrix that sums descriptors per word: one 1 in every column."""
    count = len(nearest)
    return csr_matrix((np.ones(count, np.float32), (nearest, np.arange(count))), shape=(words, count))


def _aggregate(descriptors: Float32, words: Float32, nearest: Int32 | None = None) -> Float32:
    """Sum of residuals per word, each word's block and then the whole (K * D,) vector scaled to unit length."""
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
    """Scales the last axis to unit length; zero stays zero."""
    norms = np.sqrt((vectors * vectors).sum(axis=-1, keepdims=True))
    unit: Float32 = vectors / np.maximum(norms, np.float32(1e-9))
    return unit


_FILES = {"words": "vlad_words.npy", "mean": "vlad_mean.npy", "projection": "vlad_projection.npy"}
_Learned = TypeVar("_Learned", bound="LocalVlad")


class VladOptions(BaseModel):
    """Settings that all of them have.

    Attributes:
        words: size of the vocabulary.
        dimension: the largest length of a global descriptor.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    words: int = Field(default=64, ge=1)
    dimension: int = Field(default=1024, ge=1)


@dataclass(frozen=True, kw_only=True)
class LocalVlad(ABC):
    """The half of a ``FeatureExtractor`` that is the same for every local feature.

    Attributes:
        words: size of the vocabulary.
        dimension: the largest length of a global descriptor.
        vlad: None before ``learn``: nothing can be described yet.
    """

    words: int = 64
    dimension: int = 1024
    vlad: Vlad | None = None

    @property
    @abstractmethod
    def local_id(self) -> str:
        """Names everything that the local features depend on."""

    @abstractmethod
    def extract_local(self, image: UInt8) -> Features:
        """Features of a (H, W) gray or (H, W, 3) BGR image; the global descriptor is left empty."""

    @property
    def feature_id(self) -> str:
        """For example ``rootsift-2048-0.02+vlad-64-70-1a2b3c4d``."""
        vlad = "unlearned" if self.vlad is None else f"{self.words}-{self.vlad.dimension}-{self.vlad.fingerprint}"
        return f"{self.local_id}+vlad-{vlad}"

    def warm_up(self, size: tuple[int, int]) -> None:
        """Works through a black image of (width, height)."""
        self.extract_local(np.zeros(size[::-1], np.uint8))

    def extract(self, image: UInt8) -> Features:
        """Local features; with the global descriptor once there is a vocabulary."""
        features = self.extract_local(image)
        return features if self.vlad is None else self.describe(features)

    def describe(self, features: Features) -> Features:
        """Adds the VLAD descriptor."""
        if self.vlad is None:
            raise FeatureError("the VLAD vocabulary is learned when a map is built: give the map to take it from")
        return replace(features, global_descriptor=self.vlad.describe(features.descriptors))

    def learn(self: _Learned, features: Sequence[Features], seed: int) -> _Learned:
        """The same extractor with a vocabulary learned on these features."""
        return replace(self, vlad=Vlad.learn(features, words=self.words, dimension=self.dimension, seed=seed))

    def save(self, folder: Path) -> None:
        """Writes vocabulary, mean and projection."""
        if self.vlad is None:
            raise FeatureError("there is no vocabulary to save: learn first")
        for attribute, file in _FILES.items():
            np.save(folder / file, getattr(self.vlad, attribute), allow_pickle=False)


def load_vlad(folder: Path | None) -> Vlad | None:
    """What ``LocalVlad.save`` wrote, None without a folder. Raises ``MapError`` naming the file that is damaged."""
    if folder is None:
        return None
    arrays = {}
    for attribute, file in _FILES.items():
        try:
            arrays[attribute] = np.load(folder / file, allow_pickle=False)
        except UNREADABLE_ARRAY as error:
            raise MapError(f"{folder / file}: cannot be read ({error}): check the map, or build it again") from error
    return Vlad(**arrays)
