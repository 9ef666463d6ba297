"""Base of all training runs: the folder, the saved state, the log, the training loop, and the validation."""

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from vizloc_ros.errors import InputError, VizlocError
from vizloc_ros.files import require_folder
from vizloc_ros.parallel import Progress, silent
from vizloc_ros.training.checkpoint import load_state, restore, save_checkpoint
from vizloc_ros.training.log import Report, TrainingLog
from vizloc_ros.training.training_options import RunOptions

logger = logging.getLogger(__name__)
OptionsOfRun = TypeVar("OptionsOfRun", bound=RunOptions)


class DivergedError(InputError):
    """Error for a loss or gradient that is not finite."""


class TrainingRun(ABC, Generic[OptionsOfRun]):
    """Training run in a folder; a resumed run gives the same weights, bit by bit, as an uninterrupted one.

    Attributes:
        options: options of the run.
        folder: folder of the run.
        steps: number of steps of the whole run.
        step: number of steps made so far.
    """

    log_every = 10  # steps between rows of the log
    report_every = 10  # steps between calls of ``report``, a multiple of ``log_every``

    def __init__(
        self,
        options: OptionsOfRun,
        folder: Path,
        *,
        resume: bool = False,
        threads: int = 0,
        progress: Progress = silent,
    ) -> None:
        """Find the saved state, create the folder, and prepare data, network and optimizer.

        Args:
            options: options of the run; those of the saved state must fit.
            folder: folder of the run.
            resume: continue the run in the folder.
            threads: threads of a teacher on the CPU; 0 for all cores.
            progress: progress display.

        Raises:
            VizlocError: training data or options are missing, damaged or inconsistent, or the folder has a run that
                would be overwritten, none to resume, or a run of other options.
        """
        self.options, self.folder, self.steps, self.step = options, folder, options.steps, 0
        self._parts: dict[str, Any] = {}
        self._state = load_state(self.latest, options, resume)
        require_folder(folder)
        self._prepare(threads, progress)
        self._log = TrainingLog(folder / "log.csv", self.step if resume else None)  # that of a resumed run goes on

    @abstractmethod
    def _prepare(self, threads: int, progress: Progress) -> None:
        """Build data, network and optimizer, and pass to ``_restore`` what a checkpoint has to hold."""

    @property
    def checkpoint(self) -> Path:
        """File of the trained network, for export."""
        return self.folder / "checkpoint.pt"

    @property
    def latest(self) -> Path:
        """File of the state that a resumed run continues from."""
        return self.checkpoint

    def save(self) -> None:
        """Write the state that a resumed run continues from."""
        self._write(self.latest, self._parts)

    def run(self, until: int | None = None, report: Report | None = None, each_step: Report | None = None) -> None:
        """Train up to step ``until``, or to the end of the run.

        The state is saved before every validation, at the end, and when the run is interrupted.

        Args:
            until: step to stop at; None for the last one.
            report: function that is called with the logged values of some steps.
            each_step: function that is called with the values of every step.

        Raises:
            VizlocError: training data cannot be read, or the loss diverged.
        """
        last = self.steps if until is None else min(until, self.steps)
        started = time.monotonic()
        unlogged: list[dict[str, float]] = []
        with self._saved_on_failure():
            if self._validates_first():
                self._after_steps(report)
            for values in self._train(last):
                unlogged.append(values)
                if each_step is not None:
                    each_step(self.step, values)
                if self.step % self.log_every == 0 or self.step == last:
                    logged = self._values_to_log(unlogged)
                    unlogged.clear()
                    self._log.write(self.step, {**logged, "seconds": time.monotonic() - started})
                    if report is not None and (self.step % self.report_every == 0 or self.step == last):
                        report(self.step, logged)
                if self.step % self.options.validate_every == 0 or self.step == last:
                    self.save()  # first, so that a failure of the validation loses nothing
                    self._after_steps(report)

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Measurements on held-out data by name; empty if there is none."""

    @abstractmethod
    def _train(self, last: int) -> Iterator[dict[str, float]]:
        """Make the steps up to ``last`` one by one, and yield the values of each."""

    @abstractmethod
    def _configuration(self) -> str:
        """Configuration of the run as JSON, which checkpoints hold."""

    def _values_to_log(self, values: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Values for the log, from those of all steps since the last row: the last ones."""
        return dict(values[-1])

    def _validates_first(self) -> bool:
        """Return true if the network is to be validated before the next step, for comparison."""
        return False

    def _after_steps(self, report: Report | None) -> None:
        """Validate the network after some steps; the result is logged."""
        self._validate()

    def _validate(self, report: Report | None = None) -> dict[str, float]:
        """Validate the network, and log and report the result as ``held_out_...``."""
        values = self.validate()
        if values:
            held_out = {f"held_out_{name}": value for name, value in values.items()}
            self._log.write(self.step, held_out)
            logger.info("step %d: %s", self.step, held_out)
            if report is not None:
                report(self.step, held_out)
        return values

    def _restore(self, **parts: Any) -> bool:
        """Load the saved state into network, optimizer and other parts.

        Args:
            parts: parts of a checkpoint by name, which have ``state_dict`` and ``load_state_dict``.

        Returns:
            True if the run is resumed.

        Raises:
            InputError: the saved state is that of another network.
        """
        self._parts = parts
        if self._state is None:
            return False
        restore(self.latest, self._state, parts)
        self._restore_progress(self._state)
        self._state = None
        return True

    def _progress(self) -> dict[str, Any]:
        """Progress of the run, which checkpoints hold."""
        return {"step": self.step}

    def _restore_progress(self, state: Mapping[str, Any]) -> None:
        self.step = state["step"]

    def _write(self, path: Path, parts: Mapping[str, Any]) -> None:
        states = {name: part.state_dict() for name, part in parts.items()}
        save_checkpoint(path, {**states, **self._progress(), "config": self._configuration()})

    def _set_learning_rate(self, rate: float) -> None:
        """Set the rate of all groups of parameters, times the ``factor`` of a group that has one."""
        for group in self._parts["optimizer"].param_groups:
            group["lr"] = rate * group.get("factor", 1.0)

    def _update(self, loss: Tensor, parameters: Iterable[nn.Parameter], max_norm: float) -> Tensor:
        """Make one step of the optimizer.

        Args:
            loss: loss of the step.
            parameters: parameters whose gradient is clipped.
            max_norm: norm that the gradient is clipped to.

        Returns:
            Norm of the gradient before it was clipped.

        Raises:
            DivergedError: loss or gradient is not finite; the network stays as it was.
        """
        optimizer = self._parts["optimizer"]
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm: Tensor = nn.utils.clip_grad_norm_(parameters, max_norm)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise DivergedError(
                f"step {self.step}: loss and gradient are {loss.item():g} and {norm.item():g}: lower learning_rate and "
                f"go on with --resume from the last state that was saved ({self.latest}), or start again without it"
            )
        optimizer.step()
        self.step += 1
        return norm

    @contextmanager
    def _saved_on_failure(self) -> Iterator[None]:
        """Save a run that is interrupted or fails inside, unless it has no step yet, or its loss diverged."""
        try:
            yield
        except DivergedError:
            raise
        except (KeyboardInterrupt, VizlocError):
            if self.step:
                self.save()
            raise


class SelectingRun(TrainingRun[OptionsOfRun]):
    """Training run whose ``checkpoint`` is the network with the best validation; ``latest`` is another file.

    Attributes:
        best: best validation so far.
    """

    best: Any

    @property
    def latest(self) -> Path:
        """File of the state that a resumed run continues from."""
        return self.folder / "latest.pt"

    @abstractmethod
    def _improves(self, values: Mapping[str, float]) -> bool:
        """Return true if a validation is the best so far, and keep it in ``best``."""

    def _validates_first(self) -> bool:
        return self.step == 0

    def _after_steps(self, report: Report | None) -> None:
        """Validate the network, and save it if it is the best so far; save the run, which holds ``best``."""
        if self._improves(self._validate(report)):
            self._write(self.checkpoint, {"network": self._parts["network"]})
        self.save()

    def _progress(self) -> dict[str, Any]:
        return {**super()._progress(), "best": self.best}

    def _restore_progress(self, state: Mapping[str, Any]) -> None:
        super()._restore_progress(state)
        self.best = state["best"]
