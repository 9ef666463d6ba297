"""Import of hloc's maps: its landmarks, poses and features become a map, without extraction or matching."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap

from vizloc_ros import __version__
from vizloc_ros.arrays import Float64, Int64, evenly
from vizloc_ros.datasets.colmap import ColmapImage, colmap_specification, posed_images, read_reconstruction
from vizloc_ros.datasets.colmap_lens import rectified_pixels
from vizloc_ros.datasets.hloc_features import HlocFiles, LocalFeatures
from vizloc_ros.datasets.image_files import read_image
from vizloc_ros.errors import CameraError, DatasetError, MapError
from vizloc_ros.features.extractor import FeatureExtractor, FeatureKind
from vizloc_ros.features.types import Features, dequantize, quantize
from vizloc_ros.geometry.camera import PIXEL_CENTRE, PinholeCamera
from vizloc_ros.mapping.builder import BuildOptions
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.map_writer import MapContent, require_replaceable, write_map
from vizloc_ros.mapping.pose_diagnosis import depth_warnings
from vizloc_ros.mapping.triangulation import Triangulation, observation_depths, triangulation_of
from vizloc_ros.mapping.visual_map import FOREIGN_FEATURES
from vizloc_ros.parallel import Progress, silent
from vizloc_ros.timing import NANOSECONDS

_MIN_TRACK = 2  # keyframes of a landmark
_COMPARED = 3  # images whose features are extracted again
_SAME_PIXEL, _SAME_DESCRIPTOR, _SAME_SHARE = 2.0, 0.9, 0.3  # px, cosine, ratio of the keypoints


@dataclass(frozen=True)
class NoExtractor:
    """``FeatureKind`` of features whose network is not at hand: the map can be read, but queries must bring theirs.

    Attributes:
        name: ``hloc:`` and the names of the files of features.
    """

    name: str

    @property
    def feature_id(self) -> str:
        """Identifier of the features: their name."""
        return self.name

    @property
    def settings(self) -> dict[str, Any]:
        """No settings."""
        return {}

    def save(self, folder: Path) -> None:
        """Write nothing."""


def import_hloc(
    files: HlocFiles,
    out: Path,
    *,
    extractor: FeatureExtractor | None = None,
    images: Path | None = None,
    scale: float = 1.0,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Write a map of hloc's outputs and return its report.

    Keypoints move to where the rectified images show them. With an extractor, some images are extracted again and
    compared, and an extractor that learns its global descriptor learns it from the features.

    Args:
        files: outputs of hloc.
        out: folder of the map.
        extractor: extractor of the features, with which queries will be localized; None if it is not at hand.
        images: folder of the images, for the comparison; None to trust the extractor.
        scale: meters per unit of the model.
        seed: seed of what is learned.
        progress: progress bar.

    Raises:
        DatasetError: a file cannot be read, or files do not belong together.
        MapError: no landmark is left, the features are not the extractor's, or the map cannot be written.
        ImageError: an image cannot be read.
    """
    require_replaceable(out)
    model = read_reconstruction(files.model)
    posed = posed_images(model, files.model, scale)
    names = [image.name for image in posed]
    locals_ = progress(files.local(names), "reading features", len(names))
    read = [_Image.of(model, image, local, files) for image, local in zip(posed, locals_, strict=False)]
    features = [
        replace(image.features, global_descriptor=descriptor)
        for image, descriptor in zip(read, files.global_descriptors(names), strict=True)
    ]
    kind: FeatureKind
    if extractor is None:
        kind = NoExtractor(
            ":".join([FOREIGN_FEATURES, *(p.stem for p in (files.features, files.global_features) if p)])
        )
    else:
        _require_same(extractor, files, names, images)
        kind = extractor = extractor.learn(features, seed)
        features = [extractor.describe(f) for f in features]
    if not features[0].global_descriptor.size:
        raise DatasetError(f"{files.features}: the map needs global descriptors, too: name their file with --global")
    keyframes = [
        Keyframe(i.posed.name, index * NANOSECONDS, i.camera, i.posed.world_from_cam, f)
        for index, (i, f) in enumerate(zip(read, features, strict=True))
    ]
    triangulation = _triangulation(model, keyframes, read, scale)
    if not len(triangulation.positions):
        raise MapError(f"{files.model}: no point is seen in {_MIN_TRACK} images: triangulate the model first")
    report = _report(keyframes, triangulation, seed)
    dataset = (
        f"colmap:{colmap_specification(files.model, images, scale)}" if images else f"hloc:{files.model.resolve()}"
    )
    created = datetime.now(timezone.utc)
    write_map(MapContent(keyframes, triangulation, kind, dataset, "map", __version__, created), report, out)
    return report


@dataclass(frozen=True)
class _Image:
    """Image of the model with its features.

    Attributes:
        posed: image and pose.
        camera: camera of the rectified image.
        features: features in the rectified image, without the keypoints that it cannot show.
        points: (N,) id of the model's point at each keypoint; -1 without one.
    """

    posed: ColmapImage
    camera: PinholeCamera
    features: Features
    points: Int64

    @classmethod
    def of(cls, model: pycolmap.Reconstruction, image: ColmapImage, local: LocalFeatures, files: HlocFiles) -> "_Image":
        """Join an image and its features. Raises ``DatasetError`` unless they belong together."""
        found = model.find_image_with_name(image.name)
        points2d = found.points2D if found is not None else []
        _require_same_keypoints(image.name, np.array([p.xy for p in points2d]).reshape(-1, 2), local, files)
        try:
            pixels, camera = rectified_pixels(local.keypoints.astype(np.float64), image.camera)
        except CameraError as error:
            raise DatasetError(f"{files.model}: camera {image.camera.camera_id} of {image.name}: {error}") from error
        shown = np.isfinite(pixels).all(axis=1)
        points = np.array([p.point3D_id if p.has_point3D() else -1 for p in points2d], np.int64)
        features = Features(
            pixels[shown].astype(np.float32),
            local.scores[shown],
            quantize(local.descriptors[shown]),
            np.zeros(0, np.float32),
            camera.size,
        )
        return cls(image, camera, features, points[shown])


def _require_same_keypoints(name: str, of_model: Float64, local: LocalFeatures, files: HlocFiles) -> None:
    """Raise ``DatasetError`` unless the model was made from these keypoints, up to their rounding to float16."""
    keypoints = local.keypoints
    if len(of_model) == len(keypoints):
        difference = np.abs(of_model - PIXEL_CENTRE - keypoints)
        if (difference <= 0.1 + np.spacing(np.abs(keypoints).astype(np.float16)).astype(np.float64)).all():
            return
    raise DatasetError(
        f"{files.features}: the {len(keypoints)} keypoints of {name} are not the {len(of_model)} of {files.model}: the "
        "model was made from other features"
    )


def _require_same(extractor: FeatureExtractor, files: HlocFiles, names: Sequence[str], images: Path | None) -> None:
    """Raise ``MapError`` unless features of some images, extracted again, are those of the files.

    Without images, only the size of a descriptor is compared.
    """
    chosen = [names[i] for i in np.unique(evenly(len(names), _COMPARED))]
    stored, globals_ = list(files.local(chosen)), list(files.global_descriptors(chosen))
    if images is None:
        noise = np.random.default_rng(0).integers(0, 255, (96, 128), np.uint8)
        own = [extractor.extract(noise)] * len(chosen)
    else:
        own = [extractor.extract(read_image(images / name)) for name in chosen]
    size = own[0].descriptors.shape[1]
    if (found := stored[0].descriptors.shape[1]) != size:
        raise MapError(
            f"{files.features}: its descriptors have {found} elements, those of {extractor.name} {size}: they are of "
            "another network"
        )
    own_size = own[0].global_descriptor.size
    if own_size and globals_[0].size and own_size != globals_[0].size:
        raise MapError(
            f"{files.global_features}: its descriptors have {globals_[0].size} elements, those of {extractor.name} "
            f"{own_size}: they are of another network"
        )
    if images is None:
        return
    for name, mine, theirs, descriptor in zip(chosen, own, stored, globals_, strict=True):
        share = _agreement(mine, theirs)
        if share < _SAME_SHARE:
            raise MapError(
                f"{files.features}: only {share:.0%} of the keypoints that {extractor.name} finds in {name} are there "
                "with a similar descriptor: the features are of another network, or of other images"
            )
        if own_size and descriptor.size and float(mine.global_descriptor @ descriptor) < _SAME_DESCRIPTOR:
            raise MapError(f"{files.global_features}: that of {name} is not the descriptor of {extractor.name}")


def _agreement(own: Features, stored: LocalFeatures) -> float:
    """Ratio of keypoints that another extraction finds at the same place with a similar descriptor."""
    if not len(own) or not len(stored.keypoints):
        return float(len(own) == len(stored.keypoints))
    best = own.best(512)
    near = np.linalg.norm(best.keypoints[:, None] - stored.keypoints[None], axis=2) < _SAME_PIXEL
    similarity = dequantize(best.descriptors) @ stored.descriptors.T
    return float((near & (similarity > _SAME_DESCRIPTOR)).any(axis=1).mean())


def _triangulation(
    model: pycolmap.Reconstruction, keyframes: Sequence[Keyframe], images: Sequence[_Image], scale: float
) -> Triangulation:
    """Landmarks of the model and their observations, which are those of the rectified images."""
    owners = np.repeat(np.arange(len(images)), [len(image.points) for image in images])
    keypoints = np.concatenate([np.arange(len(image.points)) for image in images])
    ids = np.concatenate([image.points for image in images])
    seen = np.unique(np.stack([ids, owners])[:, ids >= 0], axis=1)  # an image may see a point twice
    found, counts = np.unique(seen[0], return_counts=True)
    kept = found[counts >= _MIN_TRACK]
    rows = np.flatnonzero(np.isin(ids, kept))
    landmarks = np.searchsorted(kept, ids[rows]).astype(np.int32)
    positions = scale * np.array([model.point3D(int(i)).xyz for i in kept]).reshape(-1, 3)
    return triangulation_of(keyframes, positions, owners[rows], keypoints[rows], landmarks)


def _report(keyframes: Sequence[Keyframe], triangulation: Triangulation, seed: int) -> dict[str, Any]:
    observed = np.bincount(triangulation.keyframes, minlength=len(keyframes))
    depths = observation_depths(keyframes, triangulation)
    enough = BuildOptions().min_observations
    return {
        "keyframes": len(keyframes),
        "landmarks": len(triangulation.positions),
        "observations": len(triangulation.landmarks),
        "mean_track_length": len(triangulation.landmarks) / len(triangulation.positions),
        "mean_reprojection_error_px": triangulation.mean_error,
        "median_depth_m": float(np.median(depths)),
        "weak_keyframes": [k.name for k, n in zip(keyframes, observed, strict=True) if n < enough],
        "warnings": depth_warnings(depths),
        "seed": seed,
    }
