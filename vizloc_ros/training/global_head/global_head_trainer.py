"""Trains the global head on whole images, with everything up to layer 7 and the local heads as they are.

The first stage distils from crops, and a part of an image is no place. What is best to learn from is an open question
where no permissively licensed teacher exists, so a run adds any of three losses (``LossWeights``), and runs are
compared by retrieval on places kept out of training.
"""

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vizloc_ros.errors import ConfigError
from vizloc_ros.parallel import Progress, silent
from vizloc_ros.training.checkpoint import load_network, load_state, restore, save_checkpoint
from vizloc_ros.training.distillation.distillation_losses import global_loss
from vizloc_ros.training.global_head.contrastive_loss import contrastive_loss
from vizloc_ros.training.global_head.data import GlobalData
from vizloc_ros.training.global_head.global_batches import Draw, GlobalBatches
from vizloc_ros.training.global_head.global_config import GlobalTraining
from vizloc_ros.training.global_head.network_split import split_network
from vizloc_ros.training.global_head.photos import closeness, neighbours
from vizloc_ros.training.global_head.reduction import whiten_reduction
from vizloc_ros.training.global_head.view_bank import describe
from vizloc_ros.training.interruption import require_finite, saved_on_failure
from vizloc_ros.training.log import Report, TrainingLog
from vizloc_ros.training.provenance import without_folders

_REPORT_EVERY = 10

logger = logging.getLogger(__name__)


class GlobalHeadTrainer:
    """One run in a folder: ``checkpoint.pt`` is the best so far, ``latest.pt`` what a resumed run goes on from."""

    def __init__(
        self,
        config: GlobalTraining,
        folder: Path,
        *,
        resume: bool = False,
        threads: int = 0,
        progress: Progress = silent,
    ) -> None:
        """Reads, or makes, everything that the steps need.

        Args:
            config: of the run.
            folder: of the run.
            resume: go on where the run in the folder was saved.
            threads: of the teacher on the CPU; 0 for all cores.
            progress: shows how far it is.

        Raises:
            VizlocError: something is missing, damaged or does not fit together, or the folder has a run that would be
                overwritten, or none to resume.
        """
        self.config, self.folder = config, folder
        state = load_state(self.latest, config, resume)
        folder.mkdir(parents=True, exist_ok=True)
        network, details = load_network(config.checkpoint)
        self._first_stage = json.loads(details["training"])
        self.network = network.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        split = split_network(self.network, config.layers)
        self.head = split.head
        optimizer = {"adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop}[config.optimizer]
        self.optimizer: torch.optim.Optimizer = optimizer(self.head.parameters(), lr=config.learning_rate)
        self._parts = {"network": self.network, "optimizer": self.optimizer}
        self.step = 0
        self.best: dict[str, float] = {}
        if state is not None:
            restore(self.latest, state, self._parts)
            self.step, self.best = state["step"], state["best"]
            if split_network(self.network, config.layers).encoder_id != split.encoder_id:
                raise ConfigError(f"{config.checkpoint}: is not the checkpoint that {self.latest} started from")
        cache, dimension = config.cache or folder / "cache", self.network.config.global_dimension
        self.data = GlobalData.prepare(config, cache, split, dimension, threads, progress)
        if state is None and config.reduction == "whiten":
            photos = self.data.photos
            whiten_reduction(self.head, self.data.bank, neighbours(photos, config.neighbours, config.max_angle))
        self.batches = GlobalBatches(config, self.data.photos)
        self._log = TrainingLog(folder / "log.csv", self.step if resume else None)

    @property
    def latest(self) -> Path:
        """Where the state is saved that a resumed run goes on from."""
        return self.folder / "latest.pt"

    @property
    def checkpoint(self) -> Path:
        """The network that was best on the held-out places, in the first stage's format."""
        return self.folder / "checkpoint.pt"

    def save(self) -> None:
        """Writes ``latest``."""
        save_checkpoint(self.latest, self._state(self._parts))

    def run(self, until: int | None = None, report: Report | None = None) -> None:
        """Trains to step ``until`` (default: the configuration's).

        Saves before and after every validation, at the end, and when it is interrupted.

        Raises:
            VizlocError: the cache cannot be read, or the loss diverged.
        """
        last = self.config.steps if until is None else min(until, self.config.steps)
        started = time.monotonic()
        with saved_on_failure(self):
            if not self.best:
                self._validate(report)
            while self.step < last:
                values = self._train_step()
                self._log.write(self.step, {**values, "seconds": time.monotonic() - started})
                if report is not None and (self.step % _REPORT_EVERY == 0 or self.step == last):
                    report(self.step, values)
                if self.step % self.config.validate_every == 0 or self.step == last:
                    self.save()
                    self._validate(report)

    def losses(self, draw: Draw) -> dict[str, Tensor]:
        """The losses of a batch that have a weight."""
        config, data = self.config, self.data
        views = [(int(photo), int(view)) for both in draw.views for photo, view in zip(draw.photos, both, strict=True)]
        descriptors = describe(self.head, [data.bank.load(*view) for view in views])  # of N photos, and of them again
        device = descriptors.device
        losses = {}
        if data.targets is not None:
            losses["distill"] = global_loss(descriptors, data.targets[draw.photos].repeat(2, 1).to(device))
        if config.losses.self_supervised:
            # Without the stretches, which poses chose: this loss would take neighbours on a street for negatives.
            same = torch.eye(int(draw.random.sum()), device=device).repeat(2, 2)
            random = torch.from_numpy(np.flatnonzero(np.tile(draw.random, 2))).to(device)
            losses["self_supervised"] = contrastive_loss(descriptors[random], same, config.temperature)
        if config.losses.posed:
            near = closeness([data.photos[i] for i in draw.photos], config.radius, config.max_angle)
            alike = torch.from_numpy(near.astype(np.float32)).repeat(2, 2).to(device)
            losses["posed"] = contrastive_loss(descriptors, alike, config.temperature)
        return losses

    def _train_step(self) -> dict[str, float]:
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.config, self.step)
        losses = self.losses(self.batches.draw(self.step))
        weights = self.config.losses.model_dump()
        total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        gradient = nn.utils.clip_grad_norm_(self.head.parameters(), 5.0)
        require_finite(self.step, self.latest, total, gradient)
        self.optimizer.step()
        self.step += 1
        return {"loss": total.item(), **{name: loss.item() for name, loss in losses.items()}}

    def _validate(self, report: Report | None) -> None:
        """Measures on the held-out places; saves the network if it is the best so far, and the state that knows it."""
        recall = self.data.places.recall(self.head)
        held_out = {f"held_out_{name}": value for name, value in recall.items()}
        self._log.write(self.step, held_out)
        logger.info("step %d: %s", self.step, held_out)
        if report is not None:
            report(self.step, held_out)
        if not self.best or tuple(recall.values()) > tuple(self.best.values()):
            self.best = recall
            save_checkpoint(self.checkpoint, self._state({"network": self.network}))
        self.save()

    def _state(self, parts: Mapping[str, Any]) -> dict[str, Any]:
        config = {
            "network": self.network.config.model_dump(),
            "global_training": self.config.model_dump(mode="json"),
            "first_stage": self._first_stage,
        }
        return {
            **{name: part.state_dict() for name, part in parts.items()},
            "step": self.step,
            "best": self.best,
            "config": json.dumps(without_folders(config)),
        }


def learning_rate(config: GlobalTraining, step: int) -> float:
    """The rate of a step: half a cosine from the configuration's down to zero."""
    return float(config.learning_rate * 0.5 * (1 + np.cos(np.pi * step / config.steps)))
