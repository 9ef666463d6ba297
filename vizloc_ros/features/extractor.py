"""What a feature front end is, and how configuration chooses one.

``extract`` may leave the global descriptor empty; ``describe`` fills it in. A front end whose global descriptor is
learned on the map's images (VLAD) is returned by ``learn``; one that is trained beforehand returns itself.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from vizloc_ros.arrays import UInt8
from vizloc_ros.errors import ConfigError
from vizloc_ros.features.types import Features


class FeatureExtractor(Protocol):
    """Turns a rectified image into ``Features``. Calls may come from several threads."""

    @property
    def name(self) -> str:
        """The configured name, e.g. ``rootsift``."""
        ...

    @property
    def feature_id(self) -> str:
        """Names everything that the numbers depend on: features of different ids must never be compared."""
        ...

    @property
    def settings(self) -> dict[str, Any]:
        """What ``open_extractor`` needs to make the same extractor again; plain YAML values."""
        ...

    def extract(self, image: UInt8) -> Features:
        """Features of a (H, W) gray or (H, W, 3) BGR image."""
        ...

    def describe(self, features: Features) -> Features:
        """The same features with the global descriptor filled in. Raises ``FeatureError`` before ``learn``."""
        ...

    def learn(self, features: Sequence[Features], seed: int) -> "FeatureExtractor":
        """The extractor with what it has to learn from the map's images learned."""
        ...

    def save(self, folder: Path) -> None:
        """Writes what was learned as flat ``.npy`` files into an existing folder."""
        ...


def open_extractor(name: str, settings: dict[str, Any] | None = None, folder: Path | None = None) -> FeatureExtractor:
    """The extractor of a name.

    Args:
        name: ``rootsift``.
        settings: as ``FeatureExtractor.settings`` of the extractor that built a map; the defaults where absent.
        folder: where ``save`` wrote what was learned; without it the extractor has yet to learn.

    Raises:
        ConfigError: no such extractor, or settings it does not know.
    """
    from vizloc_ros.features.rootsift_vlad import RootSiftVlad

    extractors = {RootSiftVlad.name: RootSiftVlad.open}
    if name not in extractors:
        raise ConfigError(f"there is no feature extractor '{name}'; there is: {', '.join(extractors)}")
    return extractors[name](settings or {}, folder)
