"""Pairs of a query and a keyframe with common landmarks (PixLoc, section 5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pycolmap import Rigid3d
from scipy.spatial.transform import Rotation

from vizloc_ros.arrays import Bool, Float32, Float64, UInt8
from vizloc_ros.datasets.record import Record, every
from vizloc_ros.errors import DatasetError, ImageError
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.features.gray_image import gray_image
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera
from vizloc_ros.geometry.poses import perturbed
from vizloc_ros.mapping.builder import BuildOptions, build_map
from vizloc_ros.mapping.rotated_views import RotatedViewOptions
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.parallel import Progress, parallel_map, silent
from vizloc_ros.pixloc.image_fit import scale_to_multiples
from vizloc_ros.pixloc.optimizer.projection import project
from vizloc_ros.readers import open_dataset
from vizloc_ros.training.pixloc.pixloc_training_options import InitialPoses, PairSource, Partners

MIN_LANDMARKS = 16  # landmarks that both images of a pair contain


@dataclass(frozen=True)
class View:
    """Image with its camera and pose.

    Attributes:
        name: name of its record.
        camera: camera of the view, which may have more pixels than the image.
        image: (H, W) input of the network.
        cam_from_map: pose of the map in the camera's frame.
        correction: intrinsics correction of the map.
    """

    name: str
    camera: PinholeCamera
    image: UInt8
    cam_from_map: Rigid3d
    correction: IntrinsicsCorrection

    def see(self, points: Float64) -> tuple[Float64, Bool]:
        """Project (N, 3) landmarks [m, map] to (N, 2) pixels of the camera, with an (N,) mask of those in the image."""
        rotation, translation = self.cam_from_map.rotation.matrix(), self.cam_from_map.translation
        seen = project(rotation[None], translation[None], points, self.camera, self.correction)
        return seen.pixels[0], self.camera.contains(seen.pixels[0]) & seen.in_front[0]


@dataclass(frozen=True)
class Pair:
    """Alignment to train on.

    Attributes:
        query: image that is aligned.
        keyframe: image of the reference features.
        points: (N, 3) landmarks that both images contain [m, map].
        initial_pose: initial pose cam_from_map.
    """

    query: View
    keyframe: View
    points: Float32
    initial_pose: Rigid3d


class PairDrive:
    """All pairs of one source.

    Attributes:
        name: name of the dataset.
        training: names of the queries for training.
        validation: names of the held-out queries; no training query is aligned with them.
    """

    def __init__(
        self, source: PairSource, folder: Path, partners: Partners, long_side: int, progress: Progress = silent
    ) -> None:
        """Open the map, or build it, and read all images.

        Args:
            source: dataset and map.
            folder: folder of the map if the source has none.
            partners: keyframes that an image may be aligned with.
            long_side: maximum longer side of an image [px].
            progress: progress display.

        Raises:
            VizlocError: the dataset, an image or the map cannot be used, or no two images have common landmarks.
        """
        self.name, self._partners = source.dataset, partners
        dataset = open_dataset(source.dataset)
        keyframes = every(dataset.records(source.map_split), source.every)
        folder = source.map or folder
        if not folder.exists():
            options = BuildOptions(rotated_views=RotatedViewOptions(yaws=()))  # they are for retrieval only
            extractor = open_extractor("hfnet", {})
            build_map(keyframes, extractor, folder, dataset=source.dataset, options=options, progress=progress)
        self._map = VisualMap.open(folder)
        by_name = {record.name: record for record in keyframes}
        if unknown := [name for name in self._map.keyframe_names if name not in by_name]:
            raise DatasetError(f"{folder}: its image {unknown[0]} is not in {source.dataset}: give another 'map'")
        queries = dataset.records(source.query_split) if source.query_split else keyframes
        first = len(queries) - round(source.held_out * len(queries))
        self._records = [by_name[name] for name in self._map.keyframe_names]
        chosen = {record.name: record for record in (*self._records, *queries)}
        posed = self._map.info.place.records_in_map(list(chosen.values()))
        views = parallel_map(lambda record: self._view(record, long_side), posed, "reading images", progress)
        self._views = dict(zip(chosen, views, strict=True))
        self._centers = self._map.keyframe_poses[:, :3]
        self._directions = Rotation.from_quat(self._map.keyframe_poses[:, 3:]).as_matrix()[:, :, 2]
        self._candidates: dict[str, list[int]] = {}
        held_out = frozenset(record.name for record in queries[first:])
        self.training = self._with_partners(queries[: max(first - source.gap, 0)], excluded=held_out)
        self.validation = self._with_partners(queries[first:])
        if not self.training:
            raise DatasetError(
                f"{source.dataset}: no two images of it see the same landmarks: lower 'partners.overlap'"
            )

    def draw(self, query: str, initial_poses: InitialPoses, rng: np.random.Generator) -> Pair:
        """Draw a pair.

        Args:
            query: name of the query.
            initial_poses: initial poses of the alignments.
            rng: source of all random numbers.
        """
        view, candidates = self._views[query], self._candidates[query]
        keyframe = int(rng.choice(candidates))
        points = self._common_landmarks(view, keyframe)
        count = min(self._partners.landmarks, len(points))
        chosen = points[np.sort(rng.choice(len(points), count, replace=False))]
        reference = self._views[self._records[keyframe].name]
        if rng.random() < initial_poses.reference and reference is not view:
            initial_pose = reference.cam_from_map
        else:
            distance, degrees = rng.uniform(0, initial_poses.translation), rng.uniform(0, initial_poses.rotation)
            initial_pose = perturbed(view.cam_from_map.inverse(), distance, degrees, rng).inverse()
        return Pair(view, reference, chosen.astype(np.float32), initial_pose)

    def _view(self, record: Record, long_side: int) -> View:
        if record.world_from_cam is None:
            raise DatasetError(f"{record.name}: has no pose, and training needs one")
        gray = gray_image(record.read_image())
        try:
            image = scale_to_multiples(gray, long_side)
        except ImageError as error:
            raise DatasetError(f"{record.name}: {error}; leave it out") from error
        correction = self._map.info.intrinsics_correction(record.camera)
        return View(record.name, record.camera, image, record.world_from_cam.inverse(), correction)

    def _with_partners(self, queries: Sequence[Record], excluded: frozenset[str] = frozenset()) -> list[str]:
        """Names of the queries that have a partner other than the excluded keyframes."""
        for record in queries:
            view = self._views[record.name]
            inverse = view.cam_from_map.inverse()
            near = np.linalg.norm(self._centers - inverse.translation, axis=1) <= self._partners.distance
            cosines = self._directions @ inverse.rotation.matrix()[:, 2]
            same_direction = cosines >= np.cos(np.radians(self._partners.angle))
            candidates = [
                k
                for k in np.flatnonzero(near & same_direction).tolist()
                if self._records[k].name not in excluded | {record.name} and self._overlaps(view, k)
            ]
            if candidates:
                self._candidates[record.name] = candidates
        return [record.name for record in queries if record.name in self._candidates]

    def _overlaps(self, view: View, keyframe: int) -> bool:
        minimum = self._partners.overlap * len(self._map.landmarks_of(keyframe))
        return len(self._common_landmarks(view, keyframe)) >= max(MIN_LANDMARKS, minimum)

    def _common_landmarks(self, view: View, keyframe: int) -> Float64:
        """(M, 3) landmarks of a keyframe that a view contains [m, map]."""
        points = np.asarray(self._map.landmark_positions[self._map.landmarks_of(keyframe)], np.float64)
        _, inside = view.see(points)
        return points[inside]
