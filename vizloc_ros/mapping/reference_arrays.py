"""Reference features in a map: PixLoc features of every observation, and patches, as 8-bit integers with scales."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vizloc_ros.arrays import Bool, Float16, Int8, Int32, Int64, UInt8
from vizloc_ros.errors import FeatureError
from vizloc_ros.mapping.map_arrays import ArrayKind, Opened, open_array
from vizloc_ros.mapping.map_format import MapInfo

_SCALES, _CONFIDENCES = "pixloc_scales", "pixloc_confidences"
_PATCHES, _CONTRASTS, _RESOLUTIONS = "pixloc_patches", "pixloc_contrasts", "pixloc_resolutions"
_ROWS = "pixloc_rows"


@dataclass(frozen=True)
class PatchArrays:
    """Patches of R observations for the fine level, see ``pixloc.patches.QuantizedPatches``.

    Attributes:
        values: (R, P) int8 intensities, normalized.
        contrasts: (R,) contrasts [gray levels].
        resolutions: (R,) pixels for a meter at the landmark [px/m].
    """

    values: Int8
    contrasts: Float16
    resolutions: Float16

    def take(self, rows: Int64) -> "PatchArrays":
        """Return those of some observations, read from the files."""
        return PatchArrays(self.values[rows], self.contrasts[rows], self.resolutions[rows])


@dataclass(frozen=True)
class ReferenceArrays:
    """Reference features of R observations on L levels, finest first, in the order of the map's observations.

    Attributes:
        features: (R, C) int8 features of each level; a feature is its scale times these integers. With fewer bits than
            eight, uint8 as ``packed`` makes them.
        scales: (R, L) scales.
        confidences: (R, L) confidences, 0 to 1.
        patches: patches of the fine level; None in maps without.
        rows: (R,) ascending rows of these observations in the map; None: it is all of them.
        bits: bits of an integer.
    """

    features: tuple[Int8 | UInt8, ...]
    scales: Float16
    confidences: Float16
    patches: PatchArrays | None = None
    rows: Int32 | None = None
    bits: int = 8

    @classmethod
    def open(cls, folder: Path, info: MapInfo, opened: Opened | None = None) -> "ReferenceArrays | None":
        """Memory-map the reference features of a map; None if it has none. Raises ``MapError`` as ``open_array``."""
        arrays = {name: open_array(folder, name, info, kind, opened) for name, kind in array_files(info).items()}
        if info.pixloc is None:
            return None
        levels = range(len(info.pixloc.dimensions))
        patches = PatchArrays(arrays[_PATCHES], arrays[_CONTRASTS], arrays[_RESOLUTIONS]) if info.pixloc.patch else None
        features = tuple(arrays[_features(level)] for level in levels)
        return cls(features, arrays[_SCALES], arrays[_CONFIDENCES], patches, arrays.get(_ROWS), info.pixloc.bits)

    @classmethod
    def joined(cls, parts: "Sequence[ReferenceArrays]", observations: Sequence[int]) -> "ReferenceArrays":
        """Join those of maps with numbers of observations, of the same levels and bits, one after the other.

        Without patches if a part has none of their size.
        """
        rows = None
        if any(part.rows is not None for part in parts):
            starts = np.cumsum([0, *observations])
            each = zip(parts, observations, starts[:-1], strict=True)
            rows = np.concatenate([start + (np.arange(n) if p.rows is None else p.rows) for p, n, start in each])
            rows = rows.astype(np.int32)
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
            rows,
            parts[0].bits,
        )

    @property
    def dimensions(self) -> list[int]:
        """Number of channels of each level."""
        return [features.shape[1] * 8 // self.bits for features in self.features]

    def has(self, observations: Int64) -> Bool:
        """Return the mask of (N,) rows of the map's observations that have reference features."""
        if self.rows is None:
            return np.ones(len(observations), bool)
        return self.rows[self.indices(observations)] == observations

    def indices(self, observations: Int64) -> Int64:
        """Return where the features of (N,) rows of the map's observations are, of those that have some."""
        if self.rows is None:
            return observations
        found = np.searchsorted(self.rows, observations.astype(np.int32))  # of another type, all rows would be copied
        return np.minimum(found, len(self.rows) - 1)

    def integers(self, level: int, indices: Int64) -> Int8:
        """Read (N, C) integers of a level, of 8 bit whatever they are in the file."""
        values = self.features[level][indices]
        return np.asarray(values, np.int8) if self.bits == 8 else unpacked(np.asarray(values, np.uint8), self.bits)

    @property
    def by_file(self) -> dict[str, NDArray[Any]]:
        """The arrays by name of their file without ``.npy``."""
        arrays: dict[str, NDArray[Any]] = {_features(level): array for level, array in enumerate(self.features)}
        arrays |= {_SCALES: self.scales, _CONFIDENCES: self.confidences}
        if self.rows is not None:
            arrays[_ROWS] = self.rows
        if (patches := self.patches) is not None:
            arrays |= {_PATCHES: patches.values, _CONTRASTS: patches.contrasts, _RESOLUTIONS: patches.resolutions}
        return arrays

    def take(self, observations: Int64) -> "ReferenceArrays":
        """Return those of some observations, by their ascending rows, as if the map had no others."""
        indices, rows = observations, None
        if self.rows is not None:
            kept = np.flatnonzero(self.has(observations))
            indices, rows = self.indices(observations[kept]), kept.astype(np.int32)
        return ReferenceArrays(
            tuple(features[indices] for features in self.features),
            self.scales[indices],
            self.confidences[indices],
            None if self.patches is None else self.patches.take(indices),
            rows,
            self.bits,
        )

    def save(self, folder: Path) -> None:
        """Write the files that ``array_files`` lists."""
        for name, array in self.by_file.items():
            np.save(folder / f"{name}.npy", array, allow_pickle=False)


def array_files(info: MapInfo) -> dict[str, ArrayKind]:
    """Type and shape of the files of a map's reference features, by name without ``.npy``; empty for a map without."""
    if info.pixloc is None:
        return {}
    dimensions, patch, rows = info.pixloc.dimensions, info.pixloc.patch, (info.pixloc.rows or info.observations,)
    bits = info.pixloc.bits
    dtype = np.int8 if bits == 8 else np.uint8
    features = {_features(level): (dtype, (*rows, size * bits // 8)) for level, size in enumerate(dimensions)}
    other = (np.float16, (*rows, len(dimensions)))
    files: dict[str, ArrayKind] = {**features, _SCALES: other, _CONFIDENCES: other}
    if info.pixloc.rows:
        files[_ROWS] = (np.int32, rows)
    if patch:
        files |= {_PATCHES: (np.int8, (*rows, patch)), _CONTRASTS: (np.float16, rows), _RESOLUTIONS: (np.float16, rows)}
    return files


def packed(integers: Int8, bits: int) -> UInt8:
    """Pack (N, C) integers of some bits, two's complement's range, in (N, C bits / 8) bytes, the first one in front.

    Raises ``FeatureError`` if they do not fill whole bytes.
    """
    count, size = integers.shape
    if size * bits % 8:
        raise FeatureError(f"features of {size} elements do not fill bytes with {bits} bits each")
    unsigned = (integers + (1 << bits - 1)).astype(np.uint8)
    binary = np.unpackbits(unsigned[:, :, None], axis=2)[:, :, 8 - bits :]
    return np.packbits(binary.reshape(count, -1), axis=1)


def unpacked(values: UInt8, bits: int) -> Int8:
    """Return the (N, C) integers that ``packed`` has packed."""
    binary = np.unpackbits(values, axis=1).reshape(len(values), -1, bits)
    whole = np.zeros((*binary.shape[:2], 8), np.uint8)
    whole[:, :, 8 - bits :] = binary
    return (np.packbits(whole, axis=2)[:, :, 0].astype(np.int16) - (1 << bits - 1)).astype(np.int8)


def _features(level: int) -> str:
    return f"pixloc_features_{level}"
