"""The reduction of NetVLAD's residuals, learned without gradients: a whitening of what changes within a place.

After Mikolajczyk and Matas (ICCV 2007) and Radenovic et al. (TPAMI 2018, section 4.3), with changed views of single
images and neighbouring frames of a drive as the pairs. HF-Net's paper learns the reduction by distillation, which takes
a teacher that knows places.
"""

from typing import cast

import torch
from torch import Tensor, nn

from vizloc_ros.arrays import Int64
from vizloc_ros.errors import ConfigError
from vizloc_ros.features.hfnet.hfnet_network import NetVlad
from vizloc_ros.training.global_head.view_bank import ViewBank, describe_views

SHRINKAGE = 0.003  # of the mean variance, added to all: changes that few views tell of are not trusted
_NEIGHBOURS_SHARE = 1 / 3  # of what pairs of frames have to say about changes, if there are any


class _Pooling(nn.Module):
    """NetVLAD without its reduction."""

    def __init__(self, head: NetVlad) -> None:
        super().__init__()
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        return self.head.pool(x)


def whiten_reduction(head: nn.Sequential, bank: ViewBank, neighbours: Int64) -> None:
    """Gives a head the reduction that is learned on a bank's images, their changed views, and pairs of them.

    Args:
        head: what is trained, with NetVLAD at its end.
        bank: of the training images.
        neighbours: (M, 2) images of one place.

    Raises:
        ConfigError: there are too few images.
    """
    vlad = cast(NetVlad, head[-1])
    pooling = nn.Sequential(*head[:-1], _Pooling(vlad))
    views = [describe_views(pooling, bank, [(photo, view) for photo in range(len(bank))]) for view in range(bank.views)]
    weight, bias = whitening_of_changes(torch.stack(views), vlad.reduce.out_features, neighbours)
    with torch.no_grad():
        vlad.reduce.weight.copy_(weight)
        vlad.reduce.bias.copy_(bias)


def whitening_of_changes(vectors: Tensor, size: int, neighbours: Int64 | None = None) -> tuple[Tensor, Tensor]:
    """A linear map under which the changes of images are alike in all directions, and images differ the most.

    Args:
        vectors: (V, N, I) of N images: first each as it is, then its changed views.
        size: of the outcome, less than N.
        neighbours: (M, 2) images whose difference is a change too.

    Returns:
        (size, I) weight and (size,) bias.

    Raises:
        ConfigError: there are too few images.
    """
    count = vectors.shape[1]
    if count <= size:
        raise ConfigError(
            f"reduction: whiten: {count} images cannot whiten a global descriptor of {size} elements: give more than "
            f"{size} (raise max_images), or make network.global_dimension smaller"
        )
    mean = vectors[0].mean(dim=0)
    # In the space that the images span, for it is smaller than that of the vectors.
    _, _, axes = torch.linalg.svd(vectors[0] - mean, full_matrices=False)
    axes = axes[: count - 1]
    coordinates = (vectors - mean) @ axes.T
    covariance = _second_moment((coordinates[1:] - coordinates[0]).flatten(end_dim=1))
    if neighbours is not None and len(neighbours):
        one, other = torch.from_numpy(neighbours).T
        between = _second_moment(coordinates[0, one] - coordinates[0, other])
        covariance = (1 - _NEIGHBOURS_SHARE) * covariance + _NEIGHBOURS_SHARE * between
    covariance += SHRINKAGE * covariance.diagonal().mean() * torch.eye(len(covariance))
    variance, directions = torch.linalg.eigh(covariance)
    whitening = (directions / variance.sqrt()) @ directions.T
    white = (coordinates @ whitening).flatten(end_dim=1)
    _, _, principal = torch.linalg.svd(white - white.mean(dim=0), full_matrices=False)
    weight = principal[:size] @ whitening @ axes
    return weight, -(weight @ mean)


def _second_moment(vectors: Tensor) -> Tensor:
    return vectors.T @ vectors / len(vectors)
