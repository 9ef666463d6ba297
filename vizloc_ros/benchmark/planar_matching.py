"""Matching on HPatches as in the paper (HF-Net, appendix B.1): 300 keypoints, images of at most 640 px."""

from itertools import groupby
from operator import attrgetter
from typing import Any

from vizloc_ros.benchmark.benchmark_run import BenchmarkRun
from vizloc_ros.benchmark.sources import HPATCHES
from vizloc_ros.datasets.homographies import open_homographies
from vizloc_ros.evaluation.homography_matching import LONG_SIDE, evaluate_extractor
from vizloc_ros.evaluation.kept_results import names_id

KEYPOINTS = 300
SETUP = f"HPatches: {KEYPOINTS} keypoints, images of at most {LONG_SIDE} px, correct within 3 px."
NO_SFM = "The paper's SfM dataset (LF-Net's photo tourism with depth maps) is not read."


def planar_matching(run: BenchmarkRun, method: str) -> dict[str, Any]:
    """Metrics of a method's features: keys of ``MatchingSummary.as_dict``, and ``num_sequences``.

    Raises:
        DatasetError: a sequence lacks a file; the text names it.
        ImageError: an image cannot be read.
    """
    (part,) = run.present(HPATCHES)
    sequences = [list(group) for _, group in groupby(open_homographies(part.spec), attrgetter("sequence"))]
    chosen = run.chosen(sequences)
    pairs = [pair for sequence in chosen for pair in sequence]
    extractor = run.extractors[method]

    def compute() -> dict[str, Any]:
        found = evaluate_extractor(extractor, pairs, [KEYPOINTS], run.progress, LONG_SIDE)[KEYPOINTS]
        return {**found.overall.as_dict(), "num_sequences": len(found.sequences)}

    origin = {
        "feature_id": extractor.feature_id,
        "dataset": part.spec,
        "sequences": names_id(sequence[0].sequence for sequence in chosen),
        "keypoints": KEYPOINTS,
        "long_side": LONG_SIDE,
    }
    return run.kept(method, part.name, origin, compute)
