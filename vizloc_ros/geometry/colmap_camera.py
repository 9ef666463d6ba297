"""Pinhole cameras of COLMAP, in which (0.5, 0.5) is the center of the top-left pixel; in the package it is (0, 0)."""

import pycolmap

from vizloc_ros.geometry.camera import PIXEL_CENTRE, PinholeCamera


def colmap_camera(camera: PinholeCamera, camera_id: int = 1) -> pycolmap.Camera:
    """Camera of COLMAP, with its convention of pixels."""
    params = [camera.fx, camera.fy, camera.cx + PIXEL_CENTRE, camera.cy + PIXEL_CENTRE]
    return pycolmap.Camera(
        camera_id=camera_id, model="PINHOLE", width=camera.width, height=camera.height, params=params
    )


def pinhole_camera(camera: pycolmap.Camera) -> PinholeCamera:
    """Pinhole camera of a camera of COLMAP, without the distortion of that."""
    return PinholeCamera(
        camera.width,
        camera.height,
        camera.focal_length_x,
        camera.focal_length_y,
        camera.principal_point_x - PIXEL_CENTRE,
        camera.principal_point_y - PIXEL_CENTRE,
    )
