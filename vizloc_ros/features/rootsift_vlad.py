"""The classical front end: RootSIFT keypoints with a VLAD global descriptor (the papers' "NV+SIFT" in spirit)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vizloc_ros.arrays import UNREADABLE_ARRAY, UInt8
from vizloc_ros.errors import ConfigError, FeatureError, MapError
from vizloc_ros.features.rootsift import RootSift
from vizloc_ros.features.types import Features
from vizloc_ros.features.vlad import Vlad

_FILES = {"words": "vlad_words.npy", "mean": "vlad_mean.npy", "projection": "vlad_projection.npy"}


@dataclass(frozen=True)
class RootSiftVlad:
    """A ``FeatureExtractor``; before ``learn`` it has no vocabulary and cannot describe."""

    name: ClassVar[str] = "rootsift"
    rootsift: RootSift = field(default_factory=RootSift)
    words: int = 64
    dimension: int = 1024
    vlad: Vlad | None = None

    @classmethod
    def open(cls, settings: dict[str, Any], folder: Path | None) -> "RootSiftVlad":
        """As ``open_extractor`` says."""
        known = {"max_keypoints", "contrast_threshold", "words", "dimension"}
        if unknown := set(settings) - known:
            raise ConfigError(f"rootsift has no setting {sorted(unknown)}; it has {sorted(known)}")
        own = {key: value for key, value in settings.items() if key in ("words", "dimension")}
        sift = {key: value for key, value in settings.items() if key not in own}
        return cls(RootSift(**sift), **own, vlad=None if folder is None else _load_vlad(folder))

    @property
    def settings(self) -> dict[str, Any]:
        """Plain values from which ``open`` makes the same extractor."""
        return {**asdict(self.rootsift), "words": self.words, "dimension": self.dimension}

    @property
    def feature_id(self) -> str:
        """For example ``rootsift-2048-0.02+vlad-64-70-1a2b3c4d``."""
        local = f"{self.name}-{self.rootsift.max_keypoints}-{self.rootsift.contrast_threshold:g}"
        vlad = "unlearned" if self.vlad is None else f"{self.words}-{self.vlad.dimension}-{self.vlad.fingerprint}"
        return f"{local}+vlad-{vlad}"

    def extract(self, image: UInt8) -> Features:
        """RootSIFT features; with the global descriptor once there is a vocabulary."""
        features = self.rootsift.extract(image)
        return features if self.vlad is None else self.describe(features)

    def describe(self, features: Features) -> Features:
        """Adds the VLAD descriptor."""
        if self.vlad is None:
            raise FeatureError("the VLAD vocabulary is learned when a map is built: give the map to take it from")
        return replace(features, global_descriptor=self.vlad.describe(features.descriptors))

    def learn(self, features: Sequence[Features], seed: int) -> "RootSiftVlad":
        """The same extractor with a vocabulary learned on these features."""
        return replace(self, vlad=Vlad.learn(features, words=self.words, dimension=self.dimension, seed=seed))

    def save(self, folder: Path) -> None:
        """Writes vocabulary, mean and projection."""
        if self.vlad is None:
            raise FeatureError("there is no vocabulary to save: learn first")
        for attribute, file in _FILES.items():
            np.save(folder / file, getattr(self.vlad, attribute), allow_pickle=False)


def _load_vlad(folder: Path) -> Vlad:
    arrays = {}
    for attribute, file in _FILES.items():
        try:
            arrays[attribute] = np.load(folder / file, allow_pickle=False)
        except UNREADABLE_ARRAY as error:
            raise MapError(f"{folder / file}: cannot be read ({error}): check the map, or build it again") from error
    return Vlad(**arrays)
