"""Reference features in a map: PixLoc features of every observation, and patches, as 8-bit integers with scales."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vizloc_ros.arrays import Float16, Int8, Int64
from vizloc_ros.mapping.map_arrays import ArrayKind, Opened, open_array
from vizloc_ros.mapping.map_format import MapInfo

_SCALES, _CONFIDENCES = "pixloc_scales", "pixloc_confidences"
_PATCHES, _CONTRASTS, _RESOLUTIONS = "pixloc_patches", "pixloc_contrasts", "pixloc_resolutions"


@dataclass(frozen=True)
class PatchArrays:
    """Patches of M observations for the fine level, see ``pixloc.patches.QuantizedPatches``.

    Attributes:
        values: (M, P) int8 intensities, normalized.
        contrasts: (M,) contrasts [gray levels].
        resolutions: (M,) pixels for a meter at the landmark [px/m].
    """

    values: Int8
    contrasts: Float16
    resolutions: Float16

    def take(self, rows: Int64) -> "PatchArrays":
        """Return those of some observations, read from the files."""
        return PatchArrays(self.values[rows], self.contrasts[rows], self.resolutions[rows])


@dataclass(frozen=True)
class ReferenceArrays:
    """Reference features of M observations on L levels, finest first, in the order of the map's observations.

    Attributes:
        features: (M, C) int8 features of each level; a feature is its scale times these integers.
        scales: (M, L) scales.
        confidences: (M, L) confidences, 0 to 1.
        patches: patches of the fine level; None in maps without.
    """

    features: tuple[Int8, ...]
    scales: Float16
    confidences: Float16
    patches: PatchArrays | None = None

    @classmethod
    def open(cls, folder: Path, info: MapInfo, opened: Opened | None = None) -> "ReferenceArrays | None":
        """Memory-map the reference features of a map; None if it has none. Raises ``MapError`` as ``open_array``."""
        arrays = {name: open_array(folder, name, info, kind, opened) for name, kind in array_files(info).items()}
        if info.pixloc is None:
            return None
        levels = range(len(info.pixloc.dimensions))
        patches = PatchArrays(arrays[_PATCHES], arrays[_CONTRASTS], arrays[_RESOLUTIONS]) if info.pixloc.patch else None
        return cls(tuple(arrays[_features(level)] for level in levels), arrays[_SCALES], arrays[_CONFIDENCES], patches)

    @classmethod
    def joined(cls, parts: "Sequence[ReferenceArrays]") -> "ReferenceArrays":
        """Join those of the same levels, one after the other; without patches if a part has none of their size."""
        of_parts = [part.patches for part in parts if part.patches is not None]
        patches = None
        if len(of_parts) == len(parts) and len({each.values.shape[1] for each in of_parts}) == 1:
            patches = PatchArrays(
                np.concatenate([each.values for each in of_parts]),
                np.concatenate([each.contrasts for each in of_parts]),
                np.concatenate([each.resolutions for each in of_parts]),
            )
        return cls(
            tuple(np.concatenate(level) for level in zip(*(part.features for part in parts), strict=True)),
            np.concatenate([part.scales for part in parts]),
            np.concatenate([part.confidences for part in parts]),
            patches,
        )

    @property
    def by_file(self) -> dict[str, NDArray[Any]]:
        """The arrays by name of their file without ``.npy``."""
        arrays: dict[str, NDArray[Any]] = {_features(level): array for level, array in enumerate(self.features)}
        arrays |= {_SCALES: self.scales, _CONFIDENCES: self.confidences}
        if (patches := self.patches) is not None:
            arrays |= {_PATCHES: patches.values, _CONTRASTS: patches.contrasts, _RESOLUTIONS: patches.resolutions}
        return arrays

    def take(self, rows: Int64) -> "ReferenceArrays":
        """Return those of some observations, read from the files."""
        return ReferenceArrays(
            tuple(features[rows] for features in self.features),
            self.scales[rows],
            self.confidences[rows],
            None if self.patches is None else self.patches.take(rows),
        )

    def save(self, folder: Path) -> None:
        """Write the files that ``array_files`` lists."""
        for name, array in self.by_file.items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)


def array_files(info: MapInfo) -> dict[str, ArrayKind]:
    """Type and shape of the files of a map's reference features, by name without ``.npy``; empty for a map without."""
    if info.pixloc is None:
        return {}
    dimensions, patch, rows = info.pixloc.dimensions, info.pixloc.patch, (info.observations,)
    features = {_features(level): (np.int8, (info.observations, size)) for level, size in enumerate(dimensions)}
    other = (np.float16, (info.observations, len(dimensions)))
    files: dict[str, ArrayKind] = {**features, _SCALES: other, _CONFIDENCES: other}
    if patch:
        files |= {_PATCHES: (np.int8, (*rows, patch)), _CONTRASTS: (np.float16, rows), _RESOLUTIONS: (np.float16, rows)}
    return files


def _features(level: int) -> str:
    return f"pixloc_features_{level}"
