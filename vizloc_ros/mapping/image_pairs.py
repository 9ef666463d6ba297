"""Pairs of images without poses, by their order and by their global descriptors, and their tentative matches."""

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from vizloc_ros.arrays import Int32
from vizloc_ros.features.types import Features, dequantize
from vizloc_ros.mapping.pair_matching import mutual_matches
from vizloc_ros.options import Options
from vizloc_ros.parallel import Progress, parallel_map

Pair = tuple[int, int]


class ImagePairOptions(Options):
    """Choice of the pairs of images that are matched while there are no poses."""

    by_order: int = Field(8, ge=0, description="next images of the same camera that an image is matched with")
    by_retrieval: int = Field(12, ge=0, description="further partners, the most similar ones by global descriptor")
    ratio: float = Field(
        0.8, gt=0, le=1, description="maximum ratio of the distances to the nearest and the second descriptor"
    )


def image_pairs(features: Sequence[Features], cameras: Sequence[str], options: ImagePairOptions) -> list[Pair]:
    """Return the pairs (i, j) of images to match, with i < j, sorted.

    Args:
        features: features of the images, in order of time.
        cameras: name of the camera on the vehicle of each image; images of one camera are in sequence.
        options: numbers of partners.
    """
    pairs: set[Pair] = set()
    for camera in dict.fromkeys(cameras):
        taken = [i for i, name in enumerate(cameras) if name == camera]
        pairs.update((i, j) for k, i in enumerate(taken) for j in taken[k + 1 : k + 1 + options.by_order])
    neighbors: dict[int, list[int]] = {i: [i] for i in range(len(features))}
    for i, j in pairs:
        neighbors[i].append(j)
        neighbors[j].append(i)
    descriptors = np.array([f.global_descriptor for f in features])
    for i, descriptor in enumerate(descriptors):
        similarity = descriptors @ descriptor
        similarity[neighbors[i]] = -np.inf
        ranked = np.argsort(-similarity, kind="stable")[: options.by_retrieval]
        pairs.update((min(i, j), max(i, j)) for j in ranked[np.isfinite(similarity[ranked])].tolist())
    return sorted(pairs)


def match_images(
    features: Sequence[Features], pairs: Sequence[Pair], ratio: float, progress: Progress
) -> dict[Pair, Int32]:
    """(M, 2) tentative matches of every pair, on all cores."""
    partners: dict[int, list[int]] = {}
    for i, j in pairs:
        partners.setdefault(i, []).append(j)

    def match_image(i: int) -> list[Int32]:
        descriptors = dequantize(features[i].descriptors)
        return [mutual_matches(descriptors @ dequantize(features[j].descriptors).T, ratio) for j in partners[i]]

    matched = parallel_map(match_image, list(partners), "matching images", progress)
    found = [m for of_image in matched for m in of_image]
    return dict(zip([(i, j) for i, others in partners.items() for j in others], found, strict=True))
