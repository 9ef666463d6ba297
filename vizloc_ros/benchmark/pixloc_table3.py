"""PixLoc, Table 3: ablation of the alignment, on kitti00 and on Extended CMU Seasons."""

from collections.abc import Iterator
from typing import Any

from vizloc_ros.benchmark.alignments import mapped_records, open_pixloc
from vizloc_ros.benchmark.benchmark_run import BenchmarkRun
from vizloc_ros.benchmark.paper_table import Column, PaperTable, TableRow
from vizloc_ros.benchmark.sources import CMU, KITTI00, Present, Source
from vizloc_ros.datasets.record import Record
from vizloc_ros.evaluation.convergence import (
    PERTURBATIONS,
    RETRIEVED,
    AlignmentSet,
    ablated,
    alignment_sets,
    evaluate_convergence,
    retrieved_priors,
)
from vizloc_ros.evaluation.kept_results import map_id, names_id
from vizloc_ros.evaluation.recall import readable
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor, open_pyramid_extractor
from vizloc_ros.readers import open_dataset

_PRIORS = (*(str(perturbation) for perturbation in PERTURBATIONS), RETRIEVED)
_SPLITS = {KITTI00: "query", CMU: "posed"}  # queries with public poses
_TITLES = {KITTI00: "kitti00", CMU: "CMU"}
COLUMNS = tuple(
    Column(f"{source.key}_{prior}", f"{title}: {readable(prior)}")
    for source, title in _TITLES.items()
    for prior in _PRIORS
)


def rows(run: BenchmarkRun) -> Iterator[TableRow]:
    """Row of each variant, on the maps of the first extractor."""
    pixloc, method = open_pixloc(run), next(iter(run.extractors))
    reports = {
        source.key: [_ablation(run, method, part, queries, pixloc) for part, queries in _posed(run, source)]
        for source in _SPLITS
    }
    variants = dict.fromkeys(name for parts in reports.values() for report in parts for name in report["models"])
    for name in variants:
        cells: dict[str, str] = {}
        figures: dict[str, dict[str, Any]] = {}
        for key, parts in reports.items():
            count = sum(report["num_images"] for report in parts)
            ratios = {
                prior: sum(r["models"][name]["converged"][prior] * r["num_images"] for r in parts) / count
                for prior in _PRIORS
                if count
            }
            cells |= {f"{key}_{prior}": f"{100 * ratio:.1f}" for prior, ratio in ratios.items()}
            if count:
                figures[key] = {"num_images": count, "converged": ratios}
        weights = dict.fromkeys(report["weights"][name] for parts in reports.values() for report in parts)
        yield TableRow(name, cells, figures=figures, weights=", ".join(weights))


def _posed(run: BenchmarkRun, source: Source) -> Iterator[tuple[Present, list[Record]]]:
    """Parts of a dataset that have queries with a pose, and these queries."""
    for part in run.present(source):
        dataset = open_dataset(part.spec)
        if _SPLITS[source] in dataset.splits:
            queries = [r for r in run.chosen(dataset.records(_SPLITS[source])) if r.world_from_cam is not None]
            if queries:
                yield part, queries


def _ablation(
    run: BenchmarkRun, method: str, part: Present, queries: list[Record], full: PyramidExtractor
) -> dict[str, Any]:
    """Report of ``vizloc evaluate ablation``, of an earlier run or a new one, and the weights of each variant."""
    visual_map, options = run.visual_map(method, part), run.options

    def compute() -> dict[str, Any]:
        mapped = mapped_records(run, part)
        photometric = open_pyramid_extractor("photometric", long_side=options.long_side)
        models = {**ablated(full, mapped), "photometric": photometric}
        posed = visual_map.info.place.records_in_map(queries)
        sets = alignment_sets(posed, seed=run.seed)
        sets[RETRIEVED] = AlignmentSet(posed, retrieved_priors(visual_map, posed, run.progress))
        details = {
            "num_images": len(queries),
            "weights": {name: model.model_id for name, model in models.items()},
            "dataset": part.spec,
            "command": run.command,
            "seed": run.seed,
        }
        figure = run.out / "ablation" / method / part.name / "ablation.png"
        return evaluate_convergence(
            models, visual_map, mapped, sets, figure, options=options, details=details, progress=run.progress
        )

    origin = {
        "map": map_id(visual_map),
        "dataset": part.spec,
        "queries": names_id(query.name for query in queries),
        "pixloc": full.model_id,
        "tracker": options.tracker.model_dump(mode="json"),
        "submap": options.submap.model_dump(mode="json"),
        "seed": run.seed,
    }
    return run.kept(method, f"{part.name}-ablation", origin, compute)


PIXLOC_TABLE3 = PaperTable(
    "pixloc-table3",
    "Ablation of the alignment",
    "PixLoc, Table 3",
    COLUMNS,
    (),
    (KITTI00, CMU),
    rows,
    "Alignments [%] that end within 0.25 m and 1 deg of the true pose, from priors that are moved by this much, and "
    "from the pose of the most similar keyframe. The paper draws recall curves of difficult pairs of images of CMU and "
    "gives the areas under them, another measure, so its rows are left out. The network before end-to-end training is "
    "added by 'vizloc evaluate ablation --pretrained'.",
)
