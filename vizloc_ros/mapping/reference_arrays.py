"""Reference features in a map: PixLoc features of every observation, as 8-bit integers with scales."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vizloc_ros.arrays import Float16, Int8
from vizloc_ros.mapping.map_arrays import ArrayKind, Opened, open_array
from vizloc_ros.mapping.map_format import MapInfo

_SCALES, _CONFIDENCES = "pixloc_scales", "pixloc_confidences"


@dataclass(frozen=True)
class ReferenceArrays:
    """Reference features of M observations on L levels, finest first, in the order of the map's observations.

    Attributes:
        features: (M, C) int8 features of each level; a feature is its scale times these integers.
        scales: (M, L) scales.
        confidences: (M, L) confidences, 0 to 1.
    """

    features: tuple[Int8, ...]
    scales: Float16
    confidences: Float16

    @classmethod
    def open(cls, folder: Path, info: MapInfo, opened: Opened | None = None) -> "ReferenceArrays | None":
        """Memory-map the reference features of a map; None if it has none. Raises ``MapError`` as ``open_array``."""
        arrays = {name: open_array(folder, name, info, kind, opened) for name, kind in array_files(info).items()}
        if info.pixloc is None:
            return None
        levels = range(len(info.pixloc.dimensions))
        return cls(tuple(arrays[_features(level)] for level in levels), arrays[_SCALES], arrays[_CONFIDENCES])

    def save(self, folder: Path) -> None:
        """Write the files that ``array_files`` lists."""
        for level, features in enumerate(self.features):
            np.save(folder / f"{_features(level)}.npy", features, allow_pickle=False)
        np.save(folder / f"{_SCALES}.npy", self.scales, allow_pickle=False)
        np.save(folder / f"{_CONFIDENCES}.npy", self.confidences, allow_pickle=False)


def array_files(info: MapInfo) -> dict[str, ArrayKind]:
    """Type and shape of the files of a map's reference features, by name without ``.npy``; empty for a map without."""
    if info.pixloc is None:
        return {}
    dimensions = info.pixloc.dimensions
    features = {_features(level): (np.int8, (info.observations, size)) for level, size in enumerate(dimensions)}
    other = (np.float16, (info.observations, len(dimensions)))
    return {**features, _SCALES: other, _CONFIDENCES: other}


def _features(level: int) -> str:
    return f"pixloc_features_{level}"
