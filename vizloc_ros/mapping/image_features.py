"""Features of images, computed by the workers of a build and kept where its results are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import DatasetError, ImageError
from vizloc_ros.features.extractor import FeatureExtractor
from vizloc_ros.features.types import Features, corrected
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.rotated_views import RotatedViewOptions, with_rotated_views
from vizloc_ros.parallel import Progress
from vizloc_ros.work.stages import Arrays, Stages

State = tuple[tuple[str, int, int], ...]  # name, size [bytes] and time of change [ns] of files


@dataclass(frozen=True)
class SourceImage:
    """Image that can be read in another process, with all that its pixels depend on.

    Attributes:
        name: name of the image.
        camera: its camera.
        read: function that reads it.
        state: state of the files that it is read from.
    """

    name: str
    camera: PinholeCamera
    read: Callable[[], UInt8]
    state: State


def source_images(records: Sequence[Record], dataset: str) -> list[SourceImage]:
    """Images of records; those that are no files of their own are of the dataset's file or folder."""
    common = _state_of_dataset(dataset) if any(record.file is None for record in records) else ()
    return [SourceImage(r.name, r.camera, r.read_image, common if r.file is None else _state(r.file)) for r in records]


@dataclass(frozen=True)
class _Extraction:
    """Function of the stage: features of an image, and of its rotated views if there are options for them."""

    extractor: FeatureExtractor
    feature_id: str
    views: RotatedViewOptions | None

    def __call__(self, image: SourceImage) -> Arrays:
        pixels = image.read()
        if self.views is None:
            return _arrays(self.extractor.extract(pixels))
        if (pixels.shape[1], pixels.shape[0]) != image.camera.size:
            raise ImageError(
                f"{image.name}: is {pixels.shape[1]}x{pixels.shape[0]}, but its calibration is for "
                f"{image.camera.width}x{image.camera.height}: correct the intrinsics"
            )
        features = self.extractor.extract(pixels)
        return _arrays(with_rotated_views(features, pixels, image.camera, self.extractor, self.views))


def extract_features(
    records: Sequence[Record],
    extractor: FeatureExtractor,
    work: Stages,
    dataset: str,
    progress: Progress,
    *,
    stage: str = "extract",
    views: RotatedViewOptions | None = None,
) -> list[Features]:
    """Extract the features of records.

    Args:
        records: images.
        extractor: extractor of the features.
        work: place of the results.
        dataset: specification of the dataset.
        progress: progress display.
        stage: name of the stage.
        views: options of the rotated views of calibrated images; None: the images alone.

    Raises:
        ImageError: an image cannot be read, or with ``views`` is of another size than its calibration.
    """
    images = source_images(records, dataset)
    extraction = _Extraction(extractor, extractor.feature_id, views)
    found = work.map(stage, extraction, images, "extracting features", progress)
    return [_features(arrays) for arrays in found]


@dataclass(frozen=True)
class _Description:
    """Function of the stage: the global descriptor of features."""

    extractor: FeatureExtractor
    feature_id: str

    def __call__(self, features: Features) -> Arrays:
        return (self.extractor.describe(features).global_descriptor,)


def describe_features(
    features: Sequence[Features],
    extractor: FeatureExtractor,
    work: Stages,
    progress: Progress,
    *,
    stage: str = "describe",
) -> list[Features]:
    """Add the global descriptors of an extractor that has learned; features that have one stay as they are."""
    if all(len(f.global_descriptor) for f in features):
        return list(features)
    description = _Description(extractor, extractor.feature_id)
    found = work.map(stage, description, features, "describing images", progress)
    return [replace(f, global_descriptor=descriptor) for f, (descriptor,) in zip(features, found, strict=True)]


def keyframe_of(record: Record, features: Features) -> Keyframe:
    """Keyframe of a posed record. Raises ``DatasetError`` without a pose."""
    if record.world_from_cam is None:
        raise DatasetError(f"{record.name}: has no pose")
    return Keyframe(record.name, record.timestamp_ns, record.camera, record.world_from_cam, features)


@dataclass(frozen=True)
class _Correction:
    """Function of the stage: keypoints of a keyframe where the calibrated camera would have seen them."""

    corrections: Mapping[PinholeCamera, IntrinsicsCorrection]

    def __call__(self, keyframe: Keyframe) -> Arrays:
        correction = self.corrections.get(keyframe.camera, IntrinsicsCorrection())
        return (np.asarray(corrected(keyframe.features, correction, keyframe.camera).keypoints),)


def correct_keypoints(
    keyframes: Sequence[Keyframe],
    corrections: Mapping[PinholeCamera, IntrinsicsCorrection],
    work: Stages,
    progress: Progress,
) -> list[Keyframe]:
    """Keyframes with the keypoints that their calibrated cameras would have seen."""
    if all(correction == IntrinsicsCorrection() for correction in corrections.values()):
        return list(keyframes)
    found = work.map("correct", _Correction(corrections), keyframes, "correcting keypoints", progress)
    return [
        replace(keyframe, features=replace(keyframe.features, keypoints=keypoints))
        for keyframe, (keypoints,) in zip(keyframes, found, strict=True)
    ]


def _arrays(features: Features) -> Arrays:
    return (
        features.keypoints,
        features.scores,
        features.descriptors,
        features.global_descriptor,
        np.array(features.image_size, np.int64),
    )


def _features(arrays: Arrays) -> Features:
    keypoints, scores, descriptors, global_descriptor, size = arrays
    return Features(keypoints, scores, descriptors, global_descriptor, (int(size[0]), int(size[1])))


def _state_of_dataset(dataset: str) -> State:
    """State of the file of a dataset, or of those in its folder; empty for one without files."""
    path = Path(dataset.partition(":")[2].partition("?")[0])
    if path.is_file():
        return _state(path)
    if not path.is_dir() or path == Path():
        return ()
    return tuple(part for file in sorted(path.iterdir()) if file.is_file() for part in _state(file))


def _state(path: Path) -> State:
    """State of a file; a missing one is named by the error of its reader."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return ((path.name, status.st_size, status.st_mtime_ns),)
