"""Matching metrics of two images of one plane, with a known homography between them (HF-Net, section 5.1).

These are the metrics of SuperPoint (DeTone et al., CVPRW 2018, section 7 and appendix), as HF-Net uses them. The mean
matching accuracy is that of D2-Net (Dusmanu et al., CVPR 2019, section 5.1). Distances are measured in image b.
A keypoint is *visible* if it lies in both images. Matches are mutual nearest neighbors of the descriptors, without a
ratio test. Without any keypoint, match or homography a ratio is 0, and the pair still counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import cKDTree

from vizloc_ros.arrays import Bool, Float32, Float64, Int8, Int64
from vizloc_ros.errors import DatasetError
from vizloc_ros.features.descriptor_similarity import similarities
from vizloc_ros.features.types import Features

CORRECT_PX = 3.0
MMA_THRESHOLDS_PX = tuple(range(1, 11))
HOMOGRAPHY_THRESHOLDS_PX = (1, 3, 5)
_RANSAC = cv2.USAC_MAGSAC  # plain RANSAC's result depends twice as much on the order of the matches
_RANSAC_PX = 3.0
_RANSAC_ITERATIONS = 5000
_RANSAC_CONFIDENCE = 0.9999  # OpenCV's 0.995 stops so early that the ratio within 1 px is mostly luck


@dataclass(frozen=True)
class PairMetrics:
    """Metrics of one pair of images.

    Attributes:
        keypoints: mean number of keypoints of the two images.
        matches: number of mutual nearest neighbors.
        repeatability: ratio of repeatable keypoints to visible keypoints, of both images together; a repeatable one has
            a visible keypoint of the other image within 3 px.
        localization_error_px: mean distance of the repeatable keypoints from the nearest one [px]; None without any.
        matching_score: ratio of correct matches (3 px, of visible keypoints) to visible keypoints, mean of both images.
        average_precision: area under the precision-recall curve of the matches, most similar first. Correct matches are
            those of the matching score. Recall is their ratio to the visible keypoints of a with one of b within 3 px:
            the number that perfect descriptors would match. Precision is interpolated: at each recall the best
            precision at this or a higher recall.
        mma: ratio of matches within each of ``MMA_THRESHOLDS_PX`` from the true position.
        homography_error_px: mean distance of the corners of a under the true homography and under the one that RANSAC
            (3 px, at most 5000 iterations) estimates from the matches [px]; infinite without an estimate.
    """

    keypoints: float
    matches: int
    repeatability: float
    localization_error_px: float | None
    matching_score: float
    average_precision: float
    mma: tuple[float, ...]
    homography_error_px: float


def evaluate_pair(features_a: Features, features_b: Features, b_from_a: Float64, count: int) -> PairMetrics:
    """Compare the best features of two images.

    Args:
        features_a: features of image a.
        features_b: features of image b, from the same extractor.
        b_from_a: (3, 3) homography from pixels of a to pixels of b.
        count: number of keypoints of each image, best score first.

    Raises:
        DatasetError: the homography is singular.
    """
    points_a, points_b = (features.keypoints[:count].astype(np.float64) for features in (features_a, features_b))
    a_in_b = warp(points_a, b_from_a)
    visible_a = _inside(a_in_b, features_b.image_size)
    visible_b = _inside(warp(points_b, _inverse(b_from_a)), features_a.image_size)
    nearest_a = _nearest_distances(a_in_b[visible_a], points_b[visible_b])
    nearest_b = _nearest_distances(points_b[visible_b], a_in_b[visible_a])
    nearest = np.concatenate([nearest_a, nearest_b])
    repeatable = nearest <= CORRECT_PX

    rows, columns, similarity = mutual_nearest(features_a.descriptors[:count], features_b.descriptors[:count])
    errors = _distances(a_in_b[rows], points_b[columns])
    correct = (errors <= CORRECT_PX) & visible_a[rows] & visible_b[columns]
    return PairMetrics(
        keypoints=(len(points_a) + len(points_b)) / 2,
        matches=len(rows),
        repeatability=_ratio(repeatable, len(nearest)),
        localization_error_px=float(nearest[repeatable].mean()) if repeatable.any() else None,
        matching_score=(_ratio(correct, len(nearest_a)) + _ratio(correct, len(nearest_b))) / 2,
        average_precision=_average_precision(correct, similarity, int((nearest_a <= CORRECT_PX).sum())),
        mma=tuple(_ratio(errors <= threshold, len(rows)) for threshold in MMA_THRESHOLDS_PX),
        homography_error_px=_homography_error(points_a[rows], points_b[columns], b_from_a, features_a.image_size),
    )


@dataclass(frozen=True)
class MatchingSummary:
    """Means over pairs of images.

    Attributes:
        pairs: number of pairs.
        keypoints: mean number of keypoints per image.
        matches: mean number of matches per pair.
        repeatability: mean, as in ``PairMetrics``.
        localization_error_px: mean over the pairs that have one [px]; None if none has.
        matching_score: mean, as in ``PairMetrics``.
        mean_average_precision: mean of the pairs' average precisions.
        mma: mean by threshold of ``MMA_THRESHOLDS_PX``.
        homography: ratio of pairs whose homography error is within each of ``HOMOGRAPHY_THRESHOLDS_PX``.
    """

    pairs: int
    keypoints: float
    matches: float
    repeatability: float
    localization_error_px: float | None
    matching_score: float
    mean_average_precision: float
    mma: tuple[float, ...]
    homography: tuple[float, ...]

    @classmethod
    def of(cls, pairs: Sequence[PairMetrics]) -> "MatchingSummary":
        """Means of at least one pair."""
        localization = [p.localization_error_px for p in pairs if p.localization_error_px is not None]
        homography = np.array([p.homography_error_px for p in pairs])
        return cls(
            pairs=len(pairs),
            keypoints=float(np.mean([p.keypoints for p in pairs])),
            matches=float(np.mean([p.matches for p in pairs])),
            repeatability=float(np.mean([p.repeatability for p in pairs])),
            localization_error_px=float(np.mean(localization)) if localization else None,
            matching_score=float(np.mean([p.matching_score for p in pairs])),
            mean_average_precision=float(np.mean([p.average_precision for p in pairs])),
            mma=tuple(np.mean([p.mma for p in pairs], axis=0).tolist()),
            homography=tuple(float((homography <= threshold).mean()) for threshold in HOMOGRAPHY_THRESHOLDS_PX),
        )

    def mma_at(self, threshold_px: int) -> float:
        """Mean matching accuracy at one of ``MMA_THRESHOLDS_PX``."""
        return self.mma[MMA_THRESHOLDS_PX.index(threshold_px)]

    def as_dict(self) -> dict[str, object]:
        """Keys of ``report.json``."""
        return {
            "pairs": self.pairs,
            "keypoints": self.keypoints,
            "matches": self.matches,
            "repeatability": self.repeatability,
            "localization_error_px": self.localization_error_px,
            "matching_score": self.matching_score,
            "map": self.mean_average_precision,
            "mma": {f"{t}px": ratio for t, ratio in zip(MMA_THRESHOLDS_PX, self.mma, strict=True)},
            "homography": {f"{t}px": ratio for t, ratio in zip(HOMOGRAPHY_THRESHOLDS_PX, self.homography, strict=True)},
        }


def warp(points: Float64, homography: Float64) -> Float64:
    """(N, 2) pixels under a (3, 3) homography; those on its horizon become infinite or NaN."""
    projected = points @ homography[:, :2].T + homography[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        return projected[:, :2] / projected[:, 2:]


def mutual_nearest(descriptors_a: Int8, descriptors_b: Int8) -> tuple[Int64, Int64, Float32]:
    """Match descriptors (N, D) and (M, D) that are mutual nearest neighbors; the first of equally near ones counts.

    Returns:
        (m,) rows of a, (m,) rows of b, and (m,) cosines of the angle between them.
    """
    if not len(descriptors_a) or not len(descriptors_b):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    similarity = similarities(descriptors_a, descriptors_b)
    forth, back = similarity.argmax(axis=1), similarity.argmax(axis=0)
    rows = np.flatnonzero(back[forth] == np.arange(len(forth)))
    return rows, forth[rows], similarity[rows, forth[rows]]


def _inverse(homography: Float64) -> Float64:
    if np.linalg.matrix_rank(homography) < 3:
        raise DatasetError("the homography of a pair is singular: it maps the whole image to a line or a point")
    return np.asarray(np.linalg.inv(homography), np.float64)


def _inside(points: Float64, size: tuple[int, int]) -> Bool:
    """(N,) mask of the (N, 2) pixels that lie in an image of (width, height)."""
    return np.asarray(((points >= 0) & (points <= np.array(size) - 1)).all(axis=1))


def _nearest_distances(points: Float64, others: Float64) -> Float64:
    """(N,) distances of (N, 2) finite points from the nearest of (M, 2) others; infinite if there are no others."""
    distances: Float64 = cKDTree(others).query(points)[0]
    return distances


def _distances(points: Float64, others: Float64) -> Float64:
    with np.errstate(invalid="ignore"):
        return np.hypot(*(points - others).T)


def _ratio(mask: Bool, total: int) -> float:
    return float(mask.sum()) / total if total else 0.0


def _average_precision(correct: Bool, similarity: Float32, matchable: int) -> float:
    """Area under the interpolated precision-recall curve, with ``matchable`` matches at recall 1."""
    if not matchable:
        return 0.0
    ranked = correct[np.argsort(-similarity, kind="stable")]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    return float(best_from_here[ranked].sum()) / matchable


def _homography_error(points_a: Float64, points_b: Float64, b_from_a: Float64, size_a: tuple[int, int]) -> float:
    if len(points_a) < 4:  # fewer do not determine a homography
        return np.inf
    estimate, _ = cv2.findHomography(
        points_a, points_b, _RANSAC, _RANSAC_PX, maxIters=_RANSAC_ITERATIONS, confidence=_RANSAC_CONFIDENCE
    )
    if estimate is None:
        return np.inf
    right, bottom = np.array(size_a) - 1.0
    corners = np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]])
    error = float(_distances(warp(corners, estimate), warp(corners, b_from_a)).mean())
    return error if np.isfinite(error) else np.inf
