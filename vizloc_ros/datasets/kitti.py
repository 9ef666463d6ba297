"""Reader of KITTI odometry sequences: ``kitti:.../sequences/00?map=90-230&query=1565-1640&camera=0``.

The folder of a sequence holds the images ``image_0/000000.png`` ..., ``calib.txt`` and ``times.txt``. The poses of
camera 0 are in ``poses.txt`` or ``../../poses/00.txt``; the world is the frame of camera 0 at the first image. Without
poses, the records are unposed.

The split "all" is the whole sequence. Each ``NAME=FIRST-LAST`` (frame numbers, both included), or a range of
``sequence_splits`` in seconds or meters, adds a split. Only the
images of the splits that are read must exist.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.datasets.image_files import read_image
from vizloc_ros.datasets.matrices import nearest_pose, parse_matrix
from vizloc_ros.datasets.parsing import numbered_rows, parse_timestamp
from vizloc_ros.datasets.record import Record, unknown_split
from vizloc_ros.datasets.specification import parse_specification
from vizloc_ros.datasets.splits import sequence_splits
from vizloc_ros.errors import CameraError, DatasetError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import pose_from_matrix

CAMERAS = ("0", "1", "2", "3")


class Calibration(NamedTuple):
    """Calibration of one of the four cameras.

    Attributes:
        camera: pinhole camera.
        cam0_from_cam: pose of the camera in the frame of camera 0; without rotation, because images are rectified.
    """

    camera: PinholeCamera
    cam0_from_cam: Rigid3d


@dataclass(frozen=True)
class KittiDataset:
    """One camera of a KITTI odometry sequence; ``open_kitti`` opens it.

    Attributes:
        spec: text after ``kitti:`` that the dataset was opened with.
        image_folder: folder of the camera's images.
        calibration: calibration of the camera.
        timestamps_ns: time of each frame [ns].
        world_from_cam0: pose of camera 0 at each frame; None without poses.
        ranges: frame numbers of every split.
    """

    spec: str
    image_folder: Path
    calibration: Calibration
    timestamps_ns: list[int]
    world_from_cam0: list[Rigid3d] | None
    ranges: dict[str, list[int]]

    @property
    def name(self) -> str:
        """``kitti:PATH?...`` that the dataset was opened with."""
        return f"kitti:{self.spec}"

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits: "all" is the whole sequence; the others are those of the specification."""
        return tuple(self.ranges)

    def records(self, split: str) -> list[Record]:
        """Return the records of a split in order of time.

        Raises:
            DatasetError: there is no such split, or an image of it is missing.
        """
        if split not in self.ranges:
            raise unknown_split(self.name, split, self.splits)
        return [self._record(frame, split) for frame in self.ranges[split]]

    def _record(self, frame: int, split: str) -> Record:
        path = self.image_folder / f"{frame:06d}.png"
        if not path.is_file():
            raise DatasetError(f"{path}: no such image, but frame {frame} belongs to the split {split!r}")
        pose = None
        if self.world_from_cam0 is not None:
            pose = self.world_from_cam0[frame] * self.calibration.cam0_from_cam
        camera = self.calibration.camera
        return Record(
            name=f"{self.image_folder.name}/{path.name}",
            timestamp_ns=self.timestamps_ns[frame],
            camera=camera,
            split=split,
            world_from_cam=pose,
            read_image=partial(read_image, path, camera.size),
            file=path,
        )


def open_kitti(spec: str) -> KittiDataset:
    """Open ``PATH[?map=FIRST-LAST&query=FIRST-LAST&camera=0]``.

    Raises:
        DatasetError: an option is invalid, or a file is missing or malformed; the text names the file and the line.
    """
    folder, options = parse_specification(spec, "a KITTI sequence with image_0, calib.txt, times.txt")
    index = options.pop("camera", "0")
    if index not in CAMERAS:
        raise DatasetError(f"kitti:{spec}: camera={index}; KITTI has the cameras {', '.join(CAMERAS)}")
    timestamps = _read_times(folder / "times.txt")
    poses = _read_poses(folder, len(timestamps))
    ranges = sequence_splits(options, timestamps, poses or [None] * len(timestamps), f"kitti:{spec}")
    image_folder = folder / f"image_{index}"
    calibration = _read_calibration(folder / "calib.txt", f"P{index}:", image_size(image_folder))
    return KittiDataset(spec, image_folder, calibration, timestamps, poses, ranges)


def image_size(folder: Path) -> tuple[int, int]:
    """Size (width, height) [px] of the first PNG image in a folder. Raises ``DatasetError`` if there is none."""
    first = min(folder.glob("*.png"), default=None)
    if first is None:
        raise DatasetError(f"{folder}: there is no PNG image in it")
    height, width = read_image(first).shape[:2]
    return width, height


def _read_times(path: Path) -> list[int]:
    times: list[int] = []
    for line, fields in numbered_rows(path):
        times.append(parse_timestamp(fields[0], "the time", f"{path}:{line}"))
        if len(times) > 1 and times[-1] <= times[-2]:
            raise DatasetError(f"{path}:{line}: the time is not later than the one before it")
    if not times:
        raise DatasetError(f"{path}: there is no time in it; expected one line of seconds an image")
    return times


def _read_poses(folder: Path, count: int) -> list[Rigid3d] | None:
    sequence = folder.resolve()
    candidates = (folder / "poses.txt", sequence.parent.parent / "poses" / f"{sequence.name}.txt")
    path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if path is None:
        return None
    rows = numbered_rows(path)
    poses = [nearest_pose(parse_matrix(fields, f"{path}:{line}"), f"{path}:{line}") for line, fields in rows]
    if len(poses) != count:
        where = f"{path}:{rows[-1][0]}" if rows else str(path)
        raise DatasetError(f"{where}: {len(poses)} poses, but times.txt of {folder} has {count} images")
    return poses


def _read_calibration(path: Path, key: str, size: tuple[int, int]) -> Calibration:
    """Read P = K [I | t], where t is the translation of cam_from_cam0."""
    rows = {fields[0]: (line, fields[1:]) for line, fields in numbered_rows(path)}
    if key not in rows:
        raise DatasetError(f"{path}: there is no line {key!r}; there are: {', '.join(rows) or 'none'}")
    line, fields = rows[key]
    projection = parse_matrix(fields, f"{path}:{line}")
    (fx, _, cx), (_, fy, cy) = projection[0, :3], projection[1, :3]
    try:
        camera = PinholeCamera(*size, float(fx), float(fy), float(cx), float(cy))
    except CameraError as error:
        raise DatasetError(f"{path}:{line}: {error}") from error
    cam_from_cam0 = pose_from_matrix(np.column_stack([np.eye(3), np.linalg.solve(camera.matrix, projection[:, 3])]))
    return Calibration(camera, cam_from_cam0.inverse())
