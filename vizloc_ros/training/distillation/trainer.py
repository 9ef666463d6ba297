"""Distils HF-Net from a teacher (HF-Net paper, section 4.2)."""

import logging
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vizloc_ros.features.hfnet.network import HfNet
from vizloc_ros.features.vlad import Vlad
from vizloc_ros.training.checkpoint import load_checkpoint, save_checkpoint
from vizloc_ros.training.distillation.batches import Batches, prefetch
from vizloc_ros.training.distillation.config import HfNetTraining
from vizloc_ros.training.distillation.imagenet import load_imagenet
from vizloc_ros.training.distillation.losses import DistillationLoss
from vizloc_ros.training.distillation.validation import matching_scores
from vizloc_ros.training.distillation.vlad import learn_vlad, read_vlad
from vizloc_ros.training.images import TrainingImages, read_gray
from vizloc_ros.training.log import Report, TrainingLog
from vizloc_ros.training.teacher.network import Teacher
from vizloc_ros.training.teacher.store import TargetStore

_LOG_EVERY = 20
_VALIDATION_CROPS = 32
_VALIDATION_IMAGES = 16

logger = logging.getLogger(__name__)


class HfNetTrainer:
    """One distillation run in a folder: ``checkpoint.pt``, ``log.csv``, ``vlad.npz``."""

    def __init__(self, config: HfNetTraining, folder: Path) -> None:
        self.config, self.folder = config, folder
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(config.seed)
        store = TargetStore(Teacher(config.teacher), config.targets, config.warps)
        self.images = TrainingImages(config.images, config.held_out)
        self.batches = Batches(config, self.images, store, self._vlad(store) if config.global_every else None)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = HfNet(config.network)
        if config.imagenet is not None:
            load_imagenet(self.network.backbone, config.imagenet, self.batches.batch(0).images)
        self.network.to(self.device, memory_format=torch.channels_last)
        self.loss = DistillationLoss(config.contrast).to(self.device)
        self.optimizer = torch.optim.RMSprop(
            [*self.network.parameters(), *self.loss.parameters()], lr=config.learning_rate, alpha=0.9, eps=1e-5
        )
        self.step = 0
        self._log = TrainingLog(folder / "log.csv")

    @property
    def checkpoint(self) -> Path:
        """Where the state is saved."""
        return self.folder / "checkpoint.pt"

    def resume(self) -> None:
        """Goes on where the checkpoint of this folder was saved."""
        state = load_checkpoint(self.checkpoint)
        self.network.load_state_dict(state["network"])
        self.loss.load_state_dict(state["loss"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self._log.cut(self.step)

    def save(self) -> None:
        """Writes the checkpoint."""
        state = {
            "network": self.network.state_dict(),
            "loss": self.loss.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        save_checkpoint(self.checkpoint, {**state, "step": self.step, "config": self.config.model_dump_json()})

    def run(
        self,
        until: int | None = None,
        report: Report | None = None,
        each_step: Report | None = None,
    ) -> None:
        """Trains to step ``until`` (default: the configuration's), saving at every validation and at the end."""
        config = self.config
        last = config.steps if until is None else min(until, config.steps)
        recent: dict[str, list[float]] = defaultdict(list)
        started = time.monotonic()
        for batch in prefetch(self.batches, self.step, last):
            self.network.train()
            for group in self.optimizer.param_groups:
                group["lr"] = learning_rate(config, self.step)
            batch = batch.to(self.device)
            images = batch.images.contiguous(memory_format=torch.channels_last)
            self.optimizer.zero_grad(set_to_none=True)
            teach_global = config.global_every > 0 and self.step % config.global_every == 0
            outputs = (self.network if teach_global else self.network.local)(images)
            total, losses = self.loss(outputs, batch, self.network.refiner)
            total.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
            self.optimizer.step()
            self.step += 1
            if each_step is not None:
                each_step(self.step, losses)
            for name, value in losses.items():
                recent[name].append(value)
            if self.step % _LOG_EVERY == 0 or self.step == last:
                means = {name: float(np.mean(values)) for name, values in recent.items()}
                self._log.write(self.step, {**means, "seconds": time.monotonic() - started})
                recent.clear()
                if report is not None:
                    report(self.step, means)
            if self.step % config.validate_every == 0 or self.step == last:
                scores = self.validate()
                self._log.write(self.step, {f"held_out_{name}": value for name, value in scores.items()})
                logger.info("step %d: %s", self.step, scores)
                self.save()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Losses and matching metrics on images that are not trained on."""
        self.network.eval()
        files = self.images.held_out[:_VALIDATION_CROPS]
        scores: dict[str, float] = {}
        for name, augmentation in (("clean", None), ("augmented", self.config.augmentation)):
            batch = self.batches.assemble(files, np.random.default_rng(self.config.seed), augmentation).to(self.device)
            _, losses = self.loss(self.network(batch.images), batch, self.network.refiner)
            scores |= {f"{name}_{task}": value for task, value in losses.items()}
        images = [read_gray(path) for path in self.images.held_out[:_VALIDATION_IMAGES]]
        return scores | matching_scores(self.network, images, self.config.augmentation, self.config.seed)

    def _vlad(self, store: TargetStore) -> Vlad:
        path = self.folder / "vlad.npz"
        if path.exists():
            return read_vlad(path, self.config.network.global_dimension)
        return learn_vlad(path, self.config, self.images, store)


def learning_rate(config: HfNetTraining, step: int) -> float:
    """The rate of a step: a tenth after each drop."""
    return config.learning_rate * 0.1 ** sum(step >= drop * config.steps for drop in config.drops)
