"""A local feature with a VLAD global descriptor that is learned on the map's images."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vizloc_ros.arrays import UNREADABLE_ARRAY, UInt8
from vizloc_ros.errors import FeatureError, MapError
from vizloc_ros.features.types import Features
from vizloc_ros.features.vlad import Vlad

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
