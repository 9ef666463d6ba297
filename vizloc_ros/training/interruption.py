"""A run that is interrupted, or meets an input that it cannot use, keeps what it has learned."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from vizloc_ros.errors import ConfigError, VizlocError


class Run(Protocol):
    """What can be saved."""

    step: int

    def save(self) -> None:
        """Writes the state."""


class DivergedError(ConfigError):
    """The loss is no number any more."""


@contextmanager
def saved_on_failure(run: Run) -> Iterator[None]:
    """Saves a run that has made a step when it is stopped inside; not when it diverged, for that state is lost."""
    try:
        yield
    except DivergedError:
        raise
    except (KeyboardInterrupt, VizlocError):
        if run.step:
            run.save()
        raise


def require_finite(step: int, saved: Path, *values: Tensor) -> None:
    """Raises ``DivergedError`` unless loss and gradient are finite, before an optimizer spreads it."""
    if not all(torch.isfinite(value) for value in values):
        shown = " and ".join(f"{value.item():g}" for value in values)
        raise DivergedError(
            f"step {step}: loss and gradient are {shown}: lower learning_rate and go on with --resume from the last "
            f"state that was saved ({saved}), or start again without it"
        )
