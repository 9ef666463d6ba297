"""Nanoseconds of a second, and durations of stages: of one input, of the recent ones, and of a whole run."""

import random
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np

NANOSECONDS = 1_000_000_000  # in a second


class Stopwatch:
    """Durations of named stages: ``with stopwatch("match"): ...``; those of the same stage are added.

    Attributes:
        milliseconds: duration by stage [ms].
    """

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}

    @property
    def seconds(self) -> dict[str, float]:
        """Durations by stage [s], rounded to milliseconds."""
        return {stage: round(milliseconds / 1e3, 3) for stage, milliseconds in self.milliseconds.items()}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Measure the block, also if it raises."""
        start = time.perf_counter()
        try:
            yield
        finally:
            elapsed = 1e3 * (time.perf_counter() - start)
            self.milliseconds[stage] = self.milliseconds.get(stage, 0.0) + elapsed


_RECENT = 200  # durations of diagnostics
_MAX_SAMPLE = 100_000  # durations in the sample of a whole run


class _Stage:
    """Recent durations [ms], and a uniform sample of all (reservoir sampling, Vitter 1985)."""

    def __init__(self) -> None:
        self.recent: deque[float] = deque(maxlen=_RECENT)
        self.sample: list[float] = []
        self._count = 0
        self._random = random.Random(0)

    def add(self, milliseconds: float) -> None:
        self.recent.append(milliseconds)
        self._count += 1
        if len(self.sample) < _MAX_SAMPLE:
            self.sample.append(milliseconds)
        elif (slot := self._random.randrange(self._count)) < _MAX_SAMPLE:
            self.sample[slot] = milliseconds


class StageTimings:
    """Durations by stage, in the order in which the stages first ended. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stages: dict[str, _Stage] = {}

    def add(self, stage: str, milliseconds: float) -> None:
        """Add a duration [ms]."""
        with self._lock:
            self._stages.setdefault(stage, _Stage()).add(milliseconds)

    def add_all(self, milliseconds: Mapping[str, float]) -> None:
        """Add the durations [ms] of a ``Stopwatch``, by stage."""
        for stage, duration in milliseconds.items():
            self.add(stage, duration)

    def recent(self) -> dict[str, dict[str, float]]:
        """Percentiles {stage: {"p50", "p99"}} [ms] of the last 200 durations."""
        with self._lock:
            return {name: percentiles(stage.recent) for name, stage in self._stages.items()}

    def overall(self) -> dict[str, dict[str, float]]:
        """Percentiles {stage: {"p50", "p99"}} [ms] of all durations, or of a uniform sample of 100,000."""
        with self._lock:
            return {name: percentiles(stage.sample) for name, stage in self._stages.items()}


def percentiles(milliseconds: Iterable[float]) -> dict[str, float]:
    """Median "p50" and 99th percentile "p99" of durations, as in reports."""
    p50, p99 = np.percentile(list(milliseconds), [50, 99])
    return {"p50": float(p50), "p99": float(p99)}
