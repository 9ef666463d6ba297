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


_MAX_SAMPLE = 100_000  # durations of a stage


class _Sample:
    """Uniform sample of all durations [ms] of a stage (reservoir sampling, Vitter 1985)."""

    def __init__(self) -> None:
        self._sample: list[float] = []
        self._count = 0
        self._random = random.Random(0)

    def append(self, milliseconds: float) -> None:
        self._count += 1
        if len(self._sample) < _MAX_SAMPLE:
            self._sample.append(milliseconds)
        elif (slot := self._random.randrange(self._count)) < _MAX_SAMPLE:
            self._sample[slot] = milliseconds

    def __iter__(self) -> Iterator[float]:
        return iter(self._sample)


class StageTimings:
    """Durations by stage, in the order in which the stages first ended: of a whole run, or the last. Thread-safe."""

    def __init__(self, last: int | None = None) -> None:
        """Begin without durations.

        Args:
            last: durations of each stage that are kept, for a node that runs for days; None for those of a whole run,
                or of more than 100,000 a uniform sample.
        """
        self._last = last
        self._lock = threading.Lock()
        self._stages: dict[str, deque[float] | _Sample] = {}

    def add(self, stage: str, milliseconds: float) -> None:
        """Add a duration [ms]."""
        with self._lock:
            if stage not in self._stages:
                self._stages[stage] = _Sample() if self._last is None else deque(maxlen=self._last)
            self._stages[stage].append(milliseconds)

    def add_all(self, milliseconds: Mapping[str, float]) -> None:
        """Add the durations [ms] of a ``Stopwatch``, by stage."""
        for stage, duration in milliseconds.items():
            self.add(stage, duration)

    def percentiles(self) -> dict[str, dict[str, float]]:
        """Percentiles {stage: {"p50", "p99"}} [ms] of the durations that are kept."""
        with self._lock:
            return {name: percentiles(durations) for name, durations in self._stages.items()}


def percentiles(milliseconds: Iterable[float]) -> dict[str, float]:
    """Median "p50" and 99th percentile "p99" of durations, as in reports."""
    p50, p99 = np.percentile(list(milliseconds), [50, 99])
    return {"p50": float(p50), "p99": float(p99)}
