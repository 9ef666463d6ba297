"""Levels of an image on which a pose is optimized: feature levels of the pyramid, and the patches of the fine level."""

from abc import ABC, abstractmethod

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.arrays import Bool, Float32, Float64, Int64, evenly
from vizloc_ros.geometry.se3 import adjoint
from vizloc_ros.pixloc.optimizer.aligned_view import View
from vizloc_ros.pixloc.optimizer.alignment_options import AlignmentOptions, LearnedAlignment
from vizloc_ros.pixloc.optimizer.patch_products import PatchProducts
from vizloc_ros.pixloc.optimizer.products import ImageProducts, PointProducts, ResidualProducts
from vizloc_ros.pixloc.optimizer.projection import LevelCamera
from vizloc_ros.pixloc.optimizer.robust import BarronLoss
from vizloc_ros.pixloc.patches import PATTERN, Patches, SmoothedImage, contrast_confidence

_PATCH_DAMPING = 1e-4
_PATCH_LOSS = BarronLoss(0.0, 0.15)  # unit residuals; it bends at a correlation of 0.99
_SMALLEST, _LARGEST = 0.5, 2.0  # limits of the enlargement of a patch; beyond, it hardly looks like the reference
_PATCH_BORDER = 1.5 * float(PATTERN.max())  # px of the shrunk image


class Level(ABC):
    """One level of the image of a camera, with the landmarks that are aligned on it.

    Attributes:
        index: index of the level, 0 is the finest of its optimizer.
        adjoint: (6, 6) adjoint of cam_from_rig, which turns an update of rig_from_map into that of cam_from_map; None
            for the only camera, whose poses are the rig's.
        camera: camera of the level.
        points: (3, N) positions of the landmarks [m, map].
        confidences: (N,) confidences u_k of the reference features.
        min_landmarks: minimum number of landmarks in the image.
        min_motion: it has converged when a step moves landmarks by less [pixels of the level].
        damping: (6,) damping lambda (PixLoc, Eq. 7).
        loss: robust cost rho (Eq. 2).
    """

    index: int
    adjoint: Float64 | None
    camera: LevelCamera
    points: Float64
    confidences: Float32
    min_landmarks: int
    min_motion: float
    damping: Float64
    loss: BarronLoss
    _shape: tuple[int, int]
    _border: float

    def __init__(self, index: int, view: View) -> None:
        self.index, self._cam_from_rig = index, view.cam_from_rig
        self.adjoint = None if view.cam_from_rig is None else adjoint(view.cam_from_rig)

    @abstractmethod
    def products_at(self, slots: Int64, u: Float64, v: Float64) -> ResidualProducts:
        """Look up the residuals (PixLoc, Eq. 1) of M landmarks at their positions; as ``PointProducts.at``."""

    def cams_from_map(self, rotations: Float64, translations: Float64) -> tuple[Float64, Float64]:
        """Return A poses of the camera, (A, 3, 3) and (A, 3), by those of the rig."""
        if self._cam_from_rig is None:
            return rotations, translations
        rotation = self._cam_from_rig.rotation.matrix()
        return rotation @ rotations, translations @ rotation.T + self._cam_from_rig.translation

    def contains(self, u: Float64, v: Float64) -> Bool:
        """Return the mask of the positions on the level that are not too near to its border."""
        border = self._border
        rows, columns = self._shape
        return (u >= border) & (v >= border) & (u <= columns - 1 - border) & (v <= rows - 1 - border)


class FeaturesOnLevel(Level):
    """A level of the pyramid; coarser ones have fewer landmarks."""

    def __init__(
        self,
        index: int,
        view: View,
        poses: int,
        learned: LearnedAlignment,
        options: AlignmentOptions,
    ) -> None:
        super().__init__(index, view)
        level, references = view.pyramid.levels[index], view.references
        self.camera = LevelCamera(view.camera, view.correction, level.scale)
        self.damping, self.loss = learned.dampings[index], learned.loss
        self.min_motion = options.coarse_min_motion if index else options.min_motion
        count = max(len(references) >> index, min(len(references), options.coarse_landmarks))
        rows = evenly(len(references), count)
        level_references = references.levels[index].take(rows) if count < len(references) else references.levels[index]
        self.points = np.ascontiguousarray(references.positions[rows].T)
        self.confidences = level_references.confidences
        self._products = PointProducts(ImageProducts(level), level_references, poses)
        self.min_landmarks = options.min_landmarks
        self._shape, self._border = level.shape, options.border

    def products_at(self, slots: Int64, u: Float64, v: Float64) -> ResidualProducts:
        """Return scalar products of image and reference features."""
        return self._products.at(slots, u, v)


class PatchesOnLevel(Level):
    """The fine level: patches of the landmarks, as large as the landmarks are in this image from one initial pose."""

    def __init__(
        self,
        view: View,
        image: SmoothedImage,
        patches: Patches,
        rig_from_map: Rigid3d,
        options: AlignmentOptions,
    ) -> None:
        """Take the patches of the landmarks of a view, for a pose near the right one."""
        super().__init__(0, view)
        camera, cam_from_map = view.camera, view.cam_from_map(rig_from_map)
        self.camera = LevelCamera(camera, view.correction, image.scale)
        self.damping, self.loss = np.full(6, _PATCH_DAMPING), _PATCH_LOSS
        self.min_motion, self.min_landmarks = options.coarse_min_motion, options.min_landmarks
        self.points = np.ascontiguousarray(view.references.positions.T)
        self.confidences = contrast_confidence(patches.contrasts)
        self._shape, self._border = image.shape, _PATCH_BORDER
        matrix = cam_from_map.matrix()[None]
        self._projected = self.camera.project(matrix[:, :, :3], matrix[:, :, 3], self.points)
        resolutions = camera.fx * image.scale[0] * self._projected.inverse_depth[0]
        enlargements = np.clip(resolutions / np.maximum(patches.resolutions, 1e-6), _SMALLEST, _LARGEST)
        self._products = PatchProducts(image, patches, enlargements)

    def products_at(self, slots: Int64, u: Float64, v: Float64) -> ResidualProducts:
        """Return scalar products of patches of the image and of the references."""
        return self._products.at(slots, u, v)

    def sharpness(self, count: int) -> float:
        """Return how sharp the image is for the keyframes, by ``count`` landmarks at the pose: 1 if they are alike."""
        u, v = self._projected.u[0], self._projected.v[0]
        seen = np.flatnonzero(self._projected.in_front[0] & self.contains(u, v))
        if not len(seen):
            return 0.0
        rows = seen[evenly(len(seen), min(count, len(seen)))]
        return self._products.sharpness(rows, u[rows], v[rows], self.confidences[rows])
