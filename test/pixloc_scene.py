"""A made-up image to align: smooth random features on three levels, and landmarks that were seen where they are."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float32, Float64
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera
from vizloc_ros.geometry.se3 import se3_exp
from vizloc_ros.pixloc.optimizer.aligned_view import View
from vizloc_ros.pixloc.optimizer.alignment_options import LearnedAlignment
from vizloc_ros.pixloc.optimizer.projection import project
from vizloc_ros.pixloc.optimizer.robust import BarronLoss
from vizloc_ros.pixloc.pyramid import FeatureLevel, FeaturePyramid, level_of_image
from vizloc_ros.pixloc.references import References, sample_references

CAMERA = PinholeCamera(320, 240, 260.0, 250.0, 158.0, 121.0)
TRUTH = se3_exp(np.array([1.0, -2.0, 3.0, 0.3, -0.9, 0.2]))
STRIDES = (4, 8, 16)
PRIORS = [
    se3_exp(np.array(step)) * TRUTH
    for step in (
        [0.3, 0.1, -0.3, 0.02, -0.03, 0.01],
        [-0.3, 0.05, 0.2, -0.01, 0.02, -0.04],
        [0.0, -0.2, 0.4, 0.03, 0.03, 0.03],
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    )
]


@dataclass(frozen=True)
class Scene:
    """What ``align`` takes."""

    pyramid: FeaturePyramid
    references: References
    learned: LearnedAlignment

    def view(self, correction: IntrinsicsCorrection | None = None) -> View:
        return View(self.pyramid, self.references, CAMERA, correction or IntrinsicsCorrection())

    def only_level(self, index: int) -> "Scene":
        """The same with that level alone."""
        return Scene(
            FeaturePyramid((self.pyramid.levels[index],), self.pyramid.image_size),
            replace(self.references, levels=(self.references.levels[index],)),
            LearnedAlignment(self.learned.dampings[[index]], self.learned.loss),
        )

    def with_loss(self, loss: BarronLoss) -> "Scene":
        return replace(self, learned=LearnedAlignment(self.learned.dampings, loss))


def scene(
    landmarks: int = 300,
    *,
    noise: float = 0.0,
    correction: IntrinsicsCorrection | None = None,
    truth: Rigid3d = TRUTH,
    seed: int = 0,
) -> Scene:
    """Without ``noise`` in the references, every residual is zero at the pose ``truth`` of the camera."""
    rng = np.random.default_rng(7 + seed)
    pixels = rng.uniform((12, 12), (CAMERA.width - 13, CAMERA.height - 13), (landmarks, 2))
    points = truth.inverse() * (CAMERA.rays(pixels) * rng.uniform(4, 25, (landmarks, 1)))
    pose = truth.matrix()[None]
    seen = project(pose[:, :, :3], pose[:, :, 3], points, CAMERA, correction or IntrinsicsCorrection()).pixels[0]
    levels = tuple(smooth_level(CAMERA.size, stride, 3 * seed + i) for i, stride in enumerate(STRIDES))
    references = [sample_references(level, seen, normalize=False) for level in levels]
    noisy = tuple(
        replace(level, features=level.features + rng.normal(0, noise, level.features.shape).astype(np.float32))
        for level in references
    )
    dampings = np.geomspace(1e-3, 1e-1, 6 * len(levels)).reshape(-1, 6)
    return Scene(
        FeaturePyramid(levels, CAMERA.size),
        References(points, np.arange(landmarks), noisy),
        LearnedAlignment(dampings, BarronLoss(0.0, 0.3)),
    )


def smooth_level(image_size: tuple[int, int], stride: int, seed: int, channels: int = 8) -> FeatureLevel:
    """Unit features that change over some three pixels of the level, and confidences from 0 to 1."""
    rng = np.random.default_rng(seed)
    columns, rows = (side // stride for side in image_size)
    smooth = cv2.GaussianBlur(rng.normal(size=(rows, columns, channels + 1)).astype(np.float32), (0, 0), 3)
    trust = 1 / (1 + np.exp(-20 * smooth[:, :, channels]))
    return level_of_image(np.ascontiguousarray(smooth[:, :, :channels]), trust.astype(np.float32), image_size)


def bilinear(values: Float32, u: Float64, v: Float64) -> tuple[Float64, Float64, Float64]:
    """(M, C) values of a (H, W, C) map between its pixels, and their derivatives by u and v, in double precision."""
    rows, columns = values.shape[:2]
    left = np.clip(np.floor(u).astype(int), 0, columns - 2)
    top = np.clip(np.floor(v).astype(int), 0, rows - 2)
    x, y = (u - left)[:, None], (v - top)[:, None]
    a, b, c, d = (values[top + j, left + i].astype(np.float64) for j in (0, 1) for i in (0, 1))
    value = (1 - y) * ((1 - x) * a + x * b) + y * ((1 - x) * c + x * d)
    return value, (1 - y) * (b - a) + y * (d - c), (1 - x) * (c - a) + x * (d - b)


def stack(poses: list[Rigid3d]) -> tuple[Float64, Float64]:
    """(B, 3, 3) rotations and (B, 3) translations."""
    matrices = np.array([pose.matrix() for pose in poses])
    return matrices[:, :, :3], matrices[:, :, 3]
