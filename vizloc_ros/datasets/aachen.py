"""Reader of Aachen Day-Night v1.1, and of version 1: ``aachen:PATH``.

The folder, as distributed by visuallocalization.net, holds:

* ``images_upright``: the images, in ``db``, ``sequences`` and ``query``;
* ``3D-models/aachen_v_1_1``: COLMAP's model of the images of the map, or ``aachen_v_1_1.nvm`` with the list of cameras
  ``database_intrinsics_v1_1.txt``; version 1 has ``aachen_cvpr2018_db.nvm`` with ``database_intrinsics.txt``;
* ``queries/day_time_queries_with_intrinsics.txt`` and ``queries/night_time_queries_with_intrinsics.txt``: lines
  ``image model width height parameters...``.

Poses of queries are private.
"""

from pathlib import Path

from pycolmap import Rigid3d

from vizloc_ros.datasets.camera_lists import read_camera_list
from vizloc_ros.datasets.colmap import MODEL_FILES, read_model
from vizloc_ros.datasets.lenses import distorted_camera
from vizloc_ros.datasets.listed import ListedDataset, ListedImage, in_order
from vizloc_ros.datasets.nvm import read_nvm
from vizloc_ros.datasets.specification import parse_specification, require_no_options
from vizloc_ros.errors import CameraError, DatasetError
from vizloc_ros.geometry.rectification import DistortedCamera
from vizloc_ros.timing import NANOSECONDS

MODELS = (  # COLMAP's folders, and VisualSFM's files with their lists of cameras
    ("3D-models/aachen_v_1_1", None),
    ("3D-models/aachen_v_1_1/aachen_v_1_1.nvm", "database_intrinsics_v1_1.txt"),
    ("3D-models/aachen_cvpr2018_db.nvm", "database_intrinsics.txt"),
    ("3D-models/aachen_v_1/aachen_cvpr2018_db.nvm", "database_intrinsics.txt"),
)
IMAGES = ("images_upright", "images/images_upright")
QUERIES = {
    "day": "queries/day_time_queries_with_intrinsics.txt",
    "night": "queries/night_time_queries_with_intrinsics.txt",
}

_Entry = tuple[DistortedCamera, Rigid3d | None, str]  # lens, world_from_cam, and file that lists the image


def open_aachen(spec: str) -> ListedDataset:
    """Open ``PATH[?model=FOLDER]``, the folder of the dataset.

    Raises:
        DatasetError: an option is invalid, or a file is missing or malformed; the text names the file and the line.
    """
    where = f"aachen:{spec}"
    folder, options = parse_specification(spec, "Aachen Day-Night with images_upright, 3D-models and queries")
    model = options.pop("model", None)
    require_no_options(options, ("model",), where)
    images = next((folder / name for name in IMAGES if (folder / name).is_dir()), None)
    if images is None:
        raise DatasetError(f"{folder / IMAGES[0]}: no such folder; unpack images/database_and_query_images.zip")
    listed = {"map": _read_map(folder, model)}
    for split, file in QUERIES.items():
        path = folder / file
        listed[split] = {name: (lens, None, str(path)) for name, lens in read_camera_list(path, "image").items()}
    listed["query"] = listed["day"] | listed["night"]
    names = sorted({name for entries in listed.values() for name in entries})
    stamps = {name: index * NANOSECONDS for index, name in enumerate(names)}
    parts = {
        split: in_order(
            ListedImage(images / name, name, stamps[name], lens, pose, at, submitted_name=_submitted_name(name, split))
            for name, (lens, pose, at) in entries.items()
        )
        for split, entries in listed.items()
    }
    return ListedDataset(where, parts, "unpack images/database_and_query_images.zip, and for v1.1 aachen_v1_1.zip")


def _submitted_name(name: str, split: str) -> str | None:
    """Name of a query for visuallocalization.net: that of the file, without folders (README of the dataset)."""
    return None if split == "map" else name.rsplit("/", 1)[-1]


def _read_map(folder: Path, named: str | None) -> dict[str, _Entry]:
    """Read the images of the map: of the named folder of COLMAP, or of the first model that is there."""
    models = MODELS if named is None else ((named, None),)
    for file, cameras in models:
        path = folder / file
        if cameras is not None and path.is_file():
            return _read_visualsfm(path, path.with_name(cameras))
        if cameras is None and any(all((path / f"{f}{s}").is_file() for f in MODEL_FILES) for s in (".bin", ".txt")):
            return _read_colmap(path)
    raise DatasetError(
        f"{folder / models[0][0]}: there is no 3D model ({', '.join(f'{file}.bin' for file in MODEL_FILES)}): unpack "
        f"aachen_v1_1.zip, or name its folder: aachen:{folder}?model=FOLDER"
    )


def _read_colmap(path: Path) -> dict[str, _Entry]:
    entries: dict[str, _Entry] = {}
    for image in read_model(path, scale=1.0):
        try:
            entries[image.name] = distorted_camera(image.camera), image.world_from_cam, str(path)
        except CameraError as error:
            raise DatasetError(f"{path}: camera {image.camera.camera_id} of image {image.name}: {error}") from error
    return entries


def _read_visualsfm(path: Path, cameras: Path) -> dict[str, _Entry]:
    lenses = read_camera_list(cameras, "image")
    entries: dict[str, _Entry] = {}
    for image in read_nvm(path):
        if image.name not in lenses:
            raise DatasetError(f"{cameras}: there is no camera of {image.name}, which is in {image.where}")
        entries[image.name] = lenses[image.name], image.world_from_cam, image.where
    return entries
