"""Durations of the stages of the work, in milliseconds: of one input, lately for diagnostics, and of a whole run."""

import random
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np


class Stopwatch:
    """Sums the time of named stages: ``with stopwatch("match"): ...``; ``milliseconds`` maps stage to time."""

    def __init__(self) -> None:
        self.milliseconds: dict[str, float] = {}

    @property
    def seconds(self) -> dict[str, float]:
        """The same in seconds, to the millisecond."""
        return {stage: round(milliseconds / 1e3, 3) for stage, milliseconds in self.milliseconds.items()}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Times the block, also when it raises."""
        start = time.perf_counter()
        try:
            yield
        finally:
            elapsed = 1e3 * (time.perf_counter() - start)
            self.milliseconds[stage] = self.milliseconds.get(stage, 0.0) + elapsed


RECENT = 200
KEPT = 100_000


class _Stage:
    """The last durations, and a fair sample (reservoir, Vitter 1985) of all."""

    def __init__(self) -> None:
        self.recent: deque[float] = deque(maxlen=RECENT)
        self.sample: list[float] = []
        self._count = 0
        self._random = random.Random(0)

    def add(self, milliseconds: float) -> None:
        self.recent.append(milliseconds)
        self._count += 1
        if len(self.sample) < KEPT:
            self.sample.append(milliseconds)
        elif (slot := self._random.randrange(self._count)) < KEPT:
            self.sample[slot] = milliseconds


class StageTimings:
    """Durations by stage, in the order the stages first ended. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stages: dict[str, _Stage] = {}

    def add(self, stage: str, milliseconds: float) -> None:
        """Adds one duration."""
        with self._lock:
            self._stages.setdefault(stage, _Stage()).add(milliseconds)

    def add_all(self, milliseconds: Mapping[str, float]) -> None:
        """Adds what a ``Stopwatch`` measured."""
        for stage, duration in milliseconds.items():
            self.add(stage, duration)

    def recent(self) -> dict[str, dict[str, float]]:
        """{stage: {"p50", "p99"}} of the last 200."""
        with self._lock:
            return {name: percentiles(stage.recent) for name, stage in self._stages.items()}

    def overall(self) -> dict[str, dict[str, float]]:
        """{stage: {"p50", "p99"}} of the whole run; of a fair sample from 100,000 on."""
        with self._lock:
            return {name: percentiles(stage.sample) for name, stage in self._stages.items()}


def percentiles(milliseconds: Iterable[float]) -> dict[str, float]:
    """The keys "p50" and "p99" of a report."""
    p50, p99 = np.percentile(list(milliseconds), [50, 99])
    return {"p50": float(p50), "p99": float(p99)}
