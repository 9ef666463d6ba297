"""Batches of augmented crops with their targets; the batch of a step depends only on the seed and the step."""

import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vizloc_ros.arrays import Float32
from vizloc_ros.features.hfnet.hfnet_config import CELL
from vizloc_ros.features.types import dequantize
from vizloc_ros.features.vlad import Vlad
from vizloc_ros.training.appearance import PhotometricChanges
from vizloc_ros.training.distillation.distillation_options import HfNetTraining
from vizloc_ros.training.distillation.vlad_targets import global_target
from vizloc_ros.training.teacher.target_store import TargetStore
from vizloc_ros.training.training_images import TrainingImages

MAX_KEYPOINTS = 128  # maximum number of keypoints per crop whose descriptors are targets


@dataclass(frozen=True)
class Batch:
    """Crops of one size, with their targets.

    Attributes:
        images: (B, 1, H, W) gray values, augmented.
        labels: (B, 65, H/8, W/8) soft labels.
        descriptors: (B, D, H/8, W/8) unit vectors.
        keypoints: (B, N, 2) pixels; (0, 0) in place of missing keypoints.
        keypoint_descriptors: (B, N, D) unit vectors, zero for missing keypoints.
        global_descriptors: (B, G) unit vectors, zero without a target.
    """

    images: Tensor
    labels: Tensor
    descriptors: Tensor
    keypoints: Tensor
    keypoint_descriptors: Tensor
    global_descriptors: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the crops [px]."""
        return self.images.shape[3], self.images.shape[2]

    def to(self, device: torch.device) -> "Batch":
        """Copy on a device."""
        return Batch(**{name: value.to(device, non_blocking=True) for name, value in vars(self).items()})


class Batches:
    """Batches by step."""

    def __init__(self, options: HfNetTraining, images: TrainingImages, store: TargetStore, vlad: Vlad | None) -> None:
        self._options, self._images, self._store, self._vlad = options, images, store, vlad

    def batch(self, step: int) -> Batch:
        """Training batch of a step."""
        rng = np.random.default_rng([self._options.seed, step])
        return self.assemble(self._images.draw(self._options.batch, rng), rng, self._options.changes)

    def assemble(
        self, files: Sequence[Path], rng: np.random.Generator, augmentation: PhotometricChanges | None
    ) -> Batch:
        """Batch of one random crop of each file; without augmentation, also without warps."""
        return collate([self._crop(path, rng, augmentation) for path in files])

    def _crop(
        self, path: Path, rng: np.random.Generator, augmentation: PhotometricChanges | None
    ) -> dict[str, Float32]:
        warps, side, unchanged = self._options.warps, self._options.crop, self._options.unchanged
        warped = augmentation is not None and rng.random() < warps.ratio
        if unchanged and rng.random() < unchanged:  # draw only for what can happen: runs stay as they were
            augmentation = None
        image, targets = self._store.load(path, int(rng.integers(warps.variants)) if warped else None)
        y, x = (CELL * int(rng.integers((length - side) // CELL + 1)) for length in image.shape)
        part = targets.crop(x, y, side, side)
        pixels = image[y : y + side, x : x + side]
        chosen = rng.permutation(len(part.keypoints))[:MAX_KEYPOINTS]
        keypoints = np.zeros((MAX_KEYPOINTS, 2), np.float32)
        keypoint_descriptors = np.zeros((MAX_KEYPOINTS, part.keypoint_descriptors.shape[1]), np.float32)
        keypoints[: len(chosen)] = part.keypoints[chosen]
        keypoint_descriptors[: len(chosen)] = dequantize(part.keypoint_descriptors[chosen])
        global_descriptor = np.zeros(self._options.network.global_dimension, np.float32)
        if self._vlad is not None:
            global_descriptor = global_target(self._vlad, part)
        return {
            "images": (pixels if augmentation is None else augmentation.apply(pixels, rng))[None].astype(np.float32),
            "labels": part.labels.astype(np.float32),
            "descriptors": np.moveaxis(dequantize(np.moveaxis(part.descriptors, 0, -1)), -1, 0),
            "keypoints": keypoints,
            "keypoint_descriptors": keypoint_descriptors,
            "global_descriptors": global_descriptor,
        }


def collate(crops: Sequence[dict[str, Float32]]) -> Batch:
    """Batch of crops, whose arrays are those of ``Batch`` by name."""
    return Batch(**{name: torch.from_numpy(np.stack([crop[name] for crop in crops])) for name in crops[0]})


def prefetch(batches: Batches, first: int, last: int, depth: int = 4) -> Iterator[Batch]:
    """Batches of the steps ``first`` to ``last - 1``, prepared by a thread in the background."""
    ready: queue.Queue[Batch | BaseException] = queue.Queue(depth)
    stop = threading.Event()

    def put(item: Batch | BaseException) -> bool:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for step in range(first, last):
                if not put(batches.batch(step)):
                    return
        except BaseException as error:  # noqa: BLE001 - raised again by the consumer
            put(error)

    worker = threading.Thread(target=work, daemon=True, name="batches")
    worker.start()
    try:
        for _ in range(first, last):
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        worker.join()
