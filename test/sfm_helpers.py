"""Small COLMAP reconstructions and images for them."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pycolmap
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.record import Record
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.mapping.colmap_model import open_model
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.triangulation import Triangulation

SIZE = (96, 64)


def pose_of(index: int) -> Rigid3d:
    """cam_from_world of an image of the tests."""
    return Rigid3d(Rotation3d(np.array([0.1, 0.2 * index, -0.3])), np.array([1.0, -2.0, 0.5 * index]))


def reconstruction(images: dict[str, tuple[pycolmap.Camera, Rigid3d]]) -> pycolmap.Reconstruction:
    """A model of named images with a camera and cam_from_world each."""
    model = pycolmap.Reconstruction()
    for image_id, (name, (camera, cam_from_world)) in enumerate(images.items(), start=1):
        if not model.exists_camera(camera.camera_id):
            model.add_camera_with_trivial_rig(camera)
        image = pycolmap.Image(name=name, camera_id=camera.camera_id, image_id=image_id)
        model.add_image_with_trivial_frame(image, cam_from_world)
    return model


def write_model(folder: Path, images: dict[str, tuple[pycolmap.Camera, Rigid3d]], binary: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model = reconstruction(images)
    (model.write_binary if binary else model.write_text)(folder)


def pattern(size: tuple[int, int] = SIZE) -> UInt8:
    """A smooth image, so that resampling it twice changes little."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    return np.asarray(127 + 60 * np.sin(x / 5) + 60 * np.cos(y / 4), dtype=np.uint8)


def write_image(path: Path, image: UInt8 | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pattern() if image is None else image)


def posed(record: Record) -> Rigid3d:
    assert record.world_from_cam is not None
    return record.world_from_cam


def same_pose(a: Rigid3d, b: Rigid3d, atol: float = 1e-9) -> bool:
    return bool(np.allclose(a.matrix(), b.matrix(), atol=atol))


def rays_of(camera: PinholeCamera) -> np.ndarray:
    """Rays (N, 3) of a grid of pixels over the whole image."""
    columns, rows = np.meshgrid(np.linspace(0, camera.width - 1, 9), np.linspace(0, camera.height - 1, 7))
    return camera.rays(np.stack([columns.ravel(), rows.ravel()], axis=1))


def model_of(keyframes: Sequence[Keyframe], triangulation: Triangulation, folder: Path) -> pycolmap.Reconstruction:
    """Model of a map, written into an existing folder and read again."""
    rows = triangulation.rows_of_keyframes(len(keyframes))
    with open_model(folder, triangulation, len(keyframes)) as append:
        for keyframe, of_keyframe in zip(keyframes, rows, strict=True):
            append(keyframe, of_keyframe)
    return pycolmap.Reconstruction(folder)
