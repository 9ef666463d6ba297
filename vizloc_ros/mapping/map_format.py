"""``map.yaml``: description of a map and of its build, with a checksum of every file of the map and of itself."""

import hashlib
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field

from vizloc_ros.arrays import UNREADABLE_ARRAY
from vizloc_ros.errors import ConfigError, FeatureError, MapError
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera
from vizloc_ros.mapping.georeference import Georeference
from vizloc_ros.mapping.sfm_report import Scale
from vizloc_ros.options import validated

FORMAT_VERSION = 1
INFO_FILE = "map.yaml"
_SAME_CAMERA = 0.01  # px
_CHECKSUM_KEY = "checksum"


class ExtractorInfo(BaseModel):
    """Features of a map.

    Attributes:
        name: name of the extractor.
        settings: settings of the extractor.
        feature_id: identity of the features, which those of queries must share.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    settings: dict[str, Any]
    feature_id: str


class PixLocInfo(BaseModel):
    """Reference features of a map for the tracker.

    Attributes:
        model_id: identity of the network that computed them.
        dimensions: number of channels on every level of the pyramid, finest first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_id: str
    dimensions: list[int] = Field(min_length=1)


class FileInfo(BaseModel):
    """Size [bytes] and SHA-256 of one file of the map."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bytes: int = Field(ge=0)
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "FileInfo":
        """Return the size and the checksum of a file."""
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        return cls(bytes=path.stat().st_size, sha256=digest.hexdigest())


class Session(BaseModel):
    """Keyframes that came into a map together; those of successive sessions follow one another.

    Attributes:
        dataset: dataset that they are from.
        keyframes: number of them.
        added: time at which they were added, ISO 8601.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: str
    keyframes: int = Field(ge=0)
    added: str


class MapInfo(BaseModel):
    """Content of ``map.yaml``.

    Attributes:
        format_version: version of the map format.
        vizloc_version: version of the package that built the map.
        created: time of the build, ISO 8601.
        dataset: dataset that the map was built from.
        frame: name of the map frame.
        georeference: pose of the map in its dataset's world and on the earth; None if it is the world's and unknown.
        scale: "metric"; "unknown" if one unit of the map is not a meter.
        extractor: features of the map.
        cameras: cameras of the keyframes.
        camera_corrections: intrinsics correction of each camera; empty in maps without self-calibration.
        keyframes: number of keyframes.
        landmarks: number of landmarks.
        observations: number of observations.
        descriptor_size: number of elements of a local descriptor.
        global_descriptor_size: number of elements of a global descriptor.
        pixloc: reference features for the tracker; None for a map without.
        sessions: where the keyframes are from, in their order; empty for a map of one session.
        build: report of the build.
        files: size and checksum of every file of the map except map.yaml, by path relative to the map's folder.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: int
    vizloc_version: str
    created: str
    dataset: str
    frame: str = "map"
    georeference: Georeference | None = None
    scale: Scale = "metric"
    extractor: ExtractorInfo
    cameras: list[PinholeCamera]
    camera_corrections: list[IntrinsicsCorrection] = []
    keyframes: int = Field(ge=1)
    landmarks: int = Field(ge=1)
    observations: int = Field(ge=1)
    descriptor_size: int = Field(ge=1)
    global_descriptor_size: int = Field(ge=1)
    pixloc: PixLocInfo | None = None
    sessions: list[Session] = []
    build: dict[str, Any] = {}
    files: dict[str, FileInfo]

    @property
    def place(self) -> Georeference:
        """Georeference of the map; without one, the map's coordinates are those of its dataset."""
        return self.georeference or Georeference()

    @property
    def all_sessions(self) -> list[Session]:
        """Sessions of the keyframes, one or more."""
        return self.sessions or [Session(dataset=self.dataset, keyframes=self.keyframes, added=self.created)]

    @property
    def bytes(self) -> int:
        """Size of all files except map.yaml [bytes]."""
        return sum(file.bytes for file in self.files.values())

    def intrinsics_correction(self, camera: PinholeCamera) -> IntrinsicsCorrection:
        """Intrinsics correction of a camera; zero for a camera that did not take images of the map."""
        for known, correction in zip(self.cameras, self.camera_corrections, strict=False):
            if camera.is_near(known, _SAME_CAMERA):
                return correction
        return IntrinsicsCorrection()

    def require_references(self, folder: Path, model_id: str) -> None:
        """Raise ``FeatureError`` unless a network with this identity computed the map's reference features."""
        if self.pixloc is None:
            raise no_references(folder)
        if self.pixloc.model_id != model_id:
            raise FeatureError(
                f"{folder}: its reference features are of {self.pixloc.model_id}, but the tracker here is {model_id}: "
                f"make them again with 'vizloc map add-pixloc {folder}', or use that network"
            )

    @property
    def feature_number(self) -> int:
        """32-bit number of the feature id, for messages."""
        return feature_number(self.extractor.feature_id)


def no_references(folder: Path) -> FeatureError:
    """Error for a map without reference features."""
    return FeatureError(
        f"{folder}: has no reference features for the tracker: add them with 'vizloc map add-pixloc {folder}'"
    )


def feature_number(feature_id: str) -> int:
    """32-bit number that stands for a feature id in messages."""
    return zlib.crc32(feature_id.encode())


def write_info(folder: Path, info: MapInfo) -> None:
    """Write ``map.yaml``; the last line holds the checksum of the lines before."""
    text = yaml.safe_dump(info.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    (folder / INFO_FILE).write_text(f"{text}{_CHECKSUM_KEY}: {_checksum(text)}\n", encoding="utf-8")


def read_info(folder: Path) -> MapInfo:
    """Read and verify ``map.yaml``.

    Raises:
        MapError: the folder or file is missing, not YAML, of another format version, or was changed after it was
            written.
    """
    path = folder / INFO_FILE
    if not folder.is_dir():
        raise MapError(f"{folder}: there is no such map: build one with 'vizloc map build', or check the path")
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except FileNotFoundError:
        raise MapError(f"{path}: missing, so this folder is no map") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise MapError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, Mapping) or "format_version" not in content:
        raise MapError(f"{path}: has no format_version, so it is not the description of a map, or it is cut off")
    if content["format_version"] != FORMAT_VERSION:
        raise MapError(
            f"{path}: is of format version {content['format_version']}, this program reads version {FORMAT_VERSION}: "
            "build the map again with this version"
        )
    body, _, last = text.rpartition(f"{_CHECKSUM_KEY}: ")
    if last.strip() != _checksum(body):
        raise MapError(f"{path}: was changed or cut off after it was written: restore it, or build the map again")
    try:
        return validated(MapInfo, {key: value for key, value in content.items() if key != _CHECKSUM_KEY}, str(path))
    except ConfigError as error:
        raise MapError(str(error)) from error


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def open_array(path: Path, dtype: type[np.generic], shape: tuple[int, ...]) -> Any:
    """Memory-map an ``.npy`` file read-only. Raise ``MapError`` unless it is whole and of that type and shape."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise MapError(f"{path}: missing: restore it, or build the map again") from None
    except UNREADABLE_ARRAY as error:
        raise MapError(f"{path}: cut off or corrupt ({error}): restore it, or build the map again") from error
    if array.dtype != dtype or array.shape != shape:
        raise MapError(
            f"{path}: holds {array.dtype}{list(array.shape)}, but map.yaml says {np.dtype(dtype)}{list(shape)}: "
            "the file is of another map; restore it, or build the map again"
        )
    return np.asarray(array)  # NumPy indexes a plain array in a third of the time that its memmap takes
