"""Reference features of a map: computed once, so that tracking needs none of the map's images (PixLoc, section 4)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vizloc_ros.arrays import Float64, Int64
from vizloc_ros.datasets.record import Record
from vizloc_ros.geometry.poses import pose_of, transform_points
from vizloc_ros.mapping.map_format import PixLocInfo
from vizloc_ros.mapping.map_writer import add_to_map
from vizloc_ros.mapping.reference_arrays import ReferenceArrays, array_files
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.parallel import Progress, parallel_map, silent
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.references import QuantizedLevel, sample_references


def add_references(
    folder: Path, records: Sequence[Record], extractor: PyramidExtractor, progress: Progress = silent
) -> int:
    """Add reference features to a map, or replace them. Return their size [bytes].

    Args:
        folder: folder of the map.
        records: images from which the map was built, found by name; others are ignored.
        extractor: extractor of the tracker.
        progress: progress bar.

    Raises:
        MapError: the map cannot be read or written, or one of its images is not among the records.
        ImageError: an image cannot be read.
    """
    visual_map = VisualMap.open(folder)
    arrays = compute_references(visual_map, records, extractor, progress)
    changes = {"pixloc": PixLocInfo(model_id=extractor.model_id, dimensions=[f.shape[1] for f in arrays.features])}
    names = [f"{name}.npy" for name in array_files(visual_map.info.model_copy(update=changes))]
    return add_to_map(folder, names, arrays.save, changes)


def compute_references(
    visual_map: VisualMap, records: Sequence[Record], extractor: PyramidExtractor, progress: Progress = silent
) -> ReferenceArrays:
    """Compute the reference features of all observations of a map; arguments and errors as ``add_references``."""
    images = visual_map.images_among(records)

    def of_keyframe(keyframe: int) -> list[QuantizedLevel]:
        levels = extractor.extract(images[keyframe].read_image()).levels
        pixels = _pixels_of_landmarks(visual_map, keyframe)
        return [
            QuantizedLevel.of(sample_references(level, pixels, normalize=extractor.unit_features)) for level in levels
        ]

    keyframes = range(visual_map.info.keyframes)
    computed = parallel_map(of_keyframe, keyframes, "computing reference features", progress)
    levels = list(zip(*computed, strict=True))
    return ReferenceArrays(
        tuple(np.concatenate([part.features for part in level]) for level in levels),
        np.stack([np.concatenate([part.scales for part in level]) for level in levels], axis=1),
        np.stack([np.concatenate([part.confidences for part in level]) for level in levels], axis=1),
    )


def read_references(visual_map: VisualMap, rows: Int64) -> tuple[QuantizedLevel, ...]:
    """Read the reference features of (M,) observations, finest level first.

    Raises:
        FeatureError: the map has no reference features.
    """
    stored = visual_map.references_or_raise()
    return tuple(
        QuantizedLevel(features[rows], stored.scales[rows, level], stored.confidences[rows, level])
        for level, features in enumerate(stored.features)
    )


def _pixels_of_landmarks(visual_map: VisualMap, keyframe: int) -> Float64:
    """Project the landmarks of a keyframe into its image: (N, 2) pixels p_k of PixLoc, Eq. 1, with lens correction.

    The projection and not the keypoint, so that the residual is zero at the keyframe's own pose.
    """
    camera = visual_map.info.cameras[int(visual_map.keyframe_cameras[keyframe])]
    points = np.asarray(visual_map.landmark_positions[visual_map.landmarks_of(keyframe)], np.float64)
    pixels, _ = camera.project(transform_points(pose_of(visual_map.keyframe_poses[keyframe]).inverse(), points))
    return pixels + visual_map.info.intrinsics_correction(camera).shift(pixels, camera)
