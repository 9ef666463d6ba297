"""Export of a map's COLMAP model: cameras that fit the images as they are, names, observations and points."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pycolmap

from vizloc_ros.arrays import Float64
from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import MapError
from vizloc_ros.files import replacing_folder, require_folder, require_new
from vizloc_ros.geometry.camera import PIXEL_CENTRE, IntrinsicsCorrection, PinholeCamera
from vizloc_ros.geometry.colmap_camera import colmap_camera
from vizloc_ros.mapping.map_format import FileInfo
from vizloc_ros.mapping.visual_map import MODEL_FOLDER, VisualMap
from vizloc_ros.parallel import Progress, parallel_map, silent

IMAGE_FOLDER = "images"
_IMAGE_SUFFIX = ".png"


def export_colmap(
    visual_map: VisualMap,
    out: Path,
    *,
    text: bool = False,
    records: Sequence[Record] | None = None,
    progress: Progress = silent,
) -> pycolmap.Reconstruction:
    """Write the COLMAP model of a map into a new folder, which ``colmap:OUT`` reads with its images.

    Positions are in the coordinates of the map's dataset. A camera that the map's self-calibration corrected is an
    OPENCV camera with the correction, and its observations are where the images show them: the correction of the map
    moves the observations instead.

    Args:
        visual_map: the map.
        out: folder that is new or empty.
        text: True for COLMAP's text format.
        records: images from which the map was built; with them, ``out/images`` gets the images, rectified, as PNG, and
            the points get their colors. None to write the model only.
        progress: progress bar.

    Returns:
        The model as it was written.

    Raises:
        MapError: the map's model is missing or of another map, or an image is missing.
        OutputError: ``out`` is not new, or cannot be written.
        ImageError: an image cannot be read.
    """
    require_new(out)
    require_folder(out.parent)
    model = read_model_of(visual_map)
    _put_corrections_into_cameras(model, visual_map)
    if visual_map.info.place.is_moved:
        world_from_map = visual_map.info.place.world_from_map_pose
        model.transform(pycolmap.Sim3d(1.0, world_from_map.rotation, world_from_map.translation))
    try:
        with replacing_folder(out) as folder:
            if records is not None:
                _write_images(model, visual_map.images_among(records), folder / IMAGE_FOLDER, progress)
                model.extract_colors_for_all_images(folder / IMAGE_FOLDER)
            (model.write_text if text else model.write_binary)(folder)
    except OSError as error:
        raise MapError(f"{out}: the model cannot be written: {error}") from error
    return model


def read_model_of(visual_map: VisualMap) -> pycolmap.Reconstruction:
    """Read the COLMAP model inside a map. Raises ``MapError`` for a model that is missing or was changed."""
    folder = visual_map.folder / MODEL_FOLDER
    for name, expected in visual_map.info.files.items():
        path = visual_map.folder / name
        if path.parent == folder and not (path.is_file() and FileInfo.of(path) == expected):
            raise MapError(f"{path}: missing or changed since the map was written: restore it, or build the map again")
    return pycolmap.Reconstruction(folder)


def _put_corrections_into_cameras(model: pycolmap.Reconstruction, visual_map: VisualMap) -> None:
    info = visual_map.info
    corrections = {i: info.intrinsics_correction(camera) for i, camera in enumerate(info.cameras)}
    corrected = {i: c for i, c in corrections.items() if c != IntrinsicsCorrection()}
    changed = {}
    for keyframe, i in enumerate(visual_map.keyframe_cameras.tolist()):
        if i not in corrected:
            continue
        image, camera, correction = model.image(keyframe + 1), info.cameras[i], corrected[i]
        changed[image.camera_id] = _corrected_camera(camera, correction, image.camera_id)
        pixels = np.array([point.xy for point in image.points2D]).reshape(-1, 2) - PIXEL_CENTRE
        for point, pixel in zip(image.points2D, _uncorrected(pixels, correction, camera), strict=True):
            point.xy = pixel + PIXEL_CENTRE
    for camera_id, camera in changed.items():
        model.cameras[camera_id].model = camera.model
        model.cameras[camera_id].params = camera.params.tolist()
    if changed:
        model.update_point_3d_errors()


def _corrected_camera(camera: PinholeCamera, correction: IntrinsicsCorrection, camera_id: int) -> pycolmap.Camera:
    """Camera of the real image: the shift of a correction is that of a focal length, a principal point and k1."""
    fx, fy, cx, cy = colmap_camera(camera).params
    focal = 1 + correction.focal
    params = [fx * focal, fy * focal, cx + correction.cx, cy + correction.cy, correction.radial / focal, 0, 0, 0]
    return pycolmap.Camera(camera_id=camera_id, model="OPENCV", width=camera.width, height=camera.height, params=params)


def _uncorrected(pixels: Float64, correction: IntrinsicsCorrection, camera: PinholeCamera) -> Float64:
    """Pixels (N, 2) in the image, of (N, 2) corrected ones: the inverse of ``features.types.corrected``."""
    real = pixels
    for _ in range(10):  # the shift is a few pixels and varies slowly: each round adds two digits
        real = pixels + correction.shift(real, camera)
    return real


def _write_images(model: pycolmap.Reconstruction, records: Sequence[Record], folder: Path, progress: Progress) -> None:
    """Write the images of the keyframes as PNG, and give the model their names."""
    names = [r.name if r.name.endswith(_IMAGE_SUFFIX) else f"{r.name}{_IMAGE_SUFFIX}" for r in records]

    def write(index: int) -> None:
        path = folder / names[index]
        path.parent.mkdir(parents=True, exist_ok=True)
        if not cv2.imwrite(str(path), records[index].read_image()):
            raise MapError(f"{path}: the image cannot be written")

    parallel_map(write, range(len(records)), "writing images", progress)
    for index, name in enumerate(names):
        model.image(index + 1).name = name
