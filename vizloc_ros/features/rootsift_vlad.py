"""The classical front end: RootSIFT keypoints with a VLAD global descriptor (the papers' "NV+SIFT" in spirit)."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from vizloc_ros.arrays import UInt8
from vizloc_ros.features.local_vlad import LocalVlad, VladOptions, load_vlad
from vizloc_ros.features.rootsift import RootSift
from vizloc_ros.features.types import Features
from vizloc_ros.options import validated


class RootSiftOptions(VladOptions):
    """Those of ``RootSift``, and of the VLAD."""

    max_keypoints: int = Field(default=RootSift.max_keypoints, ge=1)
    contrast_threshold: float = Field(default=RootSift.contrast_threshold, ge=0, lt=1)


@dataclass(frozen=True)
class RootSiftVlad(LocalVlad):
    """A ``FeatureExtractor``; before ``learn`` it has no vocabulary and cannot describe."""

    name: ClassVar[str] = "rootsift"
    rootsift: RootSift = field(default_factory=RootSift)

    @classmethod
    def open(cls, settings: dict[str, Any], folder: Path | None) -> "RootSiftVlad":
        """As ``open_extractor`` says."""
        own = validated(RootSiftOptions, settings, f"settings of {cls.name}")
        rootsift = RootSift(own.max_keypoints, own.contrast_threshold)
        return cls(rootsift, words=own.words, dimension=own.dimension, vlad=load_vlad(folder))

    @property
    def settings(self) -> dict[str, Any]:
        """Plain values from which ``open`` makes the same extractor."""
        return {**asdict(self.rootsift), "words": self.words, "dimension": self.dimension}

    @property
    def local_id(self) -> str:
        """For example ``rootsift-2048-0.02``."""
        return f"{self.name}-{self.rootsift.max_keypoints}-{self.rootsift.contrast_threshold:g}"

    def extract_local(self, image: UInt8) -> Features:
        """RootSIFT features."""
        return self.rootsift.extract(image)
