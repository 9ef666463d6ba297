"""Activations of the frozen layers for some views of every image, computed once because these layers do not change.

They are most of the network's computation: without them, the head can be trained on a CPU.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vizloc_ros.arrays import UNREADABLE_ARRAY
from vizloc_ros.errors import InputError
from vizloc_ros.files import replacing
from vizloc_ros.parallel import Progress, silent
from vizloc_ros.training.global_head.photos import Photo
from vizloc_ros.training.global_head.views import Changes

_CHUNK = 16  # views that are described at once, which bounds the memory


class ViewBank:
    """Folder with a file for each image: (V, C, h, w) float16 activations; the first view is the image itself."""

    def __init__(self, folder: Path, count: int, views: int) -> None:
        self._folder, self._count, self.views = folder, count, views

    def __len__(self) -> int:
        return self._count

    @classmethod
    def build(
        cls,
        folder: Path,
        photos: Sequence[Photo],
        views: int,
        changes: Changes,
        seed: int,
        encode: Callable[[Tensor], Tensor],
        progress: Progress = silent,
    ) -> "ViewBank":
        """Write the missing files.

        Args:
            folder: folder of exactly these photos, views and this encoder.
            photos: images of the bank.
            views: number of views V of each image.
            changes: changes of all views but the first.
            seed: seed of the changes; a view depends only on it, on the photo's index and on the view's.
            encode: frozen layers, from (V, 1, H, W) gray values to (V, C, h, w) activations.
            progress: progress display.
        """
        folder.mkdir(parents=True, exist_ok=True)
        bank = cls(folder, len(photos), views)
        for i, photo in progress(list(enumerate(photos)), "views of images", len(photos)):
            if bank._file(i).exists():
                continue
            image = photo.read()
            changed = [changes.apply(image, np.random.default_rng([seed, i, view])) for view in range(1, views)]
            with torch.no_grad():
                images = torch.from_numpy(np.stack([image, *changed]))[:, None].float()
                activations = encode(images.contiguous(memory_format=torch.channels_last))
            with replacing(bank._file(i)) as file:
                np.save(file, activations.numpy().astype(np.float16, order="C"))
        return bank

    def load(self, photo: int, view: int) -> Tensor:
        """Activations (C, h, w) of a view. Raises ``InputError`` if its file is missing or damaged."""
        path = self._file(photo)
        try:
            return torch.from_numpy(np.load(path, mmap_mode="r")[view].astype(np.float32))
        except UNREADABLE_ARRAY as error:
            raise InputError(f"{path}: cannot be read ({error}): delete it, and it is made again") from error

    def _file(self, photo: int) -> Path:
        return self._folder / f"{photo:06}.npy"


def describe(head: nn.Module, activations: Sequence[Tensor]) -> Tensor:
    """Global descriptors (N, G) of N activations of any sizes, on the head's device; a batch for each size."""
    device = next(head.parameters()).device
    rows_of_size: dict[torch.Size, list[int]] = defaultdict(list)
    for i, activation in enumerate(activations):
        rows_of_size[activation.shape].append(i)
    stacks = [torch.stack([activations[i] for i in rows]) for rows in rows_of_size.values()]
    described = torch.cat([head(stack.to(device, memory_format=torch.channels_last)) for stack in stacks])
    order = torch.tensor([i for rows in rows_of_size.values() for i in rows])
    return described[order.argsort()]


@torch.no_grad()
def describe_views(head: nn.Module, bank: ViewBank, views: Sequence[tuple[int, int]]) -> Tensor:
    """Global descriptors (N, G) of N (photo, view) pairs of a bank, on the CPU and without gradients."""
    chunks = [views[start : start + _CHUNK] for start in range(0, len(views), _CHUNK)]
    return torch.cat([describe(head, [bank.load(*view) for view in chunk]).cpu() for chunk in chunks])
