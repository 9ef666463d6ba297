"""Maps that are sealed but wrong: numbers and descriptions that no build writes, with checksums that fit."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from hypothesis import strategies as st

from vizloc_ros.mapping.map_format import FileInfo, read_info
from vizloc_ros.mapping.map_writer import write_references
from vizloc_ros.mapping.reference_arrays import ReferenceArrays, array_files
from vizloc_ros.mapping.visual_map import ARRAYS

Path_ = tuple[str | int, ...]
WRONG_NUMBERS = (0.0, -1.0, 1.0, 99.0, 2.0**31 - 1, -(2.0**31), 2.0**62, 1e30, -1e300, 1e-300, np.nan, np.inf, -np.inf)
WRONG_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 99, 2**31, 2**63, 10**60, -0.5, 1e300, float("nan"), float("inf")),
    *("", "x", "../../etc/passwd", "[/red]", "\0", "x" * 9000, [], {}, [[]], {"": None}, [{}, {}]),
)


class SealedMap:
    """A map that can be changed as its own program would, and made whole again."""

    def __init__(self, folder: Path) -> None:
        """Take a map, and give it references of random features."""
        self.folder = folder
        info = read_info(folder)
        rng = np.random.default_rng(0)
        features = rng.integers(-100, 100, (info.observations, 8), dtype=np.int8)
        scales = rng.random((info.observations, 2)).astype(np.float16)
        write_references(folder, ReferenceArrays((features, features), scales, scales), "network")
        self._whole = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        self.info: dict[str, Any] = yaml.safe_load(self._whole[folder / "map.yaml"])
        self.arrays = [*ARRAYS, *array_files(read_info(folder))]
        self.places = list(_places(self.info))

    def restore(self) -> None:
        """Make the map whole again."""
        for path, content in self._whole.items():
            if not path.is_file() or path.stat().st_size != len(content) or path.read_bytes() != content:
                path.unlink(missing_ok=True)
                path.write_bytes(content)

    def set_number(self, name: str, where: float, number: float, whole_row: bool) -> None:
        """Write a number into an array, at a part of its length, as far as its type can hold it."""
        path = self.folder / f"{name}.npy"
        array = np.load(path)
        row = min(int(where * len(array)), len(array) - 1)
        with np.errstate(all="ignore"):
            if np.issubdtype(array.dtype, np.integer):
                limits = np.iinfo(array.dtype)
                number = int(np.clip(np.nan_to_num(number), limits.min, min(limits.max, 2**62)))
            value = np.asarray(number).astype(array.dtype)
        if whole_row or array.ndim == 1:
            array[row] = value
        else:
            array[row, int(where * 7919) % array.shape[1]] = value
        np.save(path, array)

    def set_value(self, place: Path_, value: Any) -> None:
        """Write a value into map.yaml."""
        content = yaml.safe_load(self._whole[self.folder / "map.yaml"])
        inner = content
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value
        self.seal(content)

    def seal(self, content: dict[str, Any] | None = None) -> None:
        """Write map.yaml with the checksums of the files as they are now."""
        content = dict(content or self.info)
        content.pop("checksum", None)
        if isinstance(content.get("files"), dict):
            content["files"] = {name: self._listed(name, listed) for name, listed in content["files"].items()}
        listed, pixloc = content.get("files"), content.get("pixloc")
        if isinstance(listed, dict) and isinstance(pixloc, dict) and pixloc == self.info["pixloc"]:
            names = [f"{name}.npy" for name in ("observation_offsets", "observation_landmarks")]
            sums = [entry["sha256"] for n in names if isinstance(entry := listed.get(n), dict) and "sha256" in entry]
            digest = hashlib.sha256("".join(map(str, sums)).encode()).hexdigest()
            content["pixloc"] = {**pixloc, "observations": digest[:16]}
        text = yaml.safe_dump(content, sort_keys=False)
        checksum = hashlib.sha256(text.encode()).hexdigest()
        (self.folder / "map.yaml").write_text(f"{text}checksum: {checksum}\n")

    def _listed(self, name: str, listed: Any) -> Any:
        path = self.folder / name
        is_changed = self._whole.get(path) is not None and path.read_bytes() != self._whole[path]
        return FileInfo.of(path).model_dump() if is_changed else listed


def _places(values: Any, above: Path_ = ()) -> list[Path_]:
    """Places of all values in a description."""
    found: list[Path_] = []
    items = values.items() if isinstance(values, Mapping) else enumerate(values) if isinstance(values, list) else ()
    for key, value in items:
        if (key, *above) != ("checksum",):
            found += [(*above, key), *_places(value, (*above, key))]
    return found


def changes(sealed: SealedMap) -> st.SearchStrategy[list[tuple[str, tuple[Any, ...]]]]:
    """Changes of a map: calls of the functions of ``SealedMap`` by name."""
    numbers = st.tuples(
        st.sampled_from(sealed.arrays), st.floats(0, 1), st.sampled_from(WRONG_NUMBERS), st.booleans()
    ).map(lambda arguments: ("set_number", arguments))
    values = st.tuples(st.sampled_from(sealed.places), st.sampled_from(WRONG_VALUES)).map(
        lambda arguments: ("set_value", arguments)
    )
    return st.lists(numbers, min_size=1, max_size=2) | values.map(lambda value: [value])
