"""Extractor of a map for further images of that map: what it learned stays as it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vizloc_ros.arrays import UInt8
from vizloc_ros.features.extractor import FeatureExtractor
from vizloc_ros.features.types import Features


@dataclass(frozen=True)
class LearnedExtractor:
    """Extractor that learns nothing more, so that its features can be compared with those of its map.

    Attributes:
        learned: the map's extractor.
    """

    learned: FeatureExtractor

    @property
    def name(self) -> str:
        """Name of the extractor."""
        return self.learned.name

    @property
    def feature_id(self) -> str:
        """Identifier of all that the features depend on."""
        return self.learned.feature_id

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the extractor."""
        return self.learned.settings

    def save(self, folder: Path) -> None:
        """Write what was learned into an existing folder."""
        self.learned.save(folder)

    def warm_up(self, size: tuple[int, int]) -> None:
        """Prepare for images of (width, height)."""
        self.learned.warm_up(size)

    def extract(self, image: UInt8) -> Features:
        """Extract features from an (H, W) gray or (H, W, 3) BGR image."""
        return self.learned.extract(image)

    def describe(self, features: Features) -> Features:
        """Add the global descriptor to features."""
        return self.learned.describe(features)

    def learn(self, features: Sequence[Features], seed: int) -> "LearnedExtractor":
        """Return the extractor unchanged."""
        return self
