"""Pairs of images without poses, by their order and by their global descriptors, and their tentative matches."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from vizloc_ros.arrays import Int8, Int32
from vizloc_ros.features.descriptor_similarity import similarities
from vizloc_ros.features.types import Features
from vizloc_ros.mapping.pair_matching import mutual_matches
from vizloc_ros.options import Options
from vizloc_ros.parallel import Progress
from vizloc_ros.work.stages import IN_MEMORY, Arrays, Stages

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
    features: Sequence[Features], pairs: Sequence[Pair], ratio: float, progress: Progress, work: Stages = IN_MEMORY
) -> dict[Pair, Int32]:
    """(M, 2) tentative matches of every pair; ``work`` is the place where they are computed and kept."""
    partners: dict[int, list[int]] = {}
    for i, j in pairs:
        partners.setdefault(i, []).append(j)
    items = [(features[i].descriptors, [features[j].descriptors for j in others]) for i, others in partners.items()]
    found = work.map("sfm_match", _Matching(ratio), items, "matching images", progress)
    matches: dict[Pair, Int32] = {}
    for (i, others), (of_image, counts) in zip(partners.items(), found, strict=True):
        ends = np.cumsum(counts).tolist()
        matches.update({(i, j): of_image[a:b] for j, a, b in zip(others, [0, *ends], ends, strict=False)})
    return matches


@dataclass(frozen=True)
class _Matching:
    """Function of the stage: matches of an image with its partners, one after another, and the number of each."""

    ratio: float

    def __call__(self, item: tuple[Int8, list[Int8]]) -> Arrays:
        descriptors, partners = item
        found = [mutual_matches(similarities(descriptors, partner), self.ratio) for partner in partners]
        return np.concatenate(found), np.array([len(matches) for matches in found])
