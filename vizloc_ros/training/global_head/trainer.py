"""Trains the global head on whole images, with everything up to layer 7 and the local heads as they are.

The first stage distils from crops, and a part of an image is no place. What is best to learn from is an open question
where no permissively licensed teacher exists, so a run adds any of three losses (``LossWeights``), and runs are
compared by retrieval on places kept out of training.
"""

import json
import logging
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vizloc_ros.parallel import Progress, silent
from vizloc_ros.training.checkpoint import load_checkpoint, load_network, save_checkpoint
from vizloc_ros.training.distillation.losses import global_loss
from vizloc_ros.training.global_head.batches import Draw, GlobalBatches
from vizloc_ros.training.global_head.config import GlobalTraining
from vizloc_ros.training.global_head.data import GlobalData
from vizloc_ros.training.global_head.losses import contrastive_loss
from vizloc_ros.training.global_head.network_split import split_network
from vizloc_ros.training.global_head.photos import closeness
from vizloc_ros.training.global_head.view_bank import describe
from vizloc_ros.training.log import Report, TrainingLog
from vizloc_ros.training.provenance import without_folders

_REPORT_EVERY = 10

logger = logging.getLogger(__name__)


class GlobalHeadTrainer:
    """One run in a folder: ``checkpoint.pt`` is the best so far, ``latest.pt`` what ``resume`` goes on from."""

    def __init__(self, config: GlobalTraining, folder: Path, progress: Progress = silent) -> None:
        self.config, self.folder = config, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.network, details = load_network(config.checkpoint)
        self._first_stage = json.loads(details["training"])
        split = split_network(self.network, config.layers)
        self.head = split.head
        dimension = self.network.config.global_dimension
        self.data = GlobalData.prepare(config, config.cache or folder / "cache", split, dimension, progress)
        self.batches = GlobalBatches(config, self.data.photos)
        optimizer = {"adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop}[config.optimizer]
        self.optimizer: torch.optim.Optimizer = optimizer(self.head.parameters(), lr=config.learning_rate)
        self.step = 0
        self.best: dict[str, float] = {}
        self._log = TrainingLog(folder / "log.csv")

    @property
    def latest(self) -> Path:
        """Where the state is saved that ``resume`` goes on from."""
        return self.folder / "latest.pt"

    @property
    def checkpoint(self) -> Path:
        """The network that was best on the held-out places, in the first stage's format."""
        return self.folder / "checkpoint.pt"

    def resume(self) -> None:
        """Goes on where ``latest`` was saved."""
        state = load_checkpoint(self.latest)
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.best = state["step"], state["best"]
        self._log.cut(self.step)

    def run(self, until: int | None = None, report: Report | None = None) -> None:
        """Trains to step ``until`` (default: the configuration's), saving at every validation and at the end."""
        last = self.config.steps if until is None else min(until, self.config.steps)
        if self.step == 0:
            self._validate(report)
        started = time.monotonic()
        while self.step < last:
            values = self._train_step()
            self._log.write(self.step, {**values, "seconds": time.monotonic() - started})
            if report is not None and (self.step % _REPORT_EVERY == 0 or self.step == last):
                report(self.step, values)
            if self.step % self.config.validate_every == 0 or self.step == last:
                self._validate(report)

    def losses(self, draw: Draw) -> dict[str, Tensor]:
        """The losses of a batch that have a weight."""
        config, data = self.config, self.data
        views = [(int(photo), int(view)) for both in draw.views for photo, view in zip(draw.photos, both, strict=True)]
        descriptors = describe(self.head, [data.bank.load(*view) for view in views])  # of N photos, and of them again
        losses = {}
        if data.targets is not None:
            losses["distill"] = global_loss(descriptors, data.targets[draw.photos].repeat(2, 1))
        if config.losses.self_supervised:
            # Without the stretches, which poses chose: this loss would take neighbours on a street for negatives.
            same = torch.eye(int(draw.random.sum())).repeat(2, 2)
            random = torch.from_numpy(draw.random).repeat(2)
            losses["self_supervised"] = contrastive_loss(descriptors[random], same, config.temperature)
        if config.losses.posed:
            near = closeness([data.photos[i] for i in draw.photos], config.radius, config.max_angle)
            alike = torch.from_numpy(near.astype(np.float32)).repeat(2, 2)
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
        nn.utils.clip_grad_norm_(self.head.parameters(), 5.0)
        self.optimizer.step()
        self.step += 1
        return {"loss": total.item(), **{name: loss.item() for name, loss in losses.items()}}

    def _validate(self, report: Report | None) -> None:
        """Measures on the held-out places and saves the state, and the network if it is the best so far."""
        recall = self.data.places.recall(self.head)
        held_out = {f"held_out_{name}": value for name, value in recall.items()}
        self._log.write(self.step, held_out)
        logger.info("step %d: %s", self.step, held_out)
        if report is not None:
            report(self.step, held_out)
        config = {
            "network": self.network.config.model_dump(),
            "global_training": self.config.model_dump(mode="json"),
            "first_stage": self._first_stage,
        }
        state = {"network": self.network.state_dict(), "step": self.step, "config": json.dumps(without_folders(config))}
        if not self.best or tuple(recall.values()) > tuple(self.best.values()):
            self.best = recall
            save_checkpoint(self.checkpoint, {**state, "best": self.best})
        save_checkpoint(self.latest, {**state, "best": self.best, "optimizer": self.optimizer.state_dict()})


def learning_rate(config: GlobalTraining, step: int) -> float:
    """The rate of a step: half a cosine from the configuration's down to zero."""
    return float(config.learning_rate * 0.5 * (1 + np.cos(np.pi * step / config.steps)))
