"""Training of the global head on whole images; the layers up to layer 7 and the local heads stay as they are.

The first stage distills from crops, and a crop does not show a place. Which supervision is best without a permissively
licensed teacher is an open question: a run adds up any of three losses (``LossWeights``), and runs are compared by
retrieval on held-out places.
"""

import json
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from vizloc_ros.errors import InputError
from vizloc_ros.parallel import Progress
from vizloc_ros.training.checkpoint import load_network
from vizloc_ros.training.distillation.distillation_losses import global_loss
from vizloc_ros.training.global_head.contrastive_loss import contrastive_loss
from vizloc_ros.training.global_head.data import GlobalData
from vizloc_ros.training.global_head.global_batches import Draw, GlobalBatches
from vizloc_ros.training.global_head.global_head_options import GlobalTraining
from vizloc_ros.training.global_head.network_split import split_network
from vizloc_ros.training.global_head.photos import closeness, neighbor_pairs
from vizloc_ros.training.global_head.reduction import whiten_reduction
from vizloc_ros.training.global_head.view_bank import describe
from vizloc_ros.training.provenance import without_folders
from vizloc_ros.training.training_run import SelectingRun

_MAX_GRADIENT = 5.0


class GlobalHeadTrainer(SelectingRun[GlobalTraining]):
    """One run in a folder: ``checkpoint.pt`` has the best validation and the format of the first stage."""

    log_every = 1

    def _prepare(self, threads: int, progress: Progress) -> None:
        options = self.options
        self.best: dict[str, float] = {}
        network, details = load_network(options.checkpoint)
        self._first_stage = json.loads(details["training"])
        self.network = network.to(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        split = split_network(self.network, options.layers)
        self.head = split.head
        optimizer = {"adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop}[options.optimizer]
        self.optimizer: torch.optim.Optimizer = optimizer(self.head.parameters(), lr=options.learning_rate)
        resumed = self._restore(network=self.network, optimizer=self.optimizer)
        if resumed and split_network(self.network, options.layers).encoder_id != split.encoder_id:
            raise InputError(f"{options.checkpoint}: is not the checkpoint that {self.latest} started from")
        cache, dimension = options.cache or self.folder / "cache", self.network.config.global_dimension
        self.data = GlobalData.prepare(options, cache, split, dimension, threads, progress)
        if not resumed and options.reduction == "whiten":
            photos = self.data.photos
            whiten_reduction(self.head, self.data.bank, neighbor_pairs(photos, options.neighbors, options.max_angle))
        self.batches = GlobalBatches(options, self.data.photos)

    def losses(self, draw: Draw) -> dict[str, Tensor]:
        """Losses of a batch, of those with a weight, by name."""
        options, data = self.options, self.data
        views = [(int(photo), int(view)) for both in draw.views for photo, view in zip(draw.photos, both, strict=True)]
        descriptors = describe(self.head, [data.bank.load(*view) for view in views])  # the first views of N photos,
        device = descriptors.device  # then the second ones
        losses = {}
        if data.targets is not None:
            losses["distill"] = global_loss(descriptors, data.targets[draw.photos].repeat(2, 1).to(device))
        if options.losses.self_supervised:
            # Without the photos of the stretches, chosen by pose: this loss would use neighbors as negatives.
            same = torch.eye(int(draw.random.sum()), device=device).repeat(2, 2)
            random = torch.from_numpy(np.flatnonzero(np.tile(draw.random, 2))).to(device)
            losses["self_supervised"] = contrastive_loss(descriptors[random], same, options.temperature)
        if options.losses.posed:
            near = closeness([data.photos[i] for i in draw.photos], options.radius, options.max_angle)
            similar = torch.from_numpy(near.astype(np.float32)).repeat(2, 2).to(device)
            losses["posed"] = contrastive_loss(descriptors, similar, options.temperature)
        return losses

    def validate(self) -> dict[str, float]:
        """Recall of retrieval on the held-out places."""
        return self.data.places.recall(self.head)

    def _train(self, last: int) -> Iterator[dict[str, float]]:
        while self.step < last:
            yield self._train_step()

    def _train_step(self) -> dict[str, float]:
        self._set_learning_rate(learning_rate(self.options, self.step))
        losses = self.losses(self.batches.draw(self.step))
        weights = self.options.losses.model_dump()
        total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()
        self._update(total, self.head.parameters(), _MAX_GRADIENT)
        return {"loss": total.item(), **{name: loss.item() for name, loss in losses.items()}}

    def _validates_first(self) -> bool:
        return not self.best  # not after a run of 0 steps, which has been validated

    def _improves(self, values: Mapping[str, float]) -> bool:
        if self.best and tuple(values.values()) <= tuple(self.best.values()):
            return False
        self.best = dict(values)
        return True

    def _configuration(self) -> str:
        configuration = {
            "network": self.network.config.model_dump(),
            "global_training": self.options.model_dump(mode="json"),
            "first_stage": self._first_stage,
        }
        return json.dumps(without_folders(configuration))


def learning_rate(options: GlobalTraining, step: int) -> float:
    """Learning rate of a step: half a cosine from the initial rate down to zero."""
    return float(options.learning_rate * 0.5 * (1 + np.cos(np.pi * step / options.steps)))
