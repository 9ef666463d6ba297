"""Reduction of NetVLAD's residuals, computed without gradients: a whitening of the changes within a place.

After Mikolajczyk and Matas (ICCV 2007) and Radenovic et al. (TPAMI 2018, section 4.3), with changed views of single
images and neighboring frames of a drive as pairs. HF-Net learns the reduction by distillation from NetVLAD (HF-Net,
section 5.2), which needs a teacher of places.
"""

from typing import cast

import torch
from torch import Tensor, nn

from vizloc_ros.arrays import Int64
from vizloc_ros.errors import InputError
from vizloc_ros.features.hfnet.hfnet_network import NetVlad
from vizloc_ros.training.global_head.view_bank import ViewBank, describe_views

SHRINKAGE = 0.003  # fraction of the mean variance that is added to all: few views give uncertain small variances
_NEIGHBORS_WEIGHT = 1 / 3  # weight of the covariance from pairs of frames, if there are any


class _Pooling(nn.Module):
    """NetVLAD without its reduction."""

    def __init__(self, head: NetVlad) -> None:
        super().__init__()
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        return self.head.pool(x)


def whiten_reduction(head: nn.Sequential, bank: ViewBank, neighbors: Int64) -> None:
    """Set the reduction of a head from the images of a bank, their changed views, and pairs of images.

    Args:
        head: trained layers, the last of which is NetVLAD.
        bank: views of the training images.
        neighbors: (M, 2) pairs of images of one place.

    Raises:
        InputError: there are too few images.
    """
    vlad = cast(NetVlad, head[-1])
    pooling = nn.Sequential(*head[:-1], _Pooling(vlad))
    views = [describe_views(pooling, bank, [(photo, view) for photo in range(len(bank))]) for view in range(bank.views)]
    weight, bias = whitening_of_changes(torch.stack(views), vlad.reduce.out_features, neighbors)
    with torch.no_grad():
        vlad.reduce.weight.copy_(weight)
        vlad.reduce.bias.copy_(bias)


def whitening_of_changes(vectors: Tensor, size: int, neighbors: Int64 | None = None) -> tuple[Tensor, Tensor]:
    """Linear map under which changes have equal variance in all directions, and different images differ the most.

    Args:
        vectors: (V, N, I) vectors of N images: first of the unchanged images, then of their changed views.
        size: length of the result, less than N.
        neighbors: (M, 2) pairs of images whose difference is a change, too.

    Returns:
        (size, I) weight and (size,) bias.

    Raises:
        InputError: there are too few images.
    """
    count = vectors.shape[1]
    if count <= size:
        raise InputError(
            f"reduction: whiten: {count} images cannot whiten a global descriptor of {size} elements: give more than "
            f"{size} (raise max_images), or make network.global_dimension smaller"
        )
    mean = vectors[0].mean(dim=0)
    # In the subspace that the images span, which is smaller than the space of the vectors.
    _, _, axes = torch.linalg.svd(vectors[0] - mean, full_matrices=False)
    axes = axes[: count - 1]
    coordinates = (vectors - mean) @ axes.T
    covariance = _second_moment((coordinates[1:] - coordinates[0]).flatten(end_dim=1))
    if neighbors is not None and len(neighbors):
        one, other = torch.from_numpy(neighbors).T
        between = _second_moment(coordinates[0, one] - coordinates[0, other])
        covariance = (1 - _NEIGHBORS_WEIGHT) * covariance + _NEIGHBORS_WEIGHT * between
    covariance += SHRINKAGE * covariance.diagonal().mean() * torch.eye(len(covariance))
    variance, directions = torch.linalg.eigh(covariance)
    whitening = (directions / variance.sqrt()) @ directions.T
    white = (coordinates @ whitening).flatten(end_dim=1)
    _, _, principal = torch.linalg.svd(white - white.mean(dim=0), full_matrices=False)
    weight = principal[:size] @ whitening @ axes
    return weight, -(weight @ mean)


def _second_moment(vectors: Tensor) -> Tensor:
    return vectors.T @ vectors / len(vectors)
