"""Points around a vehicle with two cameras, front and rear: features and places of known poses, without images."""

from dataclasses import replace

import numpy as np
from point_street import CAMERA
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.features.types import NO_GLOBAL_DESCRIPTOR, Features, quantize
from vizloc_ros.geometry.poses import BODY_FROM_OPTICAL, transform_points
from vizloc_ros.localization.places import Place
from vizloc_ros.localization.rig_view import RigView

FRONT, REAR = "front", "rear"
MOUNTS = {
    FRONT: Rigid3d(Rotation3d(), np.array([1.5, 0.2, 1.4])) * BODY_FROM_OPTICAL,
    REAR: Rigid3d(Rotation3d(np.array([0, 0, 3.0])), np.array([-0.9, 0.0, 1.2])) * BODY_FROM_OPTICAL,
}
BASE = Rigid3d(Rotation3d(np.array([0.02, -0.03, 0.7])), np.array([12.0, -5.0, 0.1]))  # map_from_base
ELSEWHERE = Rigid3d(Rotation3d(np.array([0, 0, 0.5])), np.array([60.0, -20.0, 0.0]))


class RigScene:
    """Houses on both sides of the vehicle; every point has a descriptor of its own."""

    def __init__(self, seed: int = 0, count: int = 3000) -> None:
        self._rng = np.random.default_rng(seed)
        along, height = self._rng.uniform(-30, 30, count), self._rng.uniform(-1.5, 6, count)
        beside = self._rng.choice([-1, 1], count) * self._rng.uniform(4, 12, count)
        self.points = transform_points(BASE, np.stack([along, beside, height], axis=1))
        self.descriptors = self._unit(self._rng.normal(size=(count, 128)))

    def view(
        self, name: str, *, keypoints: int = 600, clutter: int = 60, noise_px: float = 0.5, mount: Rigid3d | None = None
    ) -> RigView:
        """Image of a camera with the place that it shows; ``clutter`` keypoints look like points elsewhere.

        ``mount`` is the pose of the camera that is said of it, if that is not the true one.
        """
        in_camera = transform_points((BASE * MOUNTS[name]).inverse(), self.points)
        pixels, visible = CAMERA.project(in_camera)
        seen = self._rng.permutation(np.flatnonzero(visible & (in_camera[:, 2] > 2)))[:keypoints]
        false = self._rng.choice(len(self.points), clutter, replace=False)
        at = pixels[seen] + noise_px * self._rng.normal(size=(len(seen), 2))
        where = np.concatenate([at, self._rng.uniform((0, 0), CAMERA.size, (clutter, 2))])
        looks = self.descriptors[np.concatenate([seen, false])]
        looks = self._unit(looks + 0.02 * self._rng.normal(size=looks.shape))
        order = self._rng.permutation(len(where))  # by score
        features = Features(
            where[order].astype(np.float32),
            np.linspace(1, 0.1, len(where), dtype=np.float32),
            quantize(looks[order]),
            NO_GLOBAL_DESCRIPTOR,
            CAMERA.size,
        )
        known = np.union1d(seen, false)
        place = Place(self.points[known].astype(np.float32), known.astype(np.int32), quantize(self.descriptors[known]))
        return RigView(name, features, [place], CAMERA, mount or MOUNTS[name])

    def covered(self, view: RigView, visible: int = 0) -> RigView:
        """The image of a covered camera: as many keypoints, of which all but some look like any point."""
        count = len(view.features) - visible
        where, looks = view.features.keypoints.copy(), view.features.descriptors.copy()
        where[:count] = self._rng.uniform((0, 0), CAMERA.size, (count, 2))
        looks[:count] = quantize(self.descriptors[self._rng.choice(len(self.points), count)])
        return replace(view, features=replace(view.features, keypoints=where, descriptors=looks))

    @staticmethod
    def _unit(vectors: np.ndarray) -> np.ndarray:
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def moved(view: RigView, motion: Rigid3d) -> RigView:
    """The image with its places elsewhere in the map, which look the same."""
    places = [
        Place(
            transform_points(motion, place.positions.astype(np.float64)).astype(np.float32),
            place.landmark_ids + 100_000,
            place.descriptors,
        )
        for place in view.places
    ]
    return replace(view, places=places)
