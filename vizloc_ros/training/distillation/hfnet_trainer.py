"""Distils HF-Net from a teacher (HF-Net paper, section 4.2)."""

import logging
import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch import nn

from vizloc_ros.errors import ConfigError
from vizloc_ros.features.hfnet.hfnet_network import HfNet
from vizloc_ros.parallel import Progress, silent
from vizloc_ros.training.checkpoint import load_state, restore, save_checkpoint
from vizloc_ros.training.distillation.distillation_batches import Batch, Batches, prefetch
from vizloc_ros.training.distillation.distillation_config import HfNetTraining
from vizloc_ros.training.distillation.distillation_losses import DistillationLoss
from vizloc_ros.training.distillation.imagenet import load_imagenet
from vizloc_ros.training.distillation.validation import matching_scores
from vizloc_ros.training.distillation.vlad_targets import run_vlad
from vizloc_ros.training.interruption import require_finite, saved_on_failure
from vizloc_ros.training.log import Report, TrainingLog
from vizloc_ros.training.teacher.target_store import TargetStore
from vizloc_ros.training.teacher.teacher_network import Teacher
from vizloc_ros.training.training_images import TrainingImages, read_gray

_LOG_EVERY = 20
_VALIDATION_CROPS = 32
_VALIDATION_IMAGES = 16

logger = logging.getLogger(__name__)


class HfNetTrainer:
    """One distillation run in a folder: ``checkpoint.pt``, ``log.csv``, ``vlad.npz``."""

    def __init__(
        self,
        config: HfNetTraining,
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
        state = load_state(self.checkpoint, config, resume)
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(config.seed)
        self.images = TrainingImages(config.images, config.held_out)
        self.images.check_sizes(config.crop, progress)
        store = TargetStore(Teacher(config.teacher, threads), config.targets, config.warps)
        self._check_teacher(store)
        vlad = run_vlad(folder / "vlad.npz", config, self.images, store) if config.global_every else None
        self.batches = Batches(config, self.images, store, vlad)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = HfNet(config.network)
        if config.imagenet is not None:
            load_imagenet(self.network.backbone, config.imagenet, self.batches.batch(0).images)
        self.network.to(self.device, memory_format=torch.channels_last)
        self.loss = DistillationLoss(config.contrast).to(self.device)
        self.optimizer = torch.optim.RMSprop(
            [*self.network.parameters(), *self.loss.parameters()], lr=config.learning_rate, alpha=0.9, eps=1e-5
        )
        self._parts = {"network": self.network, "loss": self.loss, "optimizer": self.optimizer}
        self.step = 0
        if state is not None:
            restore(self.checkpoint, state, self._parts)
            self.step = state["step"]
        self._log = TrainingLog(folder / "log.csv", self.step if resume else None)

    @property
    def checkpoint(self) -> Path:
        """Where the state is saved."""
        return self.folder / "checkpoint.pt"

    def save(self) -> None:
        """Writes the checkpoint."""
        state = {name: part.state_dict() for name, part in self._parts.items()}
        save_checkpoint(self.checkpoint, {**state, "step": self.step, "config": self.config.model_dump_json()})

    def run(
        self,
        until: int | None = None,
        report: Report | None = None,
        each_step: Report | None = None,
    ) -> None:
        """Trains to step ``until`` (default: the configuration's).

        Saves before every validation, at the end, and when it is interrupted.

        Raises:
            VizlocError: an image or a kept answer cannot be read, or the loss diverged.
        """
        last = self.config.steps if until is None else min(until, self.config.steps)
        recent: dict[str, list[float]] = defaultdict(list)
        started = time.monotonic()
        with saved_on_failure(self):
            for batch in prefetch(self.batches, self.step, last):
                losses = self._train_step(batch.to(self.device))
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
                if self.step % self.config.validate_every == 0 or self.step == last:
                    self.save()
                    scores = self.validate()
                    self._log.write(self.step, {f"held_out_{name}": value for name, value in scores.items()})
                    logger.info("step %d: %s", self.step, scores)

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

    def _train_step(self, batch: Batch) -> dict[str, float]:
        config = self.config
        self.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(config, self.step)
        images = batch.images.contiguous(memory_format=torch.channels_last)
        self.optimizer.zero_grad(set_to_none=True)
        teach_global = config.global_every > 0 and self.step % config.global_every == 0
        outputs = (self.network if teach_global else self.network.local)(images)
        total, losses = self.loss(outputs, batch, self.network.refiner)
        total.backward()
        gradient = nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        require_finite(self.step, self.checkpoint, total, gradient)
        self.optimizer.step()
        self.step += 1
        return losses

    def _check_teacher(self, store: TargetStore) -> None:
        """Raises ``ConfigError`` if its descriptors are not as long as the network's."""
        taught = len(store.load(self.images.held_out[0])[1].descriptors)
        if taught != self.config.network.descriptor_dimension:
            raise ConfigError(
                f"network.descriptor_dimension is {self.config.network.descriptor_dimension}, and the descriptors of "
                f"teacher.path {self.config.teacher.path} have {taught} elements: make them equal"
            )


def learning_rate(config: HfNetTraining, step: int) -> float:
    """The rate of a step: a tenth after each drop."""
    return config.learning_rate * 0.1 ** sum(step >= drop * config.steps for drop in config.drops)
