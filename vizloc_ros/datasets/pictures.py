"""Reader of a folder of pictures, without a calibration or poses: ``images:PATH?map=0-89&query=90-120``.

Pictures are those in the folder and below it, in order of their names, with times one second apart. ``camera=FILE``
names their calibration (YAML of camera_calibration; several with commas, by image size), ``focal=PIXELS`` a focal
length. Without either, it is that of EXIF or else a guess, which ``vizloc map from-images`` refines.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vizloc_ros.datasets.camera_info_yaml import read_camera_info
from vizloc_ros.datasets.exif import exif_focal_length
from vizloc_ros.datasets.image_files import image_size, read_image
from vizloc_ros.datasets.lenses import read_rectified
from vizloc_ros.datasets.parsing import parse_number
from vizloc_ros.datasets.record import Calibration, RawImage, Record, unknown_split
from vizloc_ros.datasets.specification import parse_specification
from vizloc_ros.datasets.splits import sequence_splits
from vizloc_ros.errors import DatasetError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.rectification import DistortedCamera, rectified_camera
from vizloc_ros.timing import NANOSECONDS

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
_GUESSED_FOCAL = 1.2  # of the longer side, as in COLMAP
_EXPECTED = "a folder of pictures"


@dataclass(frozen=True)
class PictureDataset:
    """Pictures of a folder; ``open_pictures`` opens it.

    Attributes:
        spec: text after ``images:`` that it was opened with.
        folder: folder of the pictures.
        files: pictures in order of their names.
        lenses: calibrations by image size.
        focal: focal length of the others [px]; None if it was not given.
        parts: indices into ``files`` for every split.
    """

    spec: str
    folder: Path
    files: list[Path]
    lenses: Mapping[tuple[int, int], DistortedCamera]
    focal: float | None
    parts: Mapping[str, list[int]]

    @property
    def name(self) -> str:
        """``images:PATH?...`` that the dataset was opened with."""
        return f"images:{self.spec}"

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits: "all", and one for each range."""
        return tuple(self.parts)

    def records(self, split: str) -> list[Record]:
        """Return the records of a split.

        Raises:
            DatasetError: there is no such split, or an image has no calibration.
            ImageError: an image cannot be read.
        """
        records = self.pictures(split)
        if rough := next((r for r in records if r.calibration is not Calibration.KNOWN), None):
            raise DatasetError(
                f"{self.name}: {rough.name} has no calibration (its focal length is {rough.calibration.value}): give "
                "camera=FILE of camera_calibration or, from a map of this camera's pictures, MAP/camera_info.yaml"
            )
        return records

    def pictures(self, split: str) -> list[Record]:
        """Return the records of a split, with or without a calibration.

        Raises:
            DatasetError: there is no such split.
            ImageError: an image cannot be read.
        """
        if split not in self.parts:
            raise unknown_split(self.name, split, self.parts)
        return [self._record(i, split) for i in self.parts[split]]

    def _record(self, index: int, split: str) -> Record:
        path = self.files[index]
        name, size = path.relative_to(self.folder).as_posix(), image_size(path)
        lens = self.lenses.get(size)
        if lens is not None:
            return Record(
                name=name,
                timestamp_ns=index * NANOSECONDS,
                camera=rectified_camera(lens),
                split=split,
                world_from_cam=None,
                read_image=partial(read_rectified, path, lens),
                file=path,
                raw=RawImage(lens, partial(read_image, path, size)) if lens.is_distorted else None,
            )
        focal, calibration = self._focal_of(path, size)
        width, height = size
        return Record(
            name=name,
            timestamp_ns=index * NANOSECONDS,
            camera=PinholeCamera(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2),
            split=split,
            world_from_cam=None,
            read_image=partial(read_image, path, size),
            file=path,
            calibration=calibration,
        )

    def _focal_of(self, path: Path, size: tuple[int, int]) -> tuple[float, Calibration]:
        if self.focal is not None:
            return self.focal, Calibration.EXIF
        focal = exif_focal_length(path, size)
        return (focal, Calibration.EXIF) if focal else (_GUESSED_FOCAL * max(size), Calibration.GUESSED)


def open_pictures(spec: str) -> PictureDataset:
    """Open a folder of pictures.

    Args:
        spec: ``PATH?camera=FILE&focal=PIXELS&split=FIRST-LAST``.

    Raises:
        DatasetError: there is no such folder or no picture in it, or an option is malformed.
        CameraError: a calibration cannot be read.
    """
    folder, options = parse_specification(spec, _EXPECTED)
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise DatasetError(f"{folder}: there is no picture in it ({', '.join(SUFFIXES)})")
    lenses = _lenses(options.pop("camera", "").split(","))
    focal_text = options.pop("focal", None)
    where = f"images:{spec}"
    focal = None if focal_text is None else parse_number(focal_text, "focal", where)
    if focal is not None and focal <= 0:
        raise DatasetError(f"{where}: focal={focal_text}; it must be a positive number of pixels")
    stamps = [index * NANOSECONDS for index in range(len(files))]  # pictures have no times
    splits = sequence_splits(options, stamps, [None] * len(files), where)
    return PictureDataset(spec, folder, files, lenses, focal, splits)


def with_cameras(dataset: str, files: Sequence[Path]) -> str:
    """Specification of a folder of pictures with these calibrations added; of other datasets, as it is."""
    reader, _, argument = dataset.partition(":")
    if reader != "images" or not files:
        return dataset
    path, _, query = argument.partition("?")
    kept = [option for option in query.split("&") if option and option.split("=")[0] not in ("camera", "focal")]
    return f"images:{path}?" + "&".join([f"camera={','.join(map(str, files))}", *kept])


def _lenses(texts: Sequence[str]) -> dict[tuple[int, int], DistortedCamera]:
    cameras = [read_camera_info(Path(text)) for text in texts if text]
    return {camera.pinhole.size: camera for camera in cameras}
