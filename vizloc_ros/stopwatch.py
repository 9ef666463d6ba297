"""How long the stages of one piece of work took."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


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
