"""Times of the tracker on kitti00: network and alignment, and the alignment beside its plain formulation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean, median

import numpy as np
from kitti00 import built_map, records
from measure import Cell, Table, milliseconds
from plain_alignment import PlainAligner
from pycolmap import Rigid3d

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import open_synthetic
from vizloc_ros.evaluation.convergence import Perturbation, perturbed_priors
from vizloc_ros.features.device import Device
from vizloc_ros.geometry.camera import IntrinsicsCorrection
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.parallel import one_thread_each
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor, open_pyramid_extractor
from vizloc_ros.pixloc.optimizer.aligned_view import View
from vizloc_ros.pixloc.optimizer.alignment import align
from vizloc_ros.pixloc.optimizer.alignment_options import AlignmentOptions, FineOptions
from vizloc_ros.pixloc.optimizer.pose_optimizer import Alignment
from vizloc_ros.pixloc.pose_refiner import MapAligner
from vizloc_ros.pixloc.pyramid import FeaturePyramid
from vizloc_ros.pixloc.reference_builder import compute_references
from vizloc_ros.pixloc.references import References

_LONG_SIDE = 640
_EVERY, _REPEATS = 4, 3
_START = Perturbation(1, 2)
_BASE = "ours, all landmarks on all levels"  # basis of the comparison
_SMALL_TAP = 0.001  # px: gives our derivative, that of the interpolation itself; a smaller one suffers from rounding

_Outcome = tuple[Rigid3d, int]  # pose cam_from_map, iterations


@dataclass(frozen=True)
class _Case:
    """A query with all inputs of its alignment."""

    record: Record
    image: UInt8
    pyramid: FeaturePyramid
    references: References
    prior: Rigid3d
    correction: IntrinsicsCorrection


def benchmark(out: Path) -> list[Table]:
    """Measure one image from network to pose, and the optimizer beside the plain one."""
    folder, _ = built_map(out)
    visual_map, queries = VisualMap.open(folder), records("query")[::_EVERY]
    with one_thread_each():
        extractor = open_pyramid_extractor("", Device(threads=1), _LONG_SIDE)
        visual_map = replace(visual_map, references=compute_references(visual_map, records("map"), extractor))
        aligner = MapAligner(visual_map, extractor)
        priors = perturbed_priors(queries, _START, seed=0)
        cases = [_case(aligner, visual_map, record, priors[record.name]) for record in queries]
        single = _frame_rows(cases, extractor, "1 core")
        comparison = _comparison_table(cases, extractor)
    every = _frame_rows(cases, open_pyramid_extractor("", Device(), _LONG_SIDE), "all cores")
    return [_frame_table(cases, [*single, *every]), comparison]


def _case(aligner: MapAligner, visual_map: VisualMap, record: Record, prior: Rigid3d) -> _Case:
    image = record.read_image()
    aligned = aligner.align(image, record.camera, prior)
    if aligned is None:
        raise ValueError(f"{record.name}: the map has no landmarks around its pose")
    correction = visual_map.info.intrinsics_correction(record.camera)
    return _Case(record, image, aligned.pyramid, aligned.references, prior.inverse(), correction)


def _frame_rows(cases: Sequence[_Case], extractor: PyramidExtractor, cores: str) -> list[list[Cell]]:
    """Rows for network and alignment, one after the other for each image, as in the tracker."""
    network, alignment = [], []
    for case in cases:
        pyramid = extractor.extract(case.image)
        network += milliseconds(partial(extractor.extract, case.image), 1, 0)
        alignment += milliseconds(partial(_ours, case, pyramid, extractor), 1, 0)
    other = open_synthetic("width=640&height=480").records("query")[0].read_image()
    large = milliseconds(partial(extractor.extract, other), len(cases))
    total = np.add(network, alignment)
    height, width = cases[0].image.shape
    stages = {
        f"network, {width} x {height}": network,
        "alignment": alignment,
        "network and alignment": total,
        f"network, {other.shape[1]} x {other.shape[0]}": large,
    }
    return [[stage, cores, *np.percentile(times, [50, 99]).tolist()] for stage, times in stages.items()]


def _frame_table(cases: Sequence[_Case], rows: Sequence[Sequence[Cell]]) -> Table:
    landmarks = int(median(len(case.references) for case in cases))
    notes = [
        f"{len(cases)} queries of kitti00, each from {_START} off the truth, {landmarks} landmarks (median). Images "
        f"are shrunk to {_LONG_SIDE} px on the longer side and {_LONG_SIDE**2 // 2} in all. The paper's own figures, "
        "on a GPU: 100 ms for the network and 200 ms to 1 s for the alignment.",
    ]
    return Table("Tracker: one image", ("stage", "on", "p50 [ms]", "p99 [ms]"), rows, notes)


def _ours(
    case: _Case, pyramid: FeaturePyramid, extractor: PyramidExtractor, options: AlignmentOptions | None = None
) -> Alignment:
    view = View(pyramid, case.references, case.record.camera, case.correction)
    return align([view], [case.prior], extractor.learned, options)[0]


def _comparison_table(cases: Sequence[_Case], extractor: PyramidExtractor) -> Table:
    """Compare all formulations in turn for each query, so that all have the same load of the machine."""
    features_alone, learned = FineOptions(enabled=False), extractor.learned
    options = AlignmentOptions(fine=features_alone)
    count = max(len(case.references) for case in cases)
    all_landmarks = AlignmentOptions(fine=features_alone, coarse_landmarks=count)

    def ours(options: AlignmentOptions, case: _Case) -> _Outcome:
        alignment = _ours(case, case.pyramid, extractor, options)
        return alignment.cam_from_map, sum(alignment.iterations)

    def plain(aligner: PlainAligner, case: _Case) -> _Outcome:
        return aligner.align(case.pyramid, case.references, case.record.camera, case.prior, case.correction)

    formulations: dict[str, Callable[[_Case], _Outcome]] = {
        "ours": partial(ours, options),
        _BASE: partial(ours, all_landmarks),
        "plain, stops as ours does": partial(plain, PlainAligner(learned, options, _SMALL_TAP)),
        "plain, stops as published: tests in every 10th iteration": partial(
            plain, PlainAligner(learned, options, _SMALL_TAP, 10)
        ),
        "the same, taps one pixel away as published": partial(plain, PlainAligner(learned, options, 1.0, 10)),
    }
    times: dict[str, list[float]] = {name: [] for name in formulations}
    found: dict[str, list[_Outcome]] = {name: [] for name in formulations}
    for case in cases:
        for name, align_one in formulations.items():
            found[name].append(align_one(case))
            times[name].append(median(milliseconds(partial(align_one, case), _REPEATS, 0)))
    rows: list[list[Cell]] = []
    for name, outcomes in found.items():
        pairs = zip(outcomes, found[_BASE], strict=True)
        distances = [1e3 * pose_error(one.inverse(), base.inverse())[0] for (one, _), (base, _) in pairs]
        ratio = median(np.divide(times[name], times[_BASE]).tolist())
        within = f"{sum(d <= 1 for d in distances)} of {len(cases)}"
        same: list[Cell] = [None, None] if name == _BASE else [median(distances), within]
        rows.append([name, median(times[name]), mean(count for _, count in outcomes), ratio, *same])
    notes = [
        f"The same {len(cases)} queries, starts, landmarks, pyramids, losses and dampings on one core; medians of "
        f"{_REPEATS} for each query, ratios are medians of the queries'. Distances and ratios are to the second row. "
        "Plain: five taps around each landmark and the N x C x 6 Jacobian in each iteration, in NumPy, all landmarks "
        f"on all levels; taps {_SMALL_TAP} px away but in the last row. The tracker takes fewer landmarks on coarse "
        "levels, as in the first row.",
    ]
    columns = ("formulation", "p50 [ms]", "iterations", "times the second row", "distance, median [mm]", "within 1 mm")
    return Table("Tracker: the optimizer and its plain formulation", columns, rows, notes)
