"""Map with the local features of one extractor and the global descriptors of another (HF-Net, Table 4: X+Y)."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from vizloc_ros.arrays import UInt8
from vizloc_ros.errors import MapError
from vizloc_ros.features.extractor import FeatureExtractor
from vizloc_ros.features.types import Features
from vizloc_ros.mapping.visual_map import VisualMap


@dataclass(frozen=True)
class MixedExtractor:
    """``FeatureExtractor`` of local features from one extractor and global descriptors from another; both learned.

    Attributes:
        of_global: extractor of the global descriptors.
        of_local: extractor of keypoints and local descriptors.
    """

    of_global: FeatureExtractor
    of_local: FeatureExtractor

    @property
    def name(self) -> str:
        """``X+Y`` as in the paper: X is the global descriptor's extractor."""
        return f"{self.of_global.name}+{self.of_local.name}"

    @property
    def feature_id(self) -> str:
        """Both identifiers."""
        return f"{self.of_global.feature_id} + {self.of_local.feature_id}"

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of both."""
        return {"global": self.of_global.settings, "local": self.of_local.settings}

    def warm_up(self, size: tuple[int, int]) -> None:
        """Prepare both for images of (width, height)."""
        self.of_global.warm_up(size)
        self.of_local.warm_up(size)

    def extract(self, image: UInt8) -> Features:
        """Extract local features of one and the global descriptor of the other."""
        return replace(self.of_local.extract(image), global_descriptor=self.of_global.extract(image).global_descriptor)

    def describe(self, features: Features) -> Features:
        """Return the features: ``extract`` has described them."""
        return features

    def learn(self, features: Sequence[Features], seed: int) -> "MixedExtractor":
        """Return the extractor itself: both have learned."""
        return self

    def save(self, folder: Path) -> None:
        """Raise ``MapError``: the two maps hold what was learned."""
        raise MapError(f"{folder}: a mixed extractor is not saved")


@dataclass(frozen=True, repr=False, kw_only=True)
class MixedMap(VisualMap):
    """Map in memory, of two maps of the same keyframes.

    Attributes:
        mixed_extractor: extractor of the queries.
    """

    mixed_extractor: FeatureExtractor

    @cached_property
    def extractor(self) -> FeatureExtractor:
        """Extractor of the queries."""
        return self.mixed_extractor


def mix_maps(of_global: VisualMap, of_local: VisualMap) -> MixedMap:
    """Combine the global descriptors of one map with all else of another.

    Raises:
        MapError: the maps are of different keyframes.
    """
    if of_global.keyframe_names != of_local.keyframe_names:
        raise MapError(f"{of_global.folder}: has other keyframes than {of_local.folder}: delete both")
    content = {field.name: getattr(of_local, field.name) for field in fields(VisualMap)}
    content["global_descriptors"] = of_global.global_descriptors
    return MixedMap(**content, mixed_extractor=MixedExtractor(of_global.extractor, of_local.extractor))
