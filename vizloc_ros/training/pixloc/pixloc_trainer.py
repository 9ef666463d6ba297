"""End-to-end training of PixLoc (PixLoc, section 3.2): the pose error of an alignment trains the features."""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from vizloc_ros.arrays import UInt8
from vizloc_ros.errors import ConfigError
from vizloc_ros.parallel import Progress, silent
from vizloc_ros.pixloc.network.light import LightNetwork
from vizloc_ros.pixloc.network.model import PixLocNetwork
from vizloc_ros.pixloc.optimizer.robust import BarronLoss
from vizloc_ros.training.edgepoint2_weights import load_edgepoint2
from vizloc_ros.training.pixloc.differentiable_alignment import Pose
from vizloc_ros.training.pixloc.objective import align_batch
from vizloc_ros.training.pixloc.pair_batches import Batch, collate
from vizloc_ros.training.pixloc.pixloc_training_options import InitialPoses, PixLocTraining
from vizloc_ros.training.pixloc.training_pairs import Pair, PairDrive
from vizloc_ros.training.pixloc.windows import draw_pairs
from vizloc_ros.training.provenance import without_folders
from vizloc_ros.training.training_run import SelectingRun

_VALIDATION_ITERATIONS = 20
_CONVERGED = (0.25, 1.0)  # m, deg
_VALIDATION_INITIAL_POSES = InitialPoses(reference=0.25, translation=2.0, rotation=4.0)
_TRAINING, _VALIDATION = range(2)  # streams of random numbers


class PixLocTrainer(SelectingRun[PixLocTraining]):
    """One run in a folder: ``checkpoint.pt`` has the best validation, ``maps/`` the maps of sources without one."""

    def __init__(
        self,
        options: PixLocTraining,
        folder: Path,
        *,
        resume: bool = False,
        overfit: bool = False,
        progress: Progress = silent,
    ) -> None:
        """Prepare data, network and optimizer.

        Args:
            options: options of the run.
            folder: folder of the run.
            resume: continue the run in the folder.
            overfit: train on a single batch of unchanged images, as a check of the code: its loss must vanish.
            progress: progress display.

        Raises:
            VizlocError: training data or options are missing, damaged or inconsistent, or the folder has a run that
                would be overwritten, or none to resume.
        """
        self.overfit = overfit
        super().__init__(options, folder, resume=resume, progress=progress)

    def _prepare(self, threads: int, progress: Progress) -> None:
        options = self.options
        self.best = 0.0
        torch.manual_seed(options.seed)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = PixLocNetwork(options.network)
        if options.pretrained is not None:
            if not isinstance(self.network.features, LightNetwork):
                raise ConfigError("'pretrained' is for the light network only")
            load_edgepoint2(options.pretrained, self.network.features)
        self.network.to(self.device, memory_format=torch.channels_last)  # a third less time on a CPU
        self.optimizer = torch.optim.Adam(
            [
                {"params": self.network.features.parameters(), "factor": 1.0},
                {"params": [self.network.damping], "factor": options.damping_rate},
            ],
            lr=options.learning_rate,
        )
        self._restore(network=self.network, optimizer=self.optimizer)
        self._loss = BarronLoss(0.0, options.robust_scale)
        self._drives = [
            PairDrive(source, self.folder / "maps" / str(k), options.partners, options.long_side, progress)
            for k, source in enumerate(options.sources)
        ]
        weights = np.array([source.weight for source in options.sources])
        self._probabilities = weights / weights.sum()
        self._validation = self._validation_pairs()

    def batch(self, step: int) -> Batch:
        """Pairs of a step; they depend only on the seed and the step."""
        rng = np.random.default_rng([self.options.seed, _TRAINING, 0 if self.overfit else step])
        drive = self._drives[int(rng.choice(len(self._drives), p=self._probabilities))]
        return self._collated(
            draw_pairs(drive, drive.training, self.options.batch, self.options.initial_poses, rng), rng
        )

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Ratio of the held-out pairs whose alignment converges, and their mean loss on the finest level."""
        if not self._validation or self.overfit:
            return {}
        self.network.eval()
        converged, losses = [], []
        for batch in self._validation:
            aligned = align_batch(self.network, batch, self._loss, _VALIDATION_ITERATIONS, self.options.gate)
            distance, angle = _errors(aligned.pose, batch.truth)
            converged.append(distance <= _CONVERGED[0] and angle <= _CONVERGED[1])
            losses.append(float(aligned.level_losses[0]))
        return {"converged": float(np.mean(converged)), "loss": float(np.mean(losses))}

    def _train(self, last: int) -> Iterator[dict[str, float]]:
        while self.step < last:
            yield self._train_step()

    def _train_step(self) -> dict[str, float]:
        options = self.options
        self.network.train()
        self._set_learning_rate(options.learning_rate * 0.5 * (1 + math.cos(math.pi * self.step / options.steps)))
        aligned = align_batch(self.network, self.batch(self.step), self._loss, options.iterations, options.gate)
        gradient = self._update(aligned.loss, self.network.parameters(), options.clip)
        levels = {f"level{i}": value for i, value in enumerate(aligned.level_losses.tolist())}
        return {"loss": aligned.loss.item(), **levels, "gradient": float(gradient)}

    def _collated(self, pairs: Sequence[Pair], rng: np.random.Generator) -> Batch:
        """Batch of pairs with changed images."""
        queries, keyframes = [], []
        for i, pair in enumerate(pairs):
            other = pairs[(i + 1) % len(pairs)].keyframe.image
            queries.append(self._changed(pair.query.image, self.options.query_appearance.apply, rng, other))
            keyframes.append(self._changed(pair.keyframe.image, self.options.map_appearance.apply, rng, other))
        return collate(pairs, queries, keyframes, self.device)

    def _changed(
        self,
        image: UInt8,
        change: Callable[[UInt8, np.random.Generator, UInt8], UInt8],
        rng: np.random.Generator,
        other: UInt8,
    ) -> UInt8:
        return image if self.overfit else change(image, rng, other)

    def _validation_pairs(self) -> list[Batch]:
        """Batches of one held-out pair each, the same in every run."""
        rng = np.random.default_rng([self.options.seed, _VALIDATION])
        drives = [drive for drive in self._drives if drive.validation]
        batches = []
        for k in range(self.options.validation_pairs if drives else 0):
            drive = drives[k % len(drives)]
            batches.append(self._collated(draw_pairs(drive, drive.validation, 1, _VALIDATION_INITIAL_POSES, rng), rng))
        return batches

    def _improves(self, values: Mapping[str, float]) -> bool:
        if not values:
            return True  # without validation, the last network is the result
        previous, self.best = self.best, max(self.best, values["converged"])
        return values["converged"] >= previous

    def _configuration(self) -> str:
        return json.dumps(without_folders(self.options.model_dump(mode="json")))


def _errors(pose: Pose, truth: Pose) -> tuple[float, float]:
    """Distance [m] and angle [deg] between the first poses of two batches."""
    center, true_center = (-(p.rotation[0].T @ p.translation[0]) for p in (pose, truth))
    cosine = ((pose.rotation[0] * truth.rotation[0]).sum() - 1) / 2
    return float((center - true_center).norm()), float(torch.rad2deg(torch.arccos(cosine.clamp(-1, 1))))
