"""Trains PixLoc end to end: the pose at the end of an alignment teaches the network that made the features."""

import json
import logging
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from vizloc_ros.arrays import UInt8
from vizloc_ros.errors import ConfigError
from vizloc_ros.parallel import Progress, silent
from vizloc_ros.pixloc.network.light import LightNetwork
from vizloc_ros.pixloc.network.model import PixLocNetwork
from vizloc_ros.pixloc.optimizer.robust import BarronLoss
from vizloc_ros.training.checkpoint import load_state, restore, save_checkpoint
from vizloc_ros.training.interruption import require_finite, saved_on_failure
from vizloc_ros.training.log import Report, TrainingLog
from vizloc_ros.training.pixloc.alignment_config import PixLocTraining, Starts
from vizloc_ros.training.pixloc.objective import align_batch
from vizloc_ros.training.pixloc.pair_batches import Batch, collate
from vizloc_ros.training.pixloc.pretrained import load_edgepoint2
from vizloc_ros.training.pixloc.training_pairs import Pair, PairDrive
from vizloc_ros.training.pixloc.windows import draw_pairs
from vizloc_ros.training.provenance import without_folders

_REPORT_EVERY = 10
_VALIDATION_ITERATIONS = 20
_CONVERGED = (0.25, 1.0)  # m, deg
_VALIDATION_STARTS = Starts(reference=0.25, translation=2.0, rotation=4.0)
_TRAINING, _VALIDATION = range(2)  # streams of random numbers

logger = logging.getLogger(__name__)


class PixLocTrainer:
    """One run in a folder: ``checkpoint.pt`` is the best so far, ``latest.pt`` what a resumed run goes on from."""

    def __init__(
        self,
        config: PixLocTraining,
        folder: Path,
        *,
        resume: bool = False,
        overfit: bool = False,
        progress: Progress = silent,
    ) -> None:
        """Reads everything that the steps need.

        Args:
            config: of the run.
            folder: of the run.
            resume: go on where the run in the folder was saved.
            overfit: learn from one batch alone, unchanged images: a check of the code, whose loss must vanish.
            progress: shows how far it is.

        Raises:
            VizlocError: something is missing, damaged or does not fit together, or the folder has a run that would be
                overwritten, or none to resume.
        """
        self.config, self.folder, self.overfit = config, folder, overfit
        state = load_state(self.latest, config, resume)
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(config.seed)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = PixLocNetwork(config.network)
        if config.pretrained is not None:
            if not isinstance(self.network.features, LightNetwork):
                raise ConfigError("'pretrained' is for the light network only")
            load_edgepoint2(self.network.features, config.pretrained)
        self.network.to(self.device, memory_format=torch.channels_last)  # a third less time on a CPU
        self.optimizer = torch.optim.Adam(
            [
                {"params": self.network.features.parameters(), "factor": 1.0},
                {"params": [self.network.damping], "factor": config.damping_rate},
            ],
            lr=config.learning_rate,
        )
        self._parts = {"network": self.network, "optimizer": self.optimizer}
        self.step, self.best = 0, 0.0
        if state is not None:
            restore(self.latest, state, self._parts)
            self.step, self.best = state["step"], state["best"]
        self._loss = BarronLoss(0.0, config.robust_scale)
        self._drives = [
            PairDrive(source, folder / "maps" / str(k), config.partners, config.long_side, progress)
            for k, source in enumerate(config.sources)
        ]
        shares = np.array([source.share for source in config.sources])
        self._shares = shares / shares.sum()
        self._validation = self._validation_pairs()
        self._log = TrainingLog(folder / "log.csv", self.step if resume else None)

    @property
    def latest(self) -> Path:
        """Where the state is saved that a resumed run goes on from."""
        return self.folder / "latest.pt"

    @property
    def checkpoint(self) -> Path:
        """The network that was best on the held-out pairs."""
        return self.folder / "checkpoint.pt"

    def save(self) -> None:
        """Writes ``latest``."""
        save_checkpoint(self.latest, self._state(self._parts))

    def run(self, until: int | None = None, report: Report | None = None) -> None:
        """Trains to step ``until`` (default: the configuration's).

        Saves at every validation, at the end, and when it is interrupted.

        Raises:
            VizlocError: the loss diverged.
        """
        last = self.config.steps if until is None else min(until, self.config.steps)
        started = time.monotonic()
        with saved_on_failure(self):
            if self.step == 0:
                self._validate(report)
            while self.step < last:
                values = self._train_step()
                if self.step % _REPORT_EVERY == 0 or self.step == last:
                    self._log.write(self.step, {**values, "seconds": time.monotonic() - started})
                    if report is not None:
                        report(self.step, values)
                if self.step % self.config.validate_every == 0 or self.step == last:
                    self.save()
                    self._validate(report)

    def batch(self, step: int) -> Batch:
        """The pairs of a step: the same ones whenever it is asked for."""
        rng = np.random.default_rng([self.config.seed, _TRAINING, 0 if self.overfit else step])
        drive = self._drives[int(rng.choice(len(self._drives), p=self._shares))]
        return self._collated(draw_pairs(drive, drive.training, self.config.batch, self.config.starts, rng), rng)

    def _train_step(self) -> dict[str, float]:
        self.network.train()
        rate = self.config.learning_rate * 0.5 * (1 + math.cos(math.pi * self.step / self.config.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]
        aligned = align_batch(self.network, self.batch(self.step), self._loss, self.config.iterations, self.config.gate)
        self.optimizer.zero_grad(set_to_none=True)
        aligned.loss.backward()
        gradient = nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)  # before the step
        require_finite(self.step, self.latest, aligned.loss, gradient)
        self.optimizer.step()
        self.step += 1
        levels = {f"level{i}": value for i, value in enumerate(aligned.level_losses.tolist())}
        return {"loss": aligned.loss.item(), **levels, "gradient": float(gradient)}

    def _collated(self, pairs: list[Pair], rng: np.random.Generator) -> Batch:
        """With changed images."""
        queries, keyframes = [], []
        for i, pair in enumerate(pairs):
            other = pairs[(i + 1) % len(pairs)].keyframe.image
            queries.append(self._changed(pair.query.image, self.config.query_appearance.apply, rng, other))
            keyframes.append(self._changed(pair.keyframe.image, self.config.map_appearance.apply, rng, other))
        return collate(pairs, queries, keyframes, self.device)

    def _changed(self, image: UInt8, apply: Any, rng: np.random.Generator, other: UInt8) -> UInt8:
        if self.overfit:
            return image
        changed: UInt8 = apply(image, rng, other)
        return changed

    def _validation_pairs(self) -> list[Batch]:
        """Batches of one pair each, the same in every run."""
        rng = np.random.default_rng([self.config.seed, _VALIDATION])
        drives = [drive for drive in self._drives if drive.validation]
        batches = []
        for k in range(self.config.validation_pairs if drives else 0):
            drive = drives[k % len(drives)]
            batches.append(self._collated(draw_pairs(drive, drive.validation, 1, _VALIDATION_STARTS, rng), rng))
        return batches

    def _validate(self, report: Report | None) -> None:
        """Measures on held-out pairs; saves the network if it is the best so far."""
        if self._validation and not self.overfit:
            values = self.validation()
            self._log.write(self.step, values)
            logger.info("step %d: %s", self.step, values)
            if report is not None:
                report(self.step, values)
            better = values["held_out_converged"] >= self.best
            self.best = max(self.best, values["held_out_converged"])
        else:
            better = True
        if better:
            save_checkpoint(self.checkpoint, self._state({"network": self.network}))
        self.save()

    @torch.no_grad()
    def validation(self) -> dict[str, float]:
        """Share of the held-out pairs that end near the truth, and their mean loss on the finest level."""
        self.network.eval()
        converged, losses = [], []
        for batch in self._validation:
            aligned = align_batch(self.network, batch, self._loss, _VALIDATION_ITERATIONS, self.config.gate)
            distance, angle = _errors(aligned.pose, batch.truth)
            converged.append(distance <= _CONVERGED[0] and angle <= _CONVERGED[1])
            losses.append(float(aligned.level_losses[0]))
        return {"held_out_converged": float(np.mean(converged)), "held_out_loss": float(np.mean(losses))}

    def _state(self, parts: dict[str, Any]) -> dict[str, Any]:
        return {
            **{name: part.state_dict() for name, part in parts.items()},
            "step": self.step,
            "best": self.best,
            "config": json.dumps(without_folders(self.config.model_dump(mode="json"))),
        }


def _errors(pose: Any, truth: Any) -> tuple[float, float]:
    """Distance [m] and angle [deg] of the first pose of a batch."""
    centre, true_centre = (-(p.rotation[0].T @ p.translation[0]) for p in (pose, truth))
    cosine = ((pose.rotation[0] * truth.rotation[0]).sum() - 1) / 2
    return float((centre - true_centre).norm()), float(torch.rad2deg(torch.arccos(cosine.clamp(-1, 1))))
