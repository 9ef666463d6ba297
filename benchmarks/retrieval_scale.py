"""Global search among a million keyframes: with the map's index, and exact search in the same run.

The descriptors are simulated: a drive with a keyframe every half meter, whose descriptors are similar over 5 m; those
of other places are similar only by chance. Queries are keyframes with noise. For comparison: on kitti00, RootSIFT's
VLAD is similar over 3 m, and a query has a cosine of 0.50 to 0.90 to its best keyframe, with a median of 0.84.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from machine import read_ms
from measure import Cell, Table

from vizloc_ros.arrays import Float32, Int64
from vizloc_ros.localization.faiss_index import INDEX_FILE, FaissIndex, write_index
from vizloc_ros.localization.global_search import GlobalSearch
from vizloc_ros.localization.localization_options import RetrievalOptions
from vizloc_ros.localization.retrieval import GlobalIndex
from vizloc_ros.timing import percentiles

KEYFRAMES = 1_000_000
_SIZE = 512
_SIMILAR = 5  # keyframes on either side with similar descriptors
_CHUNK = 1 << 14
_COSINES = (0.85, 0.55)  # between a query and its keyframe
_QUERIES, _WARM_UP = 100, 5  # at each cosine
_TOP_K = 10
_SHORTLISTS = (10, 30, 100, 300)


def benchmark(out: Path, keyframes: int = KEYFRAMES) -> list[Table]:
    """Measure recall and time of the index, for several lengths of its shortlist."""
    rng = np.random.default_rng(0)
    with TemporaryDirectory(dir=out) as folder:
        path, index_path = Path(folder) / "global_descriptors.npy", Path(folder) / INDEX_FILE
        write_drive(path, keyframes, rng)
        descriptors = np.load(path, mmap_mode="r")
        start = time.perf_counter()
        write_index(descriptors, index_path)
        built = time.perf_counter() - start
        seen = [rng.integers(0, keyframes, _WARM_UP + _QUERIES) for _ in _COSINES]
        queries = [_queries(descriptors[s], cosine, rng) for s, cosine in zip(seen, _COSINES, strict=True)]
        exact, exact_times = _search_all(GlobalIndex(descriptors), queries)
        found = [_search_all(FaissIndex(index_path, descriptors, n), queries) for n in _SHORTLISTS]
        limit = read_ms(descriptors.nbytes)
        index_bytes = index_path.stat().st_size
    rows: list[list[Cell]] = [["exact", *_places(exact, seen), None, None, None, None, *exact_times]]
    for shortlist, (result, times) in zip(_SHORTLISTS, found, strict=True):
        recalls = [_recall(r, e, k) for k in (1, _TOP_K) for r, e in zip(result, exact, strict=True)]
        rows.append([f"faiss, {shortlist}", *_places(result, seen), *recalls, *times])
    columns = [
        "search, shortlist",
        *(f"place, cosine {cosine:g}" for cosine in _COSINES),
        *(f"R@{k}, {cosine:g}" for k in (1, _TOP_K) for cosine in _COSINES),
        "p50 [ms]",
        "p99 [ms]",
        "CPU p50 [ms]",
    ]
    notes = [
        f"{keyframes:,} simulated keyframes x {_SIZE}, {1e-6 * descriptors.nbytes:,.0f} MB: reading them once takes "
        f"{limit:.3g} ms. Index: {1e-6 * index_bytes:,.0f} MB, built in {built:.0f} s.",
        f"{_QUERIES} queries at each cosine to their keyframe, after {_WARM_UP} for warm-up. R@1, R@10: ratio of the "
        "exact search's best 1 and 10 that are among the index's best 1 and 10.",
        f"place: queries with a keyframe of their place (within {_SIMILAR}) among the best {_TOP_K}, whichever search. "
        f"The default is a shortlist of {RetrievalOptions().shortlist}.",
        "CPU: of all threads of the process; other processes change it only through caches and memory.",
    ]
    return [Table("A million keyframes: global search", columns, rows, notes)]


def write_drive(path: Path, keyframes: int, rng: np.random.Generator) -> None:
    """Write unit vectors, each the sum of the random vectors of its neighborhood, chunk by chunk."""
    window = 2 * _SIMILAR + 1
    file = np.lib.format.open_memmap(path, "w+", np.float32, (keyframes, _SIZE))
    before = rng.standard_normal((window, _SIZE), np.float32)
    for start in range(0, keyframes, _CHUNK):
        rows = min(_CHUNK, keyframes - start)
        vectors = np.concatenate([before, rng.standard_normal((rows, _SIZE), np.float32)])
        sums = np.cumsum(vectors, axis=0)
        file[start : start + rows] = _unit(sums[window:] - sums[:-window])
        before = vectors[-window:]
    file.flush()


def _queries(keyframes: Float32, cosine: float, rng: np.random.Generator) -> Float32:
    """Descriptors of the keyframes with noise, at a given cosine to the originals."""
    noise = _unit(rng.standard_normal(keyframes.shape, np.float32))
    return _unit(keyframes + np.float32(np.sqrt(1 / cosine**2 - 1)) * noise)


def _search_all(search: GlobalSearch, queries: list[Float32]) -> tuple[list[list[Int64]], tuple[float, float, float]]:
    """Retrieved keyframes for every set of queries; p50 and p99 of the time, and p50 of the CPU time [ms]."""
    found: list[list[Int64]] = []
    elapsed, cpu = [], []
    for of_cosine in queries:
        found.append([])
        for i, query in enumerate(of_cosine):
            start, cpu_start = time.perf_counter(), time.process_time()
            keyframes, _ = search.search(query, _TOP_K)
            if i >= _WARM_UP:
                elapsed.append(1e3 * (time.perf_counter() - start))
                cpu.append(1e3 * (time.process_time() - cpu_start))
                found[-1].append(keyframes)
    times = percentiles(elapsed)
    return found, (times["p50"], times["p99"], percentiles(cpu)["p50"])


def _recall(found: list[Int64], exact: list[Int64], k: int) -> float:
    return float(np.mean([np.isin(e[:k], f[:k]).mean() for f, e in zip(found, exact, strict=True)]))


def _places(found: list[list[Int64]], seen: list[Int64]) -> list[float]:
    """Ratio of queries whose place is found, at each cosine."""
    return [
        float(np.mean([(np.abs(f - s) <= _SIMILAR).any() for f, s in zip(fs, ss[_WARM_UP:], strict=True)]))
        for fs, ss in zip(found, seen, strict=True)
    ]


def _unit(vectors: Float32) -> Float32:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
