"""Vocabulary and whitening of HF-Net's VLAD, learned once on training images, for places of every kind.

A map's own images give no better ones, and a vocabulary that travels with the weights needs no learning in a map build
(docs/decisions.md).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from vizloc_ros.arrays import Float32, UInt8
from vizloc_ros.errors import InputError
from vizloc_ros.features.hfnet.hfnet_network import EdgePointHfNet, HfNet
from vizloc_ros.features.hfnet.image_size import shrink_to_cells
from vizloc_ros.features.hfnet.postprocessing import Extraction
from vizloc_ros.features.hfnet.vlad_head import MAX_KEYPOINTS, MIN_SCORE
from vizloc_ros.features.vlad import aggregate, k_means
from vizloc_ros.files import require_folder
from vizloc_ros.options import Options
from vizloc_ros.parallel import Progress, silent
from vizloc_ros.training.checkpoint import load_network, save_checkpoint
from vizloc_ros.training.global_head.views import Changes
from vizloc_ros.training.provenance import without_folders
from vizloc_ros.training.training_images import ImageSource, TrainingImages, read_gray
from vizloc_ros.training.training_options import MAY_CHANGE

_SAMPLES = 100_000  # descriptors for k-means


class VocabularyTraining(Options):
    """One run of ``vizloc train hfnet-vocabulary``.

    Attributes:
        checkpoint: checkpoint of ``vizloc train hfnet`` to start from.
        images: folders of training images.
        num_images: number of images to draw from them.
        held_out: fraction of held-out images, as in the first stage; these images are not used.
        long_side: maximum longer side of an image [px].
        views: number of views of each image: itself and changed ones.
        changes: changes of those views.
        whitening: power of the standard deviation that every principal component is divided by; 1 for a whitening, 0
            for a rotation.
        seed: seed of all random numbers.
    """

    checkpoint: Annotated[Path, MAY_CHANGE]
    images: list[ImageSource] = Field(min_length=1)
    num_images: int = Field(default=1000, ge=2)
    held_out: float = Field(default=0.03, gt=0, lt=0.5)
    long_side: int = Field(default=640, ge=64)
    views: int = Field(default=3, ge=1)
    changes: Changes = Changes()
    whitening: float = Field(default=0.75, ge=0, le=1)
    seed: int = 0


def learn_vocabulary(options: VocabularyTraining, out: Path, progress: Progress = silent) -> None:
    """Learn the global head of a trained network, and write ``checkpoint.pt`` with it.

    Args:
        options: options of the run.
        out: folder of the checkpoint.
        progress: progress display.

    Raises:
        InputError: the checkpoint is of another network, or there are too few images.
        VizlocError: an image or the checkpoint cannot be read.
    """
    require_folder(out)
    network, details = load_network(options.checkpoint)
    if not isinstance(network, EdgePointHfNet):
        raise InputError(f"{options.checkpoint}: its global head is NetVLAD: use 'vizloc train hfnet-global'")
    described = list(_descriptors(options, network, progress))
    head, rng = network.global_head, np.random.default_rng(options.seed)
    words = k_means(_sample(described, rng), len(head.words), rng)
    vectors = np.stack([aggregate(descriptors, words) for descriptors in described])
    mean, projection = _whitening(vectors, len(head.projection), options.whitening)
    for buffer, values in ((head.words, words), (head.mean, mean), (head.projection, projection)):
        buffer.copy_(torch.from_numpy(values))
    configuration = {
        "network": network.config.model_dump(),
        "vocabulary": options.model_dump(mode="json"),
        "first_stage": json.loads(details["training"]) if details["training"] != "none" else "none",
    }
    state = {"network": network.state_dict(), "step": int(details.get("steps", 0))}
    save_checkpoint(out / "checkpoint.pt", {**state, "config": json.dumps(without_folders(configuration))})


def _descriptors(options: VocabularyTraining, network: HfNet, progress: Progress) -> Iterator[Float32]:
    """Unit descriptors (N, D) of the best keypoints of every view of every image, of those with any."""
    images = TrainingImages(options.images, options.held_out)
    rng = np.random.default_rng(options.seed)
    files = sorted(set(images.draw(options.num_images, rng)))
    extraction = Extraction(network, MAX_KEYPOINTS)
    for i, path in progress(list(enumerate(files)), "describing images", len(files)):
        image = shrink_to_cells(read_gray(path), options.long_side, None, network.config.multiple).pixels
        views = [
            options.changes.apply(image, np.random.default_rng([options.seed, i, k])) for k in range(1, options.views)
        ]
        for view in (image, *views):
            if len(found := _extract(extraction, view)):
                yield found


@torch.no_grad()
def _extract(extraction: Extraction, image: UInt8) -> Float32:
    found = extraction(torch.from_numpy(image)[None, None])
    descriptors: Float32 = found.descriptors[found.scores > MIN_SCORE].numpy()
    return descriptors


def _sample(described: list[Float32], rng: np.random.Generator) -> Float32:
    """About ``_SAMPLES`` descriptors, the same number of every view."""
    each = max(1, _SAMPLES // len(described))
    return np.concatenate([found[rng.permutation(len(found))[:each]] for found in described])


def _whitening(vectors: Float32, size: int, power: float) -> tuple[Float32, Float32]:
    """Mean (I,) and projection (size, I) of (N, I) vectors to their principal components, scaled by their deviation."""
    if len(vectors) <= size:
        raise InputError(
            f"num_images: {len(vectors)} views cannot whiten a global descriptor of {size} elements: give more images "
            "or views, or make network.global_dimension of the first stage smaller"
        )
    mean = vectors.mean(axis=0)
    _, scales, axes = np.linalg.svd(vectors - mean, full_matrices=False)
    deviations = scales[:size, None] / np.sqrt(len(vectors))
    projection = axes[:size] / np.maximum(deviations, 1e-6) ** power
    return mean, np.ascontiguousarray(projection / np.linalg.norm(projection, axis=1).mean(), dtype=np.float32)
