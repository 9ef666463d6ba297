"""``map.yaml``: description of a map and of its build, with a checksum of every file of the map and of itself."""

import hashlib
import math
import zlib
from collections.abc import Iterator, Mapping, Set
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, BinaryIO

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from vizloc_ros.bounded import load_yaml, open_regular, read_regular_text
from vizloc_ros.errors import CameraError, ConfigError, FeatureError, MapError
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera
from vizloc_ros.mapping.georeference import Georeference, Wgs84
from vizloc_ros.mapping.sfm_report import Scale
from vizloc_ros.options import validated

FORMAT_VERSION = 1
INFO_FILE = "map.yaml"
QUATERNION_TOLERANCE = 1e-3  # of the norm
_SAME_CAMERA = 0.01  # px
_CHECKSUM_KEY = "checksum"
_MAX_KEYFRAMES = 5_000_000
_MAX_ROWS = 2**31 - 1  # landmarks and observations, whose indices are 32-bit integers
_MAX_WORLD = 1e9  # m
_MAX_PIXELS = 1_000_000.0  # px; sizes and intrinsics of cameras


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
        patch: number of intensities of a patch of the fine level; 0 in maps without patches.
        bits: bits of an element of a feature; 8, or less in compact maps.
        rows: number of observations that have reference features; 0: all.
        observations: digest of the observations that they are of, see ``MapInfo.observations_digest``; empty in older
            maps.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_id: str
    dimensions: list[Annotated[int, Field(ge=1, le=4096)]] = Field(min_length=1, max_length=16)
    patch: int = Field(default=0, ge=0, le=4096)
    bits: int = Field(default=8, ge=2, le=8)
    rows: int = Field(default=0, ge=0, le=_MAX_ROWS)
    observations: str = ""

    def __str__(self) -> str:
        """Identity of the network, and whether the features are compact."""
        return f"{self.model_id}, compact" if self.rows else self.model_id


class FileInfo(BaseModel):
    """Size [bytes] and SHA-256 of one file of the map."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bytes: int = Field(ge=0)
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "FileInfo":
        """Return the size and the checksum of a file. Raises ``OSError`` if it is no regular file."""
        with open_regular(path) as file:
            return cls.of_file(file)

    @classmethod
    def of_file(cls, file: BinaryIO) -> "FileInfo":
        """Return the size and the checksum of the rest of an open file."""
        digest, size = hashlib.sha256(), 0
        while block := file.read(1 << 20):
            digest.update(block)
            size += len(block)
        return cls(bytes=size, sha256=digest.hexdigest())


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
    cameras: list[PinholeCamera] = Field(min_length=1)
    camera_corrections: list[IntrinsicsCorrection] = []
    keyframes: int = Field(ge=1, le=_MAX_KEYFRAMES)
    landmarks: int = Field(ge=1, le=_MAX_ROWS)
    observations: int = Field(ge=1, le=_MAX_ROWS)
    descriptor_size: int = Field(ge=1, le=1 << 12)
    global_descriptor_size: int = Field(ge=1, le=1 << 20)
    pixloc: PixLocInfo | None = None
    sessions: list[Session] = []
    build: dict[str, Any] = {}
    files: dict[str, FileInfo]

    @model_validator(mode="after")
    def _is_sound(self) -> "MapInfo":
        """Raise ``ValueError`` for what no build writes, so that nobody computes with it."""
        if problem := next(_impossible(self), ""):
            raise ValueError(problem)
        return self

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

    def listed(self, folder: Path, name: str) -> FileInfo:
        """Size and checksum of a file. Raises ``MapError`` if map.yaml does not list it."""
        if name not in self.files:
            raise MapError(f"{folder / INFO_FILE}: does not list {name}: restore it, or build the map again")
        return self.files[name]

    @property
    def observations_digest(self) -> str:
        """Digest of which landmarks each keyframe sees: reference features of other observations do not fit."""
        names = ("observation_offsets.npy", "observation_landmarks.npy")
        listed = "".join(self.files[name].sha256 for name in names if name in self.files)
        return _checksum(listed)[:16]

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
                f"use that network and long_side (its last number), or make them again with 'vizloc map add-pixloc "
                f"{folder}', which has --model, --long-side and --compact"
            )

    @property
    def feature_number(self) -> int:
        """32-bit number of the feature id, for messages."""
        return feature_number(self.extractor.feature_id)

    @property
    def number(self) -> int:
        """32-bit number that stands for this map in messages; copies have the same."""
        return zlib.crc32(self.model_dump_json().encode("utf-8", "surrogatepass"))


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
    text = yaml.dump(info.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    (folder / INFO_FILE).write_text(f"{text}{_CHECKSUM_KEY}: {_checksum(text)}\n", encoding="utf-8")


class _Dumper(yaml.SafeDumper):
    """Dumper that writes a value in full wherever it is: aliases are not read again."""

    def ignore_aliases(self, data: Any) -> bool:
        """Return true for every value."""
        return True


def read_info(folder: Path) -> MapInfo:
    """Read and verify ``map.yaml``.

    Raises:
        MapError: the folder or file is missing, not YAML of plain values, of another format version, was changed after
            it was written, or describes no map that can be.
    """
    path = folder / INFO_FILE
    text, content = _read(folder)
    if content["format_version"] != FORMAT_VERSION:
        raise MapError(
            f"{path}: is of format version {content['format_version']}, this program reads version {FORMAT_VERSION}: "
            "build the map again with this version"
        )
    _require_checksum(path, text)
    try:
        return validated(MapInfo, {key: value for key, value in content.items() if key != _CHECKSUM_KEY}, str(path))
    except ConfigError as error:
        raise MapError(str(error)) from error
    except CameraError as error:
        raise MapError(f"{path}: {error}") from error


def written_files(folder: Path) -> Set[str]:
    """Names of the files of a map of any format version, by its ``map.yaml``, which is one of them.

    Raises:
        MapError: there is no map.yaml that this program wrote.
    """
    text, content = _read(folder)
    _require_checksum(folder / INFO_FILE, text)
    files = content.get("files")
    return {INFO_FILE, *map(str, files if isinstance(files, Mapping) else ())}


def _read(folder: Path) -> tuple[str, Mapping[str, Any]]:
    """Text and content of a ``map.yaml``, which is one by its keys."""
    path = folder / INFO_FILE
    if not folder.is_dir():
        raise MapError(f"{folder}: there is no such map: build one with 'vizloc map build', or check the path")
    try:
        text = read_regular_text(path)
        content = load_yaml(text)
    except FileNotFoundError:
        raise MapError(f"{path}: missing, so this folder is no map") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise MapError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, Mapping) or "format_version" not in content:
        raise MapError(f"{path}: has no format_version, so it is not the description of a map, or it is cut off")
    return text, content


def _require_checksum(path: Path, text: str) -> None:
    body, _, last = text.rpartition(f"{_CHECKSUM_KEY}: ")
    if last.strip() != _checksum(body):
        raise MapError(
            f"{path}: was changed or cut off after it was written: restore it, or remove the folder and build the map "
            "again"
        )


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _impossible(info: MapInfo) -> Iterator[str]:
    """Yield what cannot be in a description, with its place."""
    for index, camera in enumerate(info.cameras):
        numbers = (camera.width, camera.height, camera.fx, camera.fy, camera.cx, camera.cy)
        if max(map(abs, numbers)) > _MAX_PIXELS:
            yield f"cameras.{index}: has a size or intrinsics beyond {_MAX_PIXELS:g} px"
    if len(info.camera_corrections) not in (0, len(info.cameras)):
        yield f"camera_corrections: has {len(info.camera_corrections)} of them for {len(info.cameras)} cameras"
    for index, shift in enumerate(info.camera_corrections):
        if not all(map(math.isfinite, (shift.focal, shift.cx, shift.cy, shift.radial))) or shift.focal <= -1:
            yield f"camera_corrections.{index}: has a number that cannot be"
    if info.georeference is not None:
        yield from _impossible_place(info.georeference)
    for name in info.files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or str(path) != name or name == INFO_FILE or "\0" in name:
            yield f"files: {name!r} is not the path of a file in the map"
    if info.sessions and sum(session.keyframes for session in info.sessions) != info.keyframes:
        yield f"sessions: have not the {info.keyframes} keyframes of the map in all"
    for key in ("warnings", "weak_keyframes"):
        texts = info.build.get(key, [])
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            yield f"build.{key}: is no list of texts"
    if info.pixloc is not None and info.pixloc.rows > info.observations:
        yield f"pixloc: has {info.pixloc.rows} rows for {info.observations} observations"
    if info.pixloc is not None and any(size * info.pixloc.bits % 8 for size in info.pixloc.dimensions):
        yield f"pixloc: features of {info.pixloc.bits} bits do not fill bytes"
    if info.pixloc is not None and info.pixloc.observations not in ("", info.observations_digest):
        yield "pixloc: the reference features are of other observations: run 'vizloc map add-pixloc' again"


def _impossible_place(place: Georeference) -> Iterator[str]:
    """Yield what cannot be in a georeference."""
    rotations = {"world_from_map": place.world_from_map[3:]}
    if isinstance(place.datum, Wgs84):
        rotations["datum.enu_from_frame"] = place.datum.enu_from_frame
    elif place.datum is not None:
        rotations["datum.grid_from_frame"] = place.datum.grid_from_frame
    for name, quaternion in rotations.items():
        if not abs(math.hypot(*quaternion) - 1) <= QUATERNION_TOLERANCE:
            yield f"georeference.{name}: its quaternion has the norm {math.hypot(*quaternion):.4g}, not 1"
    if not all(abs(value) <= _MAX_WORLD for value in place.world_from_map[:3]):
        yield f"georeference.world_from_map: is beyond {_MAX_WORLD:g} m"
