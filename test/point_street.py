"""A bend lined with points whose projections and descriptors are known: features of known poses, without images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.features.extractor import FeatureExtractor
from vizloc_ros.features.rootsift import RootSiftVlad
from vizloc_ros.features.types import NO_GLOBAL_DESCRIPTOR, Features, quantize
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import pose_from_matrix, transform_points
from vizloc_ros.mapping.keyframe_pairs import Keyframe, PairOptions, keyframe_pairs
from vizloc_ros.mapping.map_writer import MapContent, write_map
from vizloc_ros.mapping.pair_matching import MatchOptions, PairMatches, match_pairs
from vizloc_ros.mapping.triangulation import Triangulation, TriangulationOptions, triangulate
from vizloc_ros.parallel import silent

CAMERA = PinholeCamera(640, 400, 350.0, 360.0, 310.25, 205.75)  # off-centre, and fx is not fy: nothing cancels
RADIUS = 30.0  # m
MOUNTING = Rigid3d(
    Rotation3d(np.array([-0.1, 0.03, 0.05])), np.zeros(3)
)  # tilted: no quaternion element equals another
STEP_S = 0.1


@dataclass(frozen=True)
class View:
    """A keyframe and which point each of its keypoints is; -1 for clutter."""

    keyframe: Keyframe
    points: np.ndarray


class PointStreet:
    """Points in the world x east, y north, z up [m], each with a descriptor of its own."""

    def __init__(self, seed: int, count: int = 3000, length: float = 60.0) -> None:
        self._rng = np.random.default_rng(seed)
        along = self._rng.uniform(0, length, count) / RADIUS
        radius = RADIUS + self._rng.choice([-1, 1], count) * self._rng.uniform(3, 9, count)
        self.points = np.stack(
            [radius * np.sin(along), RADIUS - radius * np.cos(along), self._rng.uniform(-1.5, 5, count)], axis=1
        )
        self.descriptors = self._unit(self._rng.normal(size=(count, 128)))

    def pose(self, distance: float) -> Rigid3d:
        """world_from_cam after so many metres of the bend."""
        turn = distance / RADIUS
        forward, down = np.array([np.cos(turn), np.sin(turn), 0]), np.array([0, 0, -1.0])
        centre = np.array([RADIUS * np.sin(turn), RADIUS - RADIUS * np.cos(turn), 0])
        return pose_from_matrix(np.column_stack([np.cross(down, forward), down, forward, centre])) * MOUNTING

    def view(self, distance: float, *, noise_px: float = 0.0, clutter: int = 0) -> View:
        """View of the camera there, within 25 m, in random order; ``clutter`` keypoints look like another point."""
        pose = self.pose(distance)
        in_camera = transform_points(pose.inverse(), self.points)
        pixels, visible = CAMERA.project(in_camera)
        seen = self._rng.permutation(np.flatnonzero(visible & (in_camera[:, 2] > 2) & (in_camera[:, 2] < 25)))
        pixels = pixels[seen] + noise_px * self._rng.normal(size=(len(seen), 2))
        false = self._rng.choice(len(self.points), clutter, replace=False)
        keypoints = np.concatenate([pixels, self._rng.uniform((0, 0), CAMERA.size, (clutter, 2))]).astype(np.float32)
        descriptors = self.descriptors[np.concatenate([seen, false])]
        descriptors = self._unit(descriptors + 0.02 * self._rng.normal(size=descriptors.shape))
        scores = np.linspace(1, 0.1, len(keypoints), dtype=np.float32)
        features = Features(keypoints, scores, quantize(descriptors), NO_GLOBAL_DESCRIPTOR, CAMERA.size)
        stamp = round(distance / 0.5 * STEP_S * 1e9)
        keyframe = Keyframe(f"street/{distance:05.1f}.png", stamp, CAMERA, pose, features)
        return View(keyframe, np.concatenate([seen, np.full(clutter, -1)]))

    def views(self, count: int, *, noise_px: float = 0.0, clutter: int = 0) -> list[View]:
        """Views every two metres."""
        return [self.view(2.0 * i, noise_px=noise_px, clutter=clutter) for i in range(count)]

    @staticmethod
    def _unit(vectors: np.ndarray) -> np.ndarray:
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class RepeatedStreet(PointStreet):
    """The points of the first 24 m are there again 60 m farther on."""

    def __init__(self) -> None:
        super().__init__(seed=3, count=2800, length=84.0)
        center, turn = np.array([0, RADIUS, 0]), 60.0 / RADIUS
        rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
        x, y = (self.points - center)[:, 0], -(self.points - center)[:, 1]
        way = np.arctan2(x, y) % (2 * np.pi) * RADIUS
        first, last = way < 24, way >= 60
        self.points = np.concatenate([self.points[~last], (self.points[first] - center) @ rotation.T + center])
        self.descriptors = np.concatenate([self.descriptors[~last], self.descriptors[first]])


def described(keyframes: Sequence[Keyframe], seed: int = 0) -> tuple[list[Keyframe], FeatureExtractor]:
    """The keyframes with VLAD descriptors, and the extractor that learned them."""
    extractor = RootSiftVlad(words=16, dimension=32).learn([k.features for k in keyframes], seed)
    return [replace(k, features=extractor.describe(k.features)) for k in keyframes], extractor


def matched(keyframes: Sequence[Keyframe]) -> list[PairMatches]:
    """All pairs by pose, matched."""
    pairs = keyframe_pairs(keyframes, PairOptions(by_retrieval=0))
    return match_pairs(keyframes, pairs, MatchOptions(), silent)


def write_point_map(views: Sequence[View], out: Path) -> tuple[MapContent, Triangulation]:
    """Triangulates and writes a map."""
    keyframes, extractor = described([view.keyframe for view in views])
    triangulation = triangulate(keyframes, matched(keyframes), TriangulationOptions(), silent)
    created = datetime(2024, 5, 17, 12, 0, tzinfo=timezone.utc)
    content = MapContent(keyframes, triangulation, extractor, "points:", "map", "0.1.0", created)
    write_map(content, {"warnings": []}, out)
    return content, triangulation
