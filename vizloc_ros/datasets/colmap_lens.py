"""Lenses of every camera model of COLMAP: those that OpenCV lacks are rectified with COLMAP's own projection."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path

import cv2
import numpy as np
import pycolmap

from vizloc_ros.arrays import Float64, UInt8
from vizloc_ros.datasets.image_files import read_image
from vizloc_ros.datasets.lenses import distorted_camera, has_opencv_model, read_rectified
from vizloc_ros.errors import CameraError
from vizloc_ros.geometry.camera import PIXEL_CENTRE, PinholeCamera
from vizloc_ros.geometry.colmap_camera import pinhole_camera
from vizloc_ros.geometry.rectification import rectified_camera
from vizloc_ros.wording import numbers_text

_MIN_COVERAGE = 0.95  # ratio of the rectified image that must come from inside the raw one


def rectified_reader(camera: pycolmap.Camera, path: Path) -> tuple[PinholeCamera, Callable[[], UInt8]]:
    """Rectified camera of an image, and the function that reads the image and rectifies it.

    Raises:
        CameraError: no pinhole image can be cut from this camera.
    """
    if has_opencv_model(camera):
        lens = distorted_camera(camera)
        return rectified_camera(lens), partial(read_rectified, path, lens)
    own = _lens(camera.model.name, camera.width, camera.height, tuple(camera.params.tolist()))
    return own.rectified, partial(own.read, path)


def rectified_pixels(pixels: Float64, camera: pycolmap.Camera) -> tuple[Float64, PinholeCamera]:
    """Pixels (N, 2) in the rectified image, of (N, 2) pixels [px] in the image of a camera; and the rectified camera.

    Pixels that the lens cannot see are NaN. Raises ``CameraError`` as ``rectified_reader``.
    """
    rectified, _ = rectified_reader(camera, Path())
    rays = np.asarray(camera.cam_from_img(pixels + PIXEL_CENTRE), np.float64)
    return rays * [rectified.fx, rectified.fy] + [rectified.cx, rectified.cy], rectified


@dataclass(frozen=True)
class _ColmapLens:
    """Lens of a model that OpenCV lacks, such as FOV, EUCM or a thin prism.

    Attributes:
        camera: camera of COLMAP.
        rectified: pinhole camera of the rectified images, as COLMAP's image_undistorter chooses it.
    """

    camera: pycolmap.Camera
    rectified: PinholeCamera

    @classmethod
    def of(cls, camera: pycolmap.Camera) -> "_ColmapLens":
        """Choose the rectified camera. Raises ``CameraError`` if none shows what the lens does."""
        name = camera.model.name
        if not camera.verify_params():
            raise CameraError(f"the camera has {len(camera.params)} parameters; {name} takes {camera.params_info}")
        try:
            pinhole = pycolmap.undistort_camera(pycolmap.UndistortCameraOptions(blank_pixels=0), camera)
        except ValueError as error:
            raise CameraError(
                f"the camera model {name} sees too wide an angle for a pinhole image: cut pinhole images from it"
            ) from error
        lens = cls(camera, pinhole_camera(pinhole))
        inside = PinholeCamera(camera.width, camera.height, 1, 1, 0, 0).contains(lens.raw_pixels.reshape(-1, 2))
        if inside.mean() < _MIN_COVERAGE:
            raise CameraError(
                f"the camera model {name} with parameters {numbers_text(camera.params)} would leave "
                f"{1 - inside.mean():.0%} of the rectified image empty: undistort the images, or calibrate again"
            )
        return lens

    @cached_property
    def raw_pixels(self) -> Float64:
        """Pixels (H, W, 2) in the raw image, of every pixel of the rectified one; NaN where the lens sees nothing."""
        x, y = np.meshgrid(np.arange(self.rectified.width), np.arange(self.rectified.height))
        rays = self.rectified.rays(np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64))
        return np.asarray(self.camera.img_from_cam(rays), np.float64).reshape(*x.shape, 2) - PIXEL_CENTRE

    def read(self, path: Path) -> UInt8:
        """Read and rectify an image. Raises ``ImageError`` as ``read_image``."""
        image = read_image(path, (self.camera.width, self.camera.height))
        maps = self.raw_pixels.astype(np.float32)
        return np.asarray(cv2.remap(image, maps, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)


@lru_cache(maxsize=8)  # the cameras of a rig; more would fill the memory if every image has its own camera
def _lens(model: str, width: int, height: int, params: tuple[float, ...]) -> _ColmapLens:
    return _ColmapLens.of(pycolmap.Camera(model=model, width=width, height=height, params=params))
