"""Reference features of a map: computed once, so that tracking needs none of the map's images (PixLoc, section 4)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vizloc_ros.arrays import Float64, Int64
from vizloc_ros.datasets.record import Record
from vizloc_ros.geometry.poses import pose_of, transform_points
from vizloc_ros.mapping.image_features import SourceImage, source_images
from vizloc_ros.mapping.map_writer import changing_map, write_references
from vizloc_ros.mapping.reference_arrays import PatchArrays, ReferenceArrays, packed
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.parallel import Progress, silent
from vizloc_ros.pixloc.distinct_views import distinct_views
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.optimizer.projection import MIN_DEPTH
from vizloc_ros.pixloc.patches import QuantizedPatches, sample_patches
from vizloc_ros.pixloc.references import QuantizedLevel, sample_references
from vizloc_ros.work.stages import IN_MEMORY, Arrays, Stages, joined

_COMPACT_BITS = 6


def add_references(
    folder: Path,
    records: Sequence[Record],
    extractor: PyramidExtractor,
    progress: Progress = silent,
    work: Stages = IN_MEMORY,
    *,
    views: int = 0,
) -> int:
    """Add reference features to a map, or replace them. Return their size [bytes].

    Args:
        folder: folder of the map.
        records: images from which the map was built, found by name; others are ignored.
        extractor: extractor of the tracker.
        progress: progress bar.
        work: place where the features are computed and kept.
        views: maximum number of observations of a landmark that get features, in 6 bits: those whose views are the most
            different, no two of them alike. 0: all of them, in 8 bits.

    Raises:
        MapError: the map cannot be read or written, or one of its images is not among the records.
        OutputError: another process writes it.
        ImageError: an image cannot be read.
    """
    with changing_map(folder) as copy:  # from here on, nobody else can change the map that they are computed for
        arrays = compute_references(VisualMap.open(copy), records, extractor, progress, work, views=views)
        return write_references(copy, arrays, extractor.model_id)


def compute_references(
    visual_map: VisualMap,
    records: Sequence[Record],
    extractor: PyramidExtractor,
    progress: Progress = silent,
    work: Stages = IN_MEMORY,
    *,
    views: int = 0,
) -> ReferenceArrays:
    """Compute the reference features of all observations of a map; arguments and errors as ``add_references``."""
    found = visual_map.images_among(records)
    keyframes = range(visual_map.info.keyframes)
    images = source_images([found[keyframe] for keyframe in keyframes], visual_map.info.dataset)
    rows = distinct_views(visual_map, views) if views else np.arange(visual_map.info.observations)
    parts = np.split(rows, np.searchsorted(rows, visual_map.observation_offsets[1:-1]))
    items = [
        (image, *_projected_landmarks(visual_map, keyframe, part))
        for keyframe, (image, part) in enumerate(zip(images, parts, strict=True))
    ]
    sampling = _Sampling(extractor, extractor.model_id, _COMPACT_BITS if views else 8)
    columns = joined(work.map("references", sampling, items, "computing reference features", progress))
    levels = len(extractor.learned.dampings)
    scales, confidences, *patches = columns[levels:]
    return ReferenceArrays(
        tuple(columns[:levels]),
        scales,
        confidences,
        PatchArrays(*patches) if patches else None,
        rows.astype(np.int32) if views else None,
        sampling.bits,
    )


@dataclass(frozen=True)
class _Sampling:
    """Function of the stage: reference features of an image, level by level; scales; confidences; patches if any."""

    extractor: PyramidExtractor
    model_id: str
    bits: int

    def __call__(self, item: tuple[SourceImage, Float64, Float64]) -> Arrays:
        image, pixels, resolutions = item
        pyramid = self.extractor.extract(image.read())
        sampled = [
            QuantizedLevel.of(sample_references(level, pixels, normalize=self.extractor.unit_features), self.bits)
            for level in pyramid.levels
        ]
        scales = np.stack([level.scales for level in sampled], axis=1)
        confidences = np.stack([level.confidences for level in sampled], axis=1)
        features = [level.features if self.bits == 8 else packed(level.features, self.bits) for level in sampled]
        arrays: Arrays = (*features, scales, confidences)
        if pyramid.smoothed is None:
            return arrays
        patches = QuantizedPatches.of(sample_patches(pyramid.smoothed, pixels, resolutions))
        return *arrays, patches.values, patches.contrasts, patches.resolutions


def read_references(visual_map: VisualMap, rows: Int64) -> tuple[QuantizedLevel, ...]:
    """Read the reference features of (N,) observations that have some, finest level first.

    Raises:
        FeatureError: the map has no reference features.
    """
    stored = visual_map.references_or_raise()
    at = stored.indices(rows)
    return tuple(
        QuantizedLevel(stored.integers(level, at), stored.scales[at, level], stored.confidences[at, level])
        for level in range(len(stored.features))
    )


def read_patches(visual_map: VisualMap, rows: Int64) -> QuantizedPatches | None:
    """Read the patches of (N,) observations that have some; None if the map has none. Raises as ``read_references``."""
    stored = visual_map.references_or_raise()
    if stored.patches is None:
        return None
    patches = stored.patches.take(stored.indices(rows))
    return QuantizedPatches(patches.values, patches.contrasts, patches.resolutions)


def _projected_landmarks(visual_map: VisualMap, keyframe: int, rows: Int64) -> tuple[Float64, Float64]:
    """Project the landmarks of (N,) observations of a keyframe into its image: p_k of PixLoc, Eq. 1, lens corrected.

    The projection and not the keypoint, so that the residual is zero at the keyframe's own pose. Also (N,) pixels for a
    meter at each landmark [px/m].
    """
    camera = visual_map.info.cameras[int(visual_map.keyframe_cameras[keyframe])]
    points = np.asarray(visual_map.landmark_positions[visual_map.observation_landmarks[rows]], np.float64)
    in_camera = transform_points(pose_of(visual_map.keyframe_poses[keyframe]).inverse(), points)
    pixels, _ = camera.project(in_camera)
    resolutions = camera.fx / np.maximum(in_camera[:, 2], MIN_DEPTH)
    return pixels + visual_map.info.intrinsics_correction(camera).shift(pixels, camera), resolutions
