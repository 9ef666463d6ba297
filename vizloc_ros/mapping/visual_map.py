"""Map in memory: arrays that are memory-mapped from the map's folder, so that opening is fast.

Arrays with a row for each keyframe are small, and read. A change of the mapped files is noticed: see ``MapWatch``.
Observations are in CSR order: those of keyframe k are the rows ``offsets[k]:offsets[k + 1]``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vizloc_ros.arrays import Float32, Float64, Int8, Int32, Int64, release_pages
from vizloc_ros.bounded import TEXT_LIMIT, read_regular_text
from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import ConfigError, FeatureError, MapError
from vizloc_ros.features.extractor import FeatureExtractor, open_extractor
from vizloc_ros.mapping.map_arrays import open_array, read_small_array
from vizloc_ros.mapping.map_format import MapInfo, no_references, read_info
from vizloc_ros.mapping.map_numbers import require_sound_keyframes
from vizloc_ros.mapping.map_watch import MapWatch
from vizloc_ros.mapping.reference_arrays import ReferenceArrays

if TYPE_CHECKING:
    from vizloc_ros.features.device import Device

NAMES_FILE = "keyframe_names.txt"
EXTRACTOR_FOLDER = "extractor"
MODEL_FOLDER = "sfm"
FOREIGN_FEATURES = "hloc"  # name of the extractor of a map, up to a colon, whose network is not at hand

_Shape = Callable[[MapInfo], tuple[int, ...]]
ARRAYS: Mapping[str, tuple[type[np.generic], _Shape]] = {
    "keyframe_poses": (np.float64, lambda m: (m.keyframes, 7)),
    "keyframe_stamps": (np.int64, lambda m: (m.keyframes,)),
    "keyframe_cameras": (np.int32, lambda m: (m.keyframes,)),
    "global_descriptors": (np.float32, lambda m: (m.keyframes, m.global_descriptor_size)),
    "landmark_positions": (np.float32, lambda m: (m.landmarks, 3)),
    "observation_offsets": (np.int64, lambda m: (m.keyframes + 1,)),
    "observation_landmarks": (np.int32, lambda m: (m.observations,)),
    "observation_pixels": (np.float32, lambda m: (m.observations, 2)),
    "observation_descriptors": (np.int8, lambda m: (m.observations, m.descriptor_size)),
}
"""Name, type and shape of every array file ``NAME.npy`` of a map."""
_IN_MEMORY = ("keyframe_poses", "keyframe_stamps", "keyframe_cameras", "observation_offsets")


@dataclass(frozen=True, repr=False)
class VisualMap:
    """Map of K keyframes and L landmarks with M observations.

    Attributes:
        folder: folder of the map.
        info: content of map.yaml.
        keyframe_names: K names of images, as in the dataset.
        keyframe_poses: (K, 7) poses map_from_cam: tx ty tz [m] qx qy qz qw.
        keyframe_stamps: (K,) times of exposure [ns].
        keyframe_cameras: (K,) indices into ``info.cameras``.
        global_descriptors: (K, G) unit vectors.
        landmark_positions: (L, 3) positions in the map frame [m].
        observation_offsets: (K + 1,) row of every keyframe's first observation, and M.
        observation_landmarks: (M,) indices of the observed landmarks.
        observation_pixels: (M, 2) pixels of the observations [px].
        observation_descriptors: (M, D) int8 descriptors of the observations.
        references: reference features for the tracker; None for a map without.
        device: device of the extractor; None for the CPU.
        watch: watch over the mapped files.
    """

    folder: Path
    info: MapInfo
    keyframe_names: list[str]
    keyframe_poses: Float64
    keyframe_stamps: Int64
    keyframe_cameras: Int32
    global_descriptors: Float32
    landmark_positions: Float32
    observation_offsets: Int64
    observation_landmarks: Int32
    observation_pixels: Float32
    observation_descriptors: Int8
    references: ReferenceArrays | None = None
    device: "Device | None" = None
    watch: MapWatch = field(default_factory=MapWatch, compare=False)

    @classmethod
    def open(cls, folder: Path | str, device: "Device | None" = None) -> "VisualMap":
        """Open a map and check the size of every array and the numbers of keyframes; ``check_map`` checks every byte.

        Raises:
            MapError: a file is missing, cut off, belongs to another map, or holds numbers that cannot be; the text
                names it.
        """
        folder = Path(folder)
        info, watch = read_info(folder), MapWatch()
        arrays: dict[str, Any] = {
            name: read_small_array(folder, name, info, (dtype, shape(info)))
            if name in _IN_MEMORY
            else open_array(folder, name, info, (dtype, shape(info)), watch.add)
            for name, (dtype, shape) in ARRAYS.items()
        }
        names, references = _read_names(folder, info), ReferenceArrays.open(folder, info, watch.add)
        poses, cameras, offsets = (arrays[n] for n in ("keyframe_poses", "keyframe_cameras", "observation_offsets"))
        require_sound_keyframes(folder, info, poses, cameras, offsets)
        return cls(folder, info, names, **arrays, references=references, device=device, watch=watch)

    def observations_of(self, keyframe: int) -> slice:
        """Rows of a keyframe's observations."""
        return slice(int(self.observation_offsets[keyframe]), int(self.observation_offsets[keyframe + 1]))

    def landmarks_of(self, keyframe: int) -> Int32:
        """Landmarks that a keyframe observes. Raises ``MapError`` if one is not in the map."""
        landmarks = self.observation_landmarks[self.observations_of(keyframe)]
        if len(landmarks) and not 0 <= landmarks.min() <= landmarks.max() < self.info.landmarks:
            raise MapError(
                f"{self.folder / 'observation_landmarks.npy'}: keyframe {keyframe} sees a landmark that is not in the "
                "map: run 'vizloc map check', and build the map again"
            )
        return landmarks

    def images_among(self, records: Sequence[Record]) -> list[Record]:
        """Images of the keyframes, found by name. Raises ``MapError`` if one is not among the records."""
        by_name = {record.name: record for record in records}
        if missing := [name for name in self.keyframe_names if name not in by_name]:
            several = ", and do what needs images before sessions are merged" if self.info.sessions else ""
            raise MapError(
                f"{self.folder}: {len(missing)} of its images are not in the dataset, the first is {missing[0]}: "
                f"give the dataset and the split that the map was built from{several}"
            )
        return [by_name[name] for name in self.keyframe_names]

    @cached_property
    def extractor(self) -> FeatureExtractor:
        """Extractor of the map's features, for queries. Raises as ``open_map_extractor``."""
        return open_map_extractor(self.folder, self.info, self.device)

    def require_features(self, number: int, described_as: str) -> None:
        """Raise ``FeatureError`` unless features, described for the error, have the map's ``feature_number``."""
        if number != self.info.feature_number:
            raise FeatureError(
                f"{described_as} are not of the map's kind ({self.info.extractor.feature_id}): start the feature node "
                f"with map_path {self.folder}"
            )

    def release_pages(self) -> None:
        """Give the pages of all mapped arrays back to the system, see ``arrays.release_pages``.

        Otherwise the memory of a process grows with the places it has visited, up to the size of the map.
        """
        for array in self.mapped_arrays:
            release_pages(array)

    @property
    def mapped_arrays(self) -> list[NDArray[Any]]:
        """Arrays whose bytes are those of files."""
        arrays: list[NDArray[Any]] = [getattr(self, name) for name in ARRAYS if name not in _IN_MEMORY]
        if self.references is not None:
            arrays += self.references.by_file.values()
        return arrays

    def references_or_raise(self) -> ReferenceArrays:
        """Return the reference features. Raises ``FeatureError`` if the map has none."""
        if self.references is None:
            raise no_references(self.folder)
        return self.references

    def require_references(self, model_id: str) -> None:
        """Raise ``FeatureError`` as ``MapInfo.require_references``."""
        self.info.require_references(self.folder, model_id)


def open_map_extractor(folder: Path, info: MapInfo, device: "Device | None" = None) -> FeatureExtractor:
    """Open the extractor of a map from its folder ``extractor/``, on a device or, by default, on the CPU.

    Raises:
        FeatureError: this extractor makes other features than the map's, or its network is missing or damaged.
        DeviceError: the device is not available.
    """
    wanted = info.extractor
    if wanted.name.startswith(f"{FOREIGN_FEATURES}:"):
        raise FeatureError(
            f"{folder}: its features are {wanted.name}, imported without their network, and queries need the same: "
            "import the map again with --extractor PATH.onnx"
        )
    try:
        extractor = open_extractor(wanted.name, wanted.settings, folder / EXTRACTOR_FOLDER, device)
    except ConfigError as error:
        raise FeatureError(f"{folder}: {error}: install the version that built the map") from error
    if extractor.feature_id != wanted.feature_id:
        raise FeatureError(
            f"{folder}: its features are {wanted.feature_id}, but the extractor here makes {extractor.feature_id}: "
            "install the version or the weights that built the map, or build it again"
        )
    return extractor


def _read_names(folder: Path, info: MapInfo) -> list[str]:
    path, size = folder / NAMES_FILE, info.listed(folder, NAMES_FILE).bytes
    try:
        names = read_regular_text(path, max(size, TEXT_LIMIT)).removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise MapError(f"{path}: cannot be read ({error}): restore it, or build the map again") from error
    if len(names) != info.keyframes:
        raise MapError(
            f"{path}: holds {len(names)} names, but map.yaml says {info.keyframes}: the file is of another map"
        )
    return names
