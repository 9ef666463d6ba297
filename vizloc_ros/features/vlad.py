"""VLAD global descriptors (Jegou et al., TPAMI 2012; intra-normalisation of Arandjelovic and Zisserman, CVPR 2013).

The residuals of an image's local descriptors to the words of a vocabulary, summed per word, reduced by a whitening
PCA. Vocabulary and PCA are learned on the map's own images and stored with the map.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from vizloc_ros.arrays import Float32, Int8, Int32
from vizloc_ros.errors import FeatureError
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
