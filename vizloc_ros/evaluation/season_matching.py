"""Matching and retrieval of the same places in different months, with displacements that were marked by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np

from vizloc_ros.arrays import Float64
from vizloc_ros.datasets.displacements import SeasonImage
from vizloc_ros.datasets.image_files import read_image
from vizloc_ros.errors import DatasetError
from vizloc_ros.evaluation.matching_metrics import mutual_nearest
from vizloc_ros.features.extractor import FeatureExtractor
from vizloc_ros.features.gray_image import gray_image
from vizloc_ros.features.types import Features
from vizloc_ros.parallel import Progress, silent

RIGHT_WITHIN_PX = 20.0  # of a match; near points move more than the marked ones
FOUND_WITHIN_PX = 35.0  # of the displacement
_BIN_PX = 20.0  # width of the histogram's bins
_SEED = 0


@dataclass(frozen=True)
class SeasonMetrics:
    """Metrics of one extractor, over all pairs of months of one place.

    Attributes:
        pairs: number of pairs.
        matches: mean number of mutual matches.
        right_matches: ratio of the mutual matches within 20 px of the marked displacement, mean over the pairs.
        right_per_pair: mean number of those matches.
        displacement_found: ratio of the pairs whose displacement, from the histogram of their matches, is within 35 px.
        r1: ratio of the images whose most similar image of another month shows the same place.
    """

    pairs: int
    matches: float
    right_matches: float
    right_per_pair: float
    displacement_found: float
    r1: float


def evaluate_seasons(
    extractor: FeatureExtractor, images: Sequence[SeasonImage], progress: Progress = silent
) -> SeasonMetrics:
    """Evaluate an extractor with all its keypoints on gray images.

    An extractor with VLAD learns its vocabulary on two months: the first, and the middle one.

    Raises:
        ImageError: an image cannot be read.
        DatasetError: there is only one month, or only one place.
    """
    months = sorted({image.month for image in images})
    if len(months) < 2 or len({image.place for image in images}) < 2:
        raise DatasetError("seasons: at least two months and two places are needed")
    features = [
        extractor.extract(gray_image(read_image(image.path))) for image in progress(images, extractor.name, len(images))
    ]
    learned = {months[0], months[len(months) // 2]}
    extractor = extractor.learn([f for f, image in zip(features, images, strict=True) if image.month in learned], _SEED)
    features = [extractor.describe(f) for f in features]
    found = [
        _match(features[a], features[b], images[b].displacement - images[a].displacement)
        for a, b in combinations(range(len(images)), 2)
        if images[a].place == images[b].place and images[a].month != images[b].month
    ]
    counts, right, displacement = np.array(found, np.float64).T
    return SeasonMetrics(
        len(found),
        float(counts.mean()),
        float((right / np.maximum(counts, 1)).mean()),
        float(right.mean()),
        float((displacement <= FOUND_WITHIN_PX).mean()),
        _recall(images, np.stack([f.global_descriptor for f in features]).astype(np.float64)),
    )


def season_report(metrics: Mapping[str, SeasonMetrics]) -> dict[str, object]:
    """Key of ``report.json``: {extractor: metrics}."""
    return {"seasons": {name: asdict(found) for name, found in metrics.items()}}


def _match(a: Features, b: Features, displacement: float) -> tuple[int, int, float]:
    """Number of mutual matches, of right ones, and the error of the displacement found [px], infinite for no match."""
    rows, columns, _ = mutual_nearest(a.descriptors, b.descriptors)
    moved = (b.keypoints[columns, 0] - a.keypoints[rows, 0]).astype(np.float64)
    if not len(moved):
        return 0, 0, np.inf
    right = int((np.abs(moved - displacement) <= RIGHT_WITHIN_PX).sum())
    return len(moved), right, abs(_mode(moved) - displacement)


def _mode(values: Float64) -> float:
    """Mean of the values in the fullest bin of a histogram whose bins may begin anywhere."""
    values = np.sort(values)
    ends = np.searchsorted(values, values + _BIN_PX, side="right")
    first = int(np.argmax(ends - np.arange(len(values))))
    return float(values[first : ends[first]].mean())


def _recall(images: Sequence[SeasonImage], descriptors: Float64) -> float:
    """R@1 of each image among the images of every other month."""
    similarity = descriptors @ descriptors.T
    months = np.array([image.month for image in images])
    places = np.array([image.place for image in images])
    hits = []
    for i in range(len(images)):
        for month in sorted(set(months) - {months[i]}):
            others = np.flatnonzero(months == month)
            if places[i] in places[others]:
                hits.append(places[others[np.argmax(similarity[i, others])]] == places[i])
    return float(np.mean(hits))
