"""Matching of planar images with known homography (HF-Net, section 5.1): evaluation of a dataset, and its figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, groupby
from operator import attrgetter
from pathlib import Path

import cv2
import numpy as np

from vizloc_ros.arrays import Float64, UInt8
from vizloc_ros.datasets.homographies import HomographyPair
from vizloc_ros.datasets.image_files import read_image
from vizloc_ros.evaluation.matching_metrics import MMA_THRESHOLDS_PX, MatchingSummary, PairMetrics, evaluate_pair
from vizloc_ros.evaluation.plots import BLUE, GREEN, INK, ORANGE, RED, STYLE
from vizloc_ros.features.extractor import FeatureExtractor
from vizloc_ros.features.gray_image import gray_image
from vizloc_ros.parallel import Progress, silent

LONG_SIDE = 640  # longer side to which images are shrunk (HF-Net, appendix B.1)


@dataclass(frozen=True)
class MatchingRun:
    """Metrics of one extractor with one number of keypoints.

    Attributes:
        overall: means over all pairs.
        sequences: means by sequence.
    """

    overall: MatchingSummary
    sequences: dict[str, MatchingSummary]


def evaluate_extractor(
    extractor: FeatureExtractor,
    pairs: Sequence[HomographyPair],
    counts: Sequence[int],
    progress: Progress = silent,
    long_side: int | None = None,
) -> dict[int, MatchingRun]:
    """Evaluate an extractor on at least one pair.

    The extractor gets gray, uncropped images; its keypoints are used as they are.

    Args:
        extractor: extractor to evaluate.
        pairs: pairs of images.
        counts: numbers of keypoints; each is evaluated with this many best keypoints of every image.
        progress: progress display.
        long_side: longer images are shrunk to this longer side, and distances are of shrunk images; None for full size.

    Returns:
        Metrics by number of keypoints.

    Raises:
        ImageError: an image cannot be read.
    """
    metrics: dict[int, list[PairMetrics]] = {count: [] for count in counts}
    shown = progress(pairs, f"matching {extractor.name}", len(pairs))
    for image_a, group in groupby(shown, attrgetter("image_a")):  # extract image_a once for all its pairs
        gray_a, small_from_a = read_shrunk(image_a, long_side)
        features_a = extractor.extract(gray_a)
        for pair in group:
            gray_b, small_from_b = read_shrunk(pair.image_b, long_side)
            features_b = extractor.extract(gray_b)
            b_from_a = small_from_b @ pair.b_from_a @ np.linalg.inv(small_from_a)
            for count in counts:
                metrics[count].append(evaluate_pair(features_a, features_b, b_from_a, count))
    return {count: _summarize(pairs, pair_metrics) for count, pair_metrics in metrics.items()}


def read_shrunk(path: Path, long_side: int | None) -> tuple[UInt8, Float64]:
    """Gray image of at most a longer side, and the (3, 3) matrix to its pixels from those of the file's image."""
    gray = gray_image(read_image(path))
    height, width = gray.shape
    if long_side is None or max(width, height) <= long_side:
        return gray, np.eye(3)
    scale = long_side / max(width, height)
    size = round(scale * width), round(scale * height)
    sx, sy = size[0] / width, size[1] / height
    shift_x, shift_y = (sx - 1) / 2, (sy - 1) / 2  # OpenCV's pixels are centered on whole numbers
    small: UInt8 = cv2.resize(gray, size, interpolation=cv2.INTER_AREA)
    return small, np.array([[sx, 0, shift_x], [0, sy, shift_y], [0, 0, 1]])


def _summarize(pairs: Sequence[HomographyPair], metrics: Sequence[PairMetrics]) -> MatchingRun:
    sequences: dict[str, list[PairMetrics]] = {}
    for pair, pair_metrics in zip(pairs, metrics, strict=True):
        sequences.setdefault(pair.sequence, []).append(pair_metrics)
    by_sequence = {name: MatchingSummary.of(sequence) for name, sequence in sequences.items()}
    return MatchingRun(MatchingSummary.of(metrics), by_sequence)


def matching_report(runs: Mapping[str, Mapping[int, MatchingRun]]) -> dict[str, object]:
    """Keys of ``report.json``: {extractor: {number of keypoints: metrics}}, overall and by sequence."""
    return {
        "matching": {
            name: {str(count): run.overall.as_dict() for count, run in of_counts.items()}
            for name, of_counts in runs.items()
        },
        "sequences": {
            name: {
                str(count): {sequence: summary.as_dict() for sequence, summary in run.sequences.items()}
                for count, run in of_counts.items()
            }
            for name, of_counts in runs.items()
        },
    }


_COLORS = (BLUE, ORANGE, GREEN, RED, INK)
_PANEL_INCHES = (5.0, 4.6)


def plot_mma(path: Path, runs: Mapping[str, Mapping[int, MatchingRun]]) -> None:
    """Draw the mean matching accuracy by threshold: a panel per number of keypoints, a line per extractor.

    Args:
        path: file of the figure.
        runs: metrics by extractor and number of keypoints; all extractors have the same numbers.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    counts = sorted({count for of_counts in runs.values() for count in of_counts})
    width, height = _PANEL_INCHES
    with rc_context(STYLE):
        figure = Figure(figsize=(width * len(counts), height), dpi=140, layout="constrained")
        panels = figure.subplots(1, len(counts), sharey=True, squeeze=False)[0]
        for axes, count in zip(panels, counts, strict=True):
            for color, (name, of_counts) in zip(cycle(_COLORS), runs.items(), strict=False):
                percent = [100 * ratio for ratio in of_counts[count].overall.mma]
                axes.plot(MMA_THRESHOLDS_PX, percent, "o-", ms=4, color=color, label=name)
            axes.set(title=f"{count} keypoints", xlabel="threshold [px]", ylim=(0, 100), xticks=MMA_THRESHOLDS_PX)
            axes.grid(True)
        panels[0].set_ylabel("matches within the threshold (MMA) [%]")
        panels[-1].legend(loc="lower right")
        figure.savefig(path)
