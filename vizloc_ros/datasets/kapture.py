"""Reader of naver/kapture: ``kapture:PATH?camera=left,rear``.

PATH is one kapture, a folder with ``sensors/sensors.txt``, or the folder above several, such as ``mapping`` and
``query``. The mapping kapture is the split "map", and the query kapture is "query"; others have the folder's name.

Stamps of a kapture are whole numbers without a unit. They are taken as seconds, milliseconds, microseconds or
nanoseconds by their size; numbers of images, 0, 1, 2 ..., are thus one second apart.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl

from pycolmap import Rigid3d

from vizloc_ros.datasets.kapture_text import (
    RECORDS,
    RECORDS_DATA,
    RIGS,
    SENSORS,
    TRAJECTORIES,
    Rigs,
    Sensor,
    camera_from_world,
    known_camera,
    read_rigs,
    read_sensors,
    read_snapshots,
    read_trajectories,
)
from vizloc_ros.datasets.lenses import distorted_camera
from vizloc_ros.datasets.listed import ListedImage, listed_record
from vizloc_ros.datasets.parsing import LATEST_SECONDS
from vizloc_ros.datasets.record import Mounting, Record, unknown_split
from vizloc_ros.errors import CameraError, DatasetError
from vizloc_ros.timing import NANOSECONDS

UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # stamps per second
# Splits of the folders of published kaptures; any other folder is a split of its own name.
_SPLITS = {"mapping": "map", "training": "map", "query": "query", "testing": "query"}


class KaptureImage(NamedTuple):
    """Image of a kapture.

    Attributes:
        path: path of the file.
        name: path below ``sensors/records_data``.
        timestamp_ns: time of exposure [ns], or the image's number in seconds.
        sensor: its camera.
        mounting: place of the camera on its rig.
        world_from_cam: pose of the camera's optical frame; None if there is none.
        where: file and line that list the image, for error messages.
    """

    path: Path
    name: str
    timestamp_ns: int
    sensor: Sensor
    mounting: Mounting
    world_from_cam: Rigid3d | None
    where: str


@dataclass(frozen=True)
class KaptureDataset:
    """One or several kaptures; ``open_kapture`` opens them.

    Attributes:
        spec: text after ``kapture:`` that the dataset was opened with.
        parts: images of each split, in order of time.
    """

    spec: str
    parts: dict[str, list[KaptureImage]]

    @property
    def name(self) -> str:
        """``kapture:PATH?...`` that the dataset was opened with."""
        return f"kapture:{self.spec}"

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits: those of the folders, or of one kapture "all"; see ``docs/datasets/kapture.md``."""
        return tuple(self.parts)

    def records(self, split: str) -> list[Record]:
        """Return the records of a split in order of time.

        Raises:
            DatasetError: there is no such split, an image of it is missing, or its camera cannot be rectified.
        """
        if split not in self.parts:
            raise unknown_split(self.name, split, self.parts)
        for image in self.parts[split]:
            if not image.path.is_file():
                raise DatasetError(
                    f"{image.where}: there is no image {image.path}: unpack or link the images into {RECORDS_DATA}"
                )
        return [_record(image, split) for image in self.parts[split]]


def _record(image: KaptureImage, split: str) -> Record:
    try:
        lens = distorted_camera(known_camera(image.sensor))
    except CameraError as error:
        raise DatasetError(f"{image.sensor.where}: {error}") from error
    path, name, stamp, sensor, mounting, pose, _ = image
    return listed_record(ListedImage(path, name, stamp, lens, pose, sensor.where, mounting), split)


def open_kapture(spec: str) -> KaptureDataset:
    """Open ``PATH[?camera=ID,ID&unit=s]``; without a camera, the images of all.

    Raises:
        DatasetError: an option is invalid, or a file is missing or malformed; the text names the file and the line.
    """
    root_text, _, query = spec.partition("?")
    root = Path(root_text)
    options = dict(parse_qsl(query, keep_blank_values=True))
    chosen = options.pop("camera", None)
    unit = options.pop("unit", None)
    if options:
        raise DatasetError(f"kapture:{spec}: there is no option {', '.join(options)}; there are camera and unit")
    if unit not in (None, *UNITS):
        raise DatasetError(f"kapture:{spec}: unit={unit}; the unit of the stamps is one of {', '.join(UNITS)}")
    cameras = None if chosen is None else set(chosen.split(","))
    parts: dict[str, list[KaptureImage]] = {}
    for split, folder in _folders(root).items():
        images = _read_images(folder, cameras, unit)
        posed = [image for image in images if image.world_from_cam is not None]
        unposed = [image for image in images if image.world_from_cam is None]
        if split == "all":
            parts |= {"all": images, "map": posed, "query": unposed} if posed and unposed else {"all": images}
        elif split == "map":
            parts |= {"map": posed, "unposed": unposed}
        else:
            parts |= {split: images, "posed": parts.get("posed", []) + (posed if unposed else [])}
    parts = {split: images for split, images in parts.items() if images}
    if not parts:
        raise DatasetError(f"kapture:{spec}: camera={chosen}; no image of {root} is from it")
    return KaptureDataset(spec, parts)


def _folders(root: Path) -> dict[str, Path]:
    """Folder of the kapture of each split."""
    if (root / SENSORS).is_file():
        return {"all": root}
    found = sorted(path.parent.parent for path in root.glob(f"*/{SENSORS}")) if root.is_dir() else []
    if not found:
        raise DatasetError(f"{root}: no kapture; expected {SENSORS} in it, or in mapping and query below it")
    folders: dict[str, Path] = {}
    for folder in found:
        split = _SPLITS.get(folder.name, folder.name)
        if split in folders:
            raise DatasetError(
                f"{root}: {folders[split].name} and {folder.name} are both the split {split!r}; move one"
            )
        folders[split] = folder
    return folders


def _read_images(folder: Path, cameras: set[str] | None, unit: str | None) -> list[KaptureImage]:
    """Read the images of one kapture in order of time; only those of ``cameras``, if these are given."""
    sensors, others = read_sensors(folder / SENSORS)
    unknown = sorted((cameras or set()) - set(sensors))
    if unknown:
        raise DatasetError(
            f"{folder / SENSORS}: there is no camera {', '.join(unknown)}; there are: {', '.join(sensors) or 'none'}"
        )
    snapshots = read_snapshots(folder / RECORDS)
    rigs, poses = read_rigs(folder / RIGS), read_trajectories(folder / TRAJECTORIES)
    factor = NANOSECONDS // _stamps_per_second(max(snapshot.stamp for snapshot in snapshots), unit, folder / RECORDS)
    images: list[KaptureImage] = []
    for stamp, sensor, name, where in snapshots:
        if sensor not in sensors:
            problem = "is no camera" if sensor in others else "is not in"
            raise DatasetError(f"{where}: the sensor {sensor!r} {problem} {SENSORS}: copy the kapture again")
        if cameras is None or sensor in cameras:
            cam_from_world = camera_from_world(rigs, poses, stamp, sensor)
            pose = None if cam_from_world is None else cam_from_world.inverse()
            images.append(
                KaptureImage(
                    folder / RECORDS_DATA / name,
                    name,
                    stamp * factor,
                    sensors[sensor],
                    _mounting(rigs, sensor),
                    pose,
                    where,
                )
            )
    return sorted(images, key=lambda image: (image.timestamp_ns, image.name))


def _mounting(rigs: Rigs, sensor: str) -> Mounting:
    """Place of a sensor on its rig, whose frame is that of the vehicle; rigs on rigs are not followed."""
    sensor_from_rig = [pose for _, pose in rigs.get(sensor, ())]
    return Mounting(sensor, sensor_from_rig[0].inverse() if len(sensor_from_rig) == 1 else None)


def _stamps_per_second(latest: int, unit: str | None, path: Path) -> int:
    """Stamps per second in the unit, or else in the coarsest unit in which the latest stamp is a time of ROS."""
    candidates = UNITS.values() if unit is None else (UNITS[unit],)
    for per_second in candidates:
        if latest < LATEST_SECONDS * per_second:
            return per_second
    raise DatasetError(f"{path}: the timestamp {latest} is beyond {LATEST_SECONDS} s; give the unit of stamps, unit=ns")
