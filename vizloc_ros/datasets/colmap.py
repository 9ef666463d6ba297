"""Reader of COLMAP reconstructions, such as MegaDepth's: ``colmap:PATH?model=sparse/1&images=photos&scale=1.2``.

The model, binary or text, has names, cameras and poses; images are rectified when they are read. Images from COLMAP's
image_undistorter (``undistorted=FOLDER``) are read with the model of the distorted images. Their cameras are computed
again, because MegaDepth does not include them.

A reconstruction has no times: the images, in order of their names, get times one second apart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import numpy as np
import pycolmap
from pycolmap import Rigid3d

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.colmap_lens import rectified_reader
from vizloc_ros.datasets.colmap_text import check_text_model
from vizloc_ros.datasets.image_files import read_image
from vizloc_ros.datasets.lenses import undistorted_camera
from vizloc_ros.datasets.parsing import QUATERNION_NORM_TOLERANCE, numbered_rows, parse_number
from vizloc_ros.datasets.record import Record, unknown_split
from vizloc_ros.errors import CameraError, DatasetError
from vizloc_ros.timing import NANOSECONDS

MODELS = (".", "sparse", "sparse/0", "sparse/manhattan/0")  # of COLMAP and of MegaDepth
IMAGES = ("images", "imgs")
MODEL_FILES = ("cameras", "images", "points3D")
COUNT_BYTES = 8  # a binary file begins with the number of its entries
QUERY_EVERY = 8  # every 8th image is a query, as is common in novel view synthesis
# What pycolmap raises for broken files: it reads counts before contents, so garbage may ask for all memory.
UNREADABLE_MODEL = (ValueError, IndexError, RuntimeError, MemoryError)


@dataclass(frozen=True)
class ColmapImage:
    """Registered image of the model.

    Attributes:
        name: path below the folder of the images.
        camera: camera of the model.
        world_from_cam: pose of the camera's optical frame, scaled to meters.
    """

    name: str
    camera: pycolmap.Camera
    world_from_cam: Rigid3d


@dataclass(frozen=True)
class ColmapDataset:
    """Reconstruction and its images; ``open_colmap`` opens it.

    Attributes:
        spec: text after ``colmap:`` that the dataset was opened with.
        model: folder of the reconstruction.
        images: registered images, in order of their names.
        image_folder: folder of the image files.
        undistorted: True for the output of COLMAP's image_undistorter, which may omit images.
        parts: indices into ``images`` for every split.
    """

    spec: str
    model: Path
    images: list[ColmapImage]
    image_folder: Path
    undistorted: bool
    parts: dict[str, list[int]]

    @property
    def name(self) -> str:
        """``colmap:PATH?...`` that the dataset was opened with."""
        return f"colmap:{self.spec}"

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits: "all" is all images; the others are those of the given lists, or else "map" and "query"."""
        return tuple(self.parts)

    def records(self, split: str) -> list[Record]:
        """Return the records of a split in order of their names, without images that image_undistorter omitted.

        Raises:
            DatasetError: there is no such split, an image of it is missing, or its camera cannot be rectified.
        """
        if split not in self.parts:
            raise unknown_split(self.name, split, self.parts)
        present = [i for i in self.parts[split] if self._is_present(self.image_folder / self.images[i].name)]
        if not present:
            raise DatasetError(
                f"{self.image_folder}: none of the {len(self.parts[split])} images of the split {split!r} is there, "
                f"for example {self.images[0].name}; name another folder"
            )
        return [self._record(i, split) for i in present]

    def _is_present(self, path: Path) -> bool:
        if path.is_file():
            return True
        if self.undistorted:
            return False
        raise DatasetError(
            f"{path}: no such image, but {self.model} has it: name the folder of the images with images=FOLDER, or "
            "undistorted=FOLDER if they come from COLMAP's image_undistorter"
        )

    def _record(self, index: int, split: str) -> Record:
        image = self.images[index]
        path = self.image_folder / image.name
        try:
            if self.undistorted:
                height, width = read_image(path).shape[:2]
                camera = undistorted_camera(image.camera, (width, height))
                read: Callable[[], UInt8] = partial(read_image, path, camera.size)
            else:
                camera, read = rectified_reader(image.camera, path)
        except CameraError as error:
            raise DatasetError(
                f"{self.model}: camera {image.camera.camera_id} of image {image.name}: {error}; or leave the image "
                f"out with a list of the others ({split}=FILE)"
            ) from error
        return Record(image.name, index * NANOSECONDS, camera, split, image.world_from_cam, read, path)


def open_colmap(spec: str) -> ColmapDataset:
    """Open ``PATH[?model=FOLDER&images=FOLDER&undistorted=FOLDER&scale=1&NAME=FILE]``; all paths may be below PATH.

    Raises:
        DatasetError: an option is invalid, or a folder or file is missing or malformed.
    """
    root_text, _, query = spec.partition("?")
    root = Path(root_text)
    if not root.is_dir():
        raise DatasetError(f"{root}: no such folder; it should hold a COLMAP reconstruction and its images")
    options = dict(parse_qsl(query, keep_blank_values=True))
    model = _model_folder(root, options.pop("model", None))
    scale = parse_number(options.pop("scale", "1"), "scale", f"colmap:{spec}")
    if scale <= 0:
        raise DatasetError(
            f"colmap:{spec}: scale={scale:g}; it must be positive: metres per unit of the reconstruction"
        )
    image_folder, undistorted = _image_folder(
        root, model, options.pop("images", None), options.pop("undistorted", None)
    )
    images = read_model(model, scale)
    parts = {"all": list(range(len(images)))}
    parts |= {split: _read_list(split, root / file, images, model) for split, file in options.items()} or {
        "map": [i for i in parts["all"] if i % QUERY_EVERY],
        "query": parts["all"][::QUERY_EVERY],
    }
    return ColmapDataset(spec, model, images, image_folder, undistorted, parts)


def colmap_specification(model: Path, images: Path, scale: float = 1.0, **lists: Path) -> str:
    """Text with which ``open_colmap`` reads a model and its images, wherever it is opened from.

    Args:
        model: folder of the model.
        images: folder of its images.
        scale: meters per unit of the model.
        lists: file with the names of the images of a split, by the split's name.
    """
    options = {"images": str(images.resolve())} | ({} if scale == 1 else {"scale": repr(scale)})
    options |= {split: str(file.resolve()) for split, file in lists.items()}
    return f"{model.resolve()}?{urlencode(options, safe='/')}"


def _model_folder(root: Path, named: str | None) -> Path:
    candidates = [root / folder for folder in (MODELS if named is None else (named,))]
    for folder in candidates:
        if has_model(folder):
            return folder
    raise DatasetError(
        f"{', '.join(map(str, candidates))}: no COLMAP reconstruction ({', '.join(MODEL_FILES)}, all .bin or all "
        f".txt); name its folder: colmap:{root}?model=FOLDER"
    )


def _image_folder(root: Path, model: Path, images: str | None, undistorted: str | None) -> tuple[Path, bool]:
    """The folder of the image files, and whether they are undistorted."""
    if images is not None and undistorted is not None:
        raise DatasetError(f"images={images} and undistorted={undistorted}: the images are one or the other")
    dense = Path(f"dense{model.name}", "imgs")  # MegaDepth's sparse/manhattan/1 belongs to dense1
    megadepth = root.resolve().parent.parent / "phoenix/S6/zl548/MegaDepth_v1" / root.resolve().name
    if images is not None:
        candidates = [(root / images, False)]
    elif undistorted is not None:
        candidates = [(root / undistorted, True)]
    else:
        candidates = [*((root / folder, False) for folder in IMAGES), (root / dense, True), (megadepth / dense, True)]
    for folder, is_undistorted in candidates:
        if folder.is_dir():
            return folder, is_undistorted
    raise DatasetError(
        f"{', '.join(str(folder) for folder, _ in candidates)}: no such folder of images; name it with images=FOLDER, "
        "or undistorted=FOLDER if they come from COLMAP's image_undistorter"
    )


def read_model(folder: Path, scale: float) -> list[ColmapImage]:
    """Read the registered images, in order of their names."""
    return posed_images(read_reconstruction(folder), folder, scale)


def read_reconstruction(folder: Path) -> pycolmap.Reconstruction:
    """Read a reconstruction, binary or text. Raises ``DatasetError`` for a file that COLMAP cannot read."""
    if not all((folder / f"{file}.bin").is_file() for file in MODEL_FILES):
        check_text_model(folder)
    for path in sorted(folder.glob("*.bin")):
        if path.stem in MODEL_FILES and path.stat().st_size < COUNT_BYTES:  # COLMAP would read a count of anything
            raise DatasetError(f"{path}: the file is empty ({path.stat().st_size} bytes): copy it again")
    try:
        return pycolmap.Reconstruction(folder)
    except UNREADABLE_MODEL as error:
        raise DatasetError(
            f"{folder}: COLMAP cannot read the reconstruction: {error}; copy or export it again"
        ) from error


def posed_images(model: pycolmap.Reconstruction, folder: Path, scale: float) -> list[ColmapImage]:
    """Registered images of a reconstruction, in order of their names. Raises ``DatasetError`` if it has none."""
    images = [
        ColmapImage(image.name, model.cameras[image.camera_id], _world_from_cam(image, scale, folder))
        for image in model.images.values()
        if image.has_pose
    ]
    if not images:
        raise DatasetError(f"{folder}: the reconstruction has no image with a pose")
    return sorted(images, key=lambda image: image.name)


def has_model(folder: Path) -> bool:
    """Return True if a folder has the files of a model, all binary or all text."""
    return any(all((folder / f"{file}{suffix}").is_file() for file in MODEL_FILES) for suffix in (".bin", ".txt"))


def _world_from_cam(image: pycolmap.Image, scale: float, folder: Path) -> Rigid3d:
    cam_from_world = image.cam_from_world()
    norm = float(np.linalg.norm(cam_from_world.rotation.quat))
    if abs(norm - 1.0) > QUATERNION_NORM_TOLERANCE or not np.isfinite(cam_from_world.translation).all():
        raise DatasetError(
            f"{folder}: image {image.name} has no valid pose (norm of its quaternion {norm:.4g}): copy or export the "
            "reconstruction again"
        )
    pose = cam_from_world.inverse()
    return Rigid3d(pose.rotation, scale * pose.translation)


def _read_list(split: str, path: Path, images: list[ColmapImage], model: Path) -> list[int]:
    """Read the indices of the images that a file lists, one name in each line; ascending."""
    if not path.is_file():
        raise DatasetError(
            f"{path}: no such file; {split}=FILE gives the split {split!r} its images. The other options are model, "
            "images, undistorted, scale"
        )
    positions = {image.name: i for i, image in enumerate(images)}
    listed: set[int] = set()
    for line, fields in numbered_rows(path):
        name = " ".join(fields)
        if name not in positions:
            raise DatasetError(
                f"{path}:{line}: {model} has no image {name!r} with a pose; expected one name a line, as in the model"
            )
        listed.add(positions[name])
    if not listed:
        raise DatasetError(f"{path}: there is no image in it; expected one name a line")
    return sorted(listed)
