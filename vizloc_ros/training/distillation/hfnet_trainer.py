"""Distillation of HF-Net from a teacher (HF-Net, section 4.2)."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import numpy as np
import torch

from vizloc_ros.arrays import UInt8
from vizloc_ros.errors import ConfigError, InputError
from vizloc_ros.features.device import Device
from vizloc_ros.features.hfnet.hfnet_network import EdgePointHfNet, MobileHfNet, build_hfnet
from vizloc_ros.features.onnx_dense_network import DenseNetwork
from vizloc_ros.parallel import Progress
from vizloc_ros.training.appearance import PhotometricChanges
from vizloc_ros.training.distillation.distillation_batches import Batch, Batches, prefetch
from vizloc_ros.training.distillation.distillation_losses import DistillationLoss
from vizloc_ros.training.distillation.distillation_options import HfNetTraining
from vizloc_ros.training.distillation.imagenet import load_imagenet
from vizloc_ros.training.distillation.last_layers import fit_last_layers
from vizloc_ros.training.distillation.validation import matching_scores
from vizloc_ros.training.distillation.vlad_targets import run_vlad
from vizloc_ros.training.edgepoint2_weights import load_edgepoint2
from vizloc_ros.training.log import Report
from vizloc_ros.training.teacher.joined_descriptors import JoinedDescriptors
from vizloc_ros.training.teacher.target_store import TargetStore
from vizloc_ros.training.teacher.targets import Targets
from vizloc_ros.training.teacher.teacher_network import Teacher
from vizloc_ros.training.training_images import TrainingImages, read_gray
from vizloc_ros.training.training_run import TrainingRun

_MAX_GRADIENT = 5.0
_VALIDATION_CROPS = 32
_VALIDATION_IMAGES = 16
_JOINED_IMAGES = 150  # images that the projection of joined descriptors is learned on


class HfNetTrainer(TrainingRun[HfNetTraining]):
    """One distillation run in a folder: ``checkpoint.pt``, ``log.csv``, ``vlad.npz``, ``joined.npy``."""

    log_every = report_every = 20

    def _prepare(self, threads: int, progress: Progress) -> None:
        options = self.options
        torch.manual_seed(options.seed)
        self.images = TrainingImages(options.images, options.held_out)
        self.images.check_sizes(options.crop, progress)
        teacher = Teacher(options.teacher, threads)
        if options.joined:
            teacher.join(self._joined(teacher, threads))
        self.store = store = TargetStore(teacher, options.targets, options.warps)
        self._check_teacher(store)
        vlad = run_vlad(self.folder / "vlad.npz", options, self.images, store) if options.global_every else None
        self.batches = Batches(options, self.images, store, vlad)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = build_hfnet(options.network)
        self._initialize()
        self.network.to(self.device, memory_format=torch.channels_last)
        self.loss = DistillationLoss(options.contrast, options.cells).to(self.device)
        self.optimizer = torch.optim.RMSprop(
            [*self.network.parameters(), *self.loss.parameters()], lr=options.learning_rate, alpha=0.9, eps=1e-5
        )
        self._restore(network=self.network, loss=self.loss, optimizer=self.optimizer)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Losses and matching metrics on held-out images."""
        self.network.eval()
        files = self.images.held_out[:_VALIDATION_CROPS]
        scores: dict[str, float] = {}
        for name, augmentation in (("clean", None), ("augmented", self.options.changes)):
            batch = self.batches.assemble(files, np.random.default_rng(self.options.seed), augmentation).to(self.device)
            _, values = self.loss(self.network(batch.images), batch, self.network.refiner)
            scores |= {f"{name}_{task}": value for task, value in values.items()}
        images = [read_gray(path) for path in self.images.held_out[:_VALIDATION_IMAGES]]
        return scores | matching_scores(self.network, images, self.options.changes, self.options.seed)

    def _train(self, last: int) -> Iterator[dict[str, float]]:
        for batch in prefetch(self.batches, self.step, last):
            yield self._train_step(batch.to(self.device))

    def _train_step(self, batch: Batch) -> dict[str, float]:
        options = self.options
        self.network.train()
        self._set_learning_rate(learning_rate(options, self.step))
        images = batch.images.contiguous(memory_format=torch.channels_last)
        trains_global_head = options.global_every > 0 and self.step % options.global_every == 0
        outputs = (self.network if trains_global_head else self.network.local)(images)
        total, losses = self.loss(outputs, batch, self.network.refiner)
        self._update(total, self.network.parameters(), _MAX_GRADIENT)
        return losses

    def _values_to_log(self, values: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Mean of each loss over the steps that have it."""
        by_name: dict[str, list[float]] = defaultdict(list)
        for losses in values:
            for name, value in losses.items():
                by_name[name].append(value)
        return {name: float(np.mean(of_steps)) for name, of_steps in by_name.items()}

    def _configuration(self) -> str:
        return self.options.model_dump_json()

    def _initialize(self) -> None:
        """Set the encoder to published weights, if the options name some. Raises ``ConfigError`` if they do not fit."""
        options, network = self.options, self.network
        if self._state is not None:
            return  # a resumed run restores all weights
        if options.imagenet is not None:
            if not isinstance(network, MobileHfNet):
                raise ConfigError("'imagenet' is for encoder: mobilenet_v2; give 'pretrained' for edgepoint2")
            load_imagenet(network.backbone, options.imagenet, self.batches.batch(0).images)
        if options.pretrained is not None:
            if not isinstance(network, EdgePointHfNet):
                raise ConfigError("'pretrained' is for encoder: edgepoint2; give 'imagenet' for mobilenet_v2")
            load_edgepoint2(options.pretrained, network.encoder, network.detector)
        if options.fit_images and isinstance(network, EdgePointHfNet):
            # A detector with three layers is the published one.
            fit_last_layers(network, self._whole_images(), detector=network.detector.second is None)

    def _after_steps(self, report: Report | None) -> None:
        """Fit the descriptors' last layer after the last step; validate."""
        if self.step == self.steps and self.options.fit_images and isinstance(self.network, EdgePointHfNet):
            changed = self._whole_images(self.options.changes)
            fit_last_layers(self.network, chain(self._whole_images(), changed), detector=False)
            self.save()
        super()._after_steps(report)

    def _whole_images(self, changes: PhotometricChanges | None = None) -> Iterator[tuple[UInt8, Targets]]:
        """Some training images, changed or not, with their targets."""
        rng = np.random.default_rng(self.options.seed)
        for path in self.images.sample(self.options.fit_images, self.options.seed):
            image, targets = self.store.load(path)
            yield image if changes is None else changes.apply(image, rng), targets

    def _joined(self, teacher: Teacher, threads: int) -> JoinedDescriptors:
        """Descriptors joined to the teacher's, with a projection that is read from the run's folder, or learned."""
        options, path = self.options, self.folder / "joined.npy"
        device = Device(options.teacher.provider, threads)
        networks = [DenseNetwork(file, device=device) for file in options.joined]
        if path.exists():
            return JoinedDescriptors.read(path, networks)
        files = self.images.sample(_JOINED_IMAGES, options.seed)
        joined = JoinedDescriptors.learn(teacher.network, networks, map(read_gray, files))
        joined.write(path)
        return joined

    def _check_teacher(self, store: TargetStore) -> None:
        """Raise ``InputError`` if the teacher's descriptors are not as long as the network's."""
        length = len(store.load(self.images.held_out[0])[1].descriptors)
        if length != self.options.network.descriptor_dimension:
            raise InputError(
                f"network.descriptor_dimension is {self.options.network.descriptor_dimension}, and the descriptors of "
                f"teacher.path {self.options.teacher.path} have {length} elements: make them equal"
            )


def learning_rate(options: HfNetTraining, step: int) -> float:
    """Learning rate of a step: a tenth after each drop."""
    return options.learning_rate * 0.1 ** sum(step >= drop * options.steps for drop in options.drops)
