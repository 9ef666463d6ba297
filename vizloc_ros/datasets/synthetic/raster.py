"""Exact renderer of quads: a pixel belongs to the nearest quad that the ray through its center hits.

For a plane with frame F = [right, down, origin - camera position] and a camera K, R, the matrix ``inv(K R F)`` maps a
pixel (x, y, 1) to (s, t, 1) / z. So s/z, t/z and 1/z are affine in the pixel:

* every edge of a quad, and the near plane, is a half-plane in the image, so no polygon has to be clipped;
* the z-test compares affine functions;
* the texture is one perspective warp.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Bool, Float32, Float64, Int32, UInt8
from vizloc_ros.datasets.synthetic.quads import Scene
from vizloc_ros.geometry.camera import PinholeCamera

NEAR = 0.2  # m


@dataclass(frozen=True)
class _Footprints:
    """Image regions of a scene's M visible quads, nearest first.

    Attributes:
        index: (M,) indices of the quads in the scene.
        st_from_pixel: (M, 3, 3) matrices inv(K R F).
        first: (M, H) first pixel of the quad in each row.
        last: (M, H) last pixel of the quad in each row; less than ``first`` in rows without pixels.
    """

    index: Int32
    st_from_pixel: Float64
    first: Int32
    last: Int32


def render(scene: Scene, gains: Float64, camera: PinholeCamera, world_from_cam: Rigid3d) -> tuple[UInt8, Float32]:
    """Render a scene.

    Args:
        scene: N quads that cover the whole view.
        gains: (N,) brightness factors of the quads.
        camera: camera of the image.
        world_from_cam: pose of the camera's optical frame.

    Returns:
        The (H, W) gray image and the (H, W) inverse depth along z [1/m], exact up to float32.
    """
    image = np.zeros((camera.height, camera.width), np.uint8)
    inverse_depth = np.zeros(image.shape, np.float32)
    columns = np.arange(camera.width, dtype=np.int32)
    footprints = _footprints(scene, camera, world_from_cam)
    for index, st_from_pixel, first, last in zip(
        footprints.index, footprints.st_from_pixel, footprints.first, footprints.last, strict=True
    ):
        rows = np.flatnonzero(first <= last)
        y0, y1 = int(rows[0]), int(rows[-1]) + 1
        first, last = first[y0:y1, None], last[y0:y1, None]
        x0, x1 = int(first.min()), int(last.max()) + 1
        box = np.s_[y0:y1, x0:x1]

        a, b, c = st_from_pixel[2]
        inverse = np.add.outer(
            (b * np.arange(y0, y1) + c).astype(np.float32), (a * columns[x0:x1]).astype(np.float32), dtype=np.float32
        )
        visible = inverse > inverse_depth[box]
        visible &= columns[x0:x1] >= first
        visible &= columns[x0:x1] <= last
        if not visible.any():
            continue
        middle = (y1 - y0) // 2
        inside = np.array([(first[middle, 0] + last[middle, 0]) / 2, y0 + middle, 1.0])
        patch = _sample(scene, int(index), st_from_pixel, inside, (x0, y0, x1 - x0, y1 - y0), visible)
        cv2.convertScaleAbs(patch, patch, alpha=float(gains[index]))
        np.copyto(image[box], patch, where=visible)
        np.copyto(inverse_depth[box], inverse, where=visible)
    return image, inverse_depth


def _footprints(scene: Scene, camera: PinholeCamera, world_from_cam: Rigid3d) -> _Footprints:
    frames = scene.frames.copy()
    frames[:, :, 2] -= world_from_cam.translation
    frames = camera.matrix @ np.asarray(world_from_cam.rotation.matrix()).T @ frames
    index = np.flatnonzero(_may_be_seen(frames, camera))
    st_from_pixel = np.linalg.inv(frames[index])

    s, t, inverse_depth = np.moveaxis(st_from_pixel, 1, 0)
    nearer_than_near = np.array([0.0, 0.0, 1 / NEAR]) - inverse_depth
    edges = np.stack([s, inverse_depth - s, t, inverse_depth - t, inverse_depth, nearer_than_near])
    # Each edge is a half-plane a x + b y + c >= 0: in each row, a bound on x from the left or from the right.
    a = np.where(np.abs(edges[..., 0]) < 1e-300, 1e-300, edges[..., 0])[..., None]
    with np.errstate(over="ignore"):
        bound = -(edges[..., 1, None] * np.arange(camera.height) + edges[..., 2, None]) / a
    left = np.where(a > 0, bound, -np.inf).max(axis=0)
    right = np.where(a < 0, bound, np.inf).min(axis=0)
    first = np.ceil(left.clip(0, camera.width)).astype(np.int32)
    last = np.floor(right.clip(-1, camera.width - 1)).astype(np.int32)

    hit = np.flatnonzero((first <= last).any(axis=1))
    nearest_first = hit[np.argsort(frames[index[hit]][:, 2] @ np.array([0.5, 0.5, 1.0]), kind="stable")]
    return _Footprints(
        index[nearest_first].astype(np.int32), st_from_pixel[nearest_first], first[nearest_first], last[nearest_first]
    )


def _may_be_seen(frames: Float64, camera: PinholeCamera) -> Bool:
    """(N,) mask of the quads, given as (N, 3, 3) frames K R F, that are not entirely outside one side of the view."""
    corners = frames @ np.array([[0, 1, 1, 0], [0, 0, 1, 1], [1, 1, 1, 1]], dtype=np.float64)
    x, y, z = np.moveaxis(corners, 1, 0)
    sides = np.stack([z - NEAR, x, y, (camera.width - 1) * z - x, (camera.height - 1) * z - y])
    edge_on = np.abs(np.linalg.det(frames)) < 1e-9
    return (sides > 0).any(axis=2).all(axis=0) & ~edge_on


def _sample(
    scene: Scene,
    index: int,
    st_from_pixel: Float64,
    inside: Float64,
    box: tuple[int, int, int, int],
    visible: Bool,
) -> UInt8:
    """Sample a quad's texture in a box (x, y, width, height) of the image; clear ``visible`` at transparent pixels."""
    quad = scene.quads[index]
    texture, (u, v, width, height) = quad.texture, quad.window
    s, t, inverse_depth = st_from_pixel @ inside
    gradient_s = (st_from_pixel[0, :2] - s / inverse_depth * st_from_pixel[2, :2]) / inverse_depth
    gradient_t = (st_from_pixel[1, :2] - t / inverse_depth * st_from_pixel[2, :2]) / inverse_depth
    shrink_u = float(np.hypot(*gradient_s)) * width * texture.width
    shrink_v = float(np.hypot(*gradient_t)) * height * texture.height
    image, alpha = texture.level(shrink_u, shrink_v)

    rows, columns = image.shape
    texel_from_st = np.array(
        [[width * columns, 0.0, u * columns - 0.5], [0.0, height * rows, v * rows - 0.5], [0.0, 0.0, 1.0]]
    )
    pixel_from_box = np.array([[1.0, 0.0, box[0]], [0.0, 1.0, box[1]], [0.0, 0.0, 1.0]])
    texel_from_box = texel_from_st @ st_from_pixel @ pixel_from_box
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    if alpha is not None:
        visible &= cv2.warpPerspective(alpha, texel_from_box, box[2:], flags=flags) >= 128
    patch = cv2.warpPerspective(image, texel_from_box, box[2:], flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(patch, np.uint8)
