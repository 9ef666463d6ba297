"""Setting that all methods share: a map, features of the queries, and all keypoints of the keyframes, in one folder."""

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pycolmap
from pycolmap import Rigid3d

from vizloc_ros.arrays import Int32
from vizloc_ros.datasets.record import Record
from vizloc_ros.features.types import Features, corrected
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.mapping.visual_map import MODEL_FOLDER, VisualMap
from vizloc_ros.parallel import parallel_map
from vizloc_ros.timing import Stopwatch

NO_LANDMARK = -1
TOP_K = 10  # retrieved keyframes of every method


@dataclass(frozen=True)
class Query:
    """Features of one image, as extracted, and its camera."""

    name: str
    features: Features
    camera: PinholeCamera

    def corrected_for(self, visual_map: VisualMap) -> Features:
        """Features with keypoints where the calibrated camera would have seen them, as the map's are."""
        return corrected(self.features, visual_map.info.intrinsics_correction(self.camera), self.camera)


@dataclass(frozen=True)
class Keyframe:
    """All features of a keyframe, and the (N,) landmark of each keypoint or ``NO_LANDMARK``."""

    features: Features
    landmarks: Int32


class Peer(Protocol):
    """Method of localization."""

    def localize(self, query: Query, clock: Stopwatch) -> Rigid3d | None:
        """Return the pose map_from_cam of a query, or None; measure the stages."""
        ...


@dataclass(frozen=True)
class Setting:
    """Files of one comparison.

    Attributes:
        folder: folder of the files.
        map_folder: folder of the map.
    """

    folder: Path
    map_folder: Path

    @property
    def visual_map(self) -> VisualMap:
        """The map, opened anew."""
        return VisualMap.open(self.map_folder)

    @property
    def model_folder(self) -> Path:
        """COLMAP model of the map, in which images have all their keypoints."""
        return self.map_folder / MODEL_FOLDER

    @property
    def queries(self) -> dict[str, Query]:
        """Queries by name, from their file."""
        queries: dict[str, Query] = pickle.loads((self.folder / "queries.pickle").read_bytes())
        return queries

    @property
    def keyframes(self) -> list[Keyframe]:
        """Keyframes in the order of the map, from their file."""
        keyframes: list[Keyframe] = pickle.loads((self.folder / "keyframes.pickle").read_bytes())
        return keyframes

    def write(self, queries: Sequence[Query], features: Sequence[Features]) -> None:
        """Write the files.

        Args:
            queries: the queries.
            features: all features of each keyframe of the map, as extracted from its image.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        visual_map, model = self.visual_map, pycolmap.Reconstruction(self.model_folder)
        images = {image.name: image for image in model.images.values()}
        keyframes = []
        for k, of_image in enumerate(features):
            camera = visual_map.info.cameras[int(visual_map.keyframe_cameras[k])]
            keyframes.append(
                Keyframe(
                    corrected(of_image, visual_map.info.intrinsics_correction(camera), camera),
                    _landmarks(images[visual_map.keyframe_names[k]]),
                )
            )
        (self.folder / "queries.pickle").write_bytes(pickle.dumps({query.name: query for query in queries}))
        (self.folder / "keyframes.pickle").write_bytes(pickle.dumps(keyframes))


def extract_queries(records: Sequence[Record], visual_map: VisualMap) -> list[Query]:
    """Features of the images of queries."""
    extractor = visual_map.extractor
    features = parallel_map(lambda record: extractor.extract(record.read_image()), records, "")
    return [Query(r.name, f, r.camera) for r, f in zip(records, features, strict=True)]


def extract_keyframes(records: Sequence[Record], visual_map: VisualMap) -> list[Features]:
    """All features of the keyframes, in the order of the map: the map has only those that observe a landmark."""
    by_name, extractor = {r.name: r for r in records}, visual_map.extractor
    images = [by_name[name] for name in visual_map.keyframe_names]
    return parallel_map(lambda record: extractor.extract(record.read_image()), images, "")


def _landmarks(image: pycolmap.Image) -> Int32:
    # The map's landmarks are numbered from 0, the points of its model from 1, in the same order.
    return np.array([p.point3D_id - 1 if p.has_point3D() else NO_LANDMARK for p in image.points2D], np.int32)
