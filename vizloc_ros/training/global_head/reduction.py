"""The reduction of NetVLAD's residuals, learned without gradients: principal components, whitened.

So NetVLAD's authors reduce it (Arandjelovic et al., CVPR 2016, appendix A, after Jegou and Chum, ECCV 2012). HF-Net's
paper learns the reduction by distillation, which takes a teacher that knows places.
"""

from typing import cast

import torch
from torch import Tensor, nn

from vizloc_ros.errors import ConfigError
from vizloc_ros.features.hfnet.heads import NetVlad
from vizloc_ros.training.global_head.view_bank import ViewBank, describe_views

SHRINKAGE = 0.01  # of the mean variance, added to all: directions that few images tell of are not trusted


class _Pooling(nn.Module):
    """NetVLAD without its reduction."""

    def __init__(self, head: NetVlad) -> None:
        super().__init__()
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        return self.head.pool(x)


def whiten_reduction(head: nn.Sequential, bank: ViewBank) -> None:
    """Gives a head the reduction that whitens the residuals of a bank's images, each as it is.

    Args:
        head: what is trained, with NetVLAD at its end.
        bank: of the training images, more of them than the reduction has outputs.

    Raises:
        ConfigError: there are too few images.
    """
    vlad = cast(NetVlad, head[-1])
    pooled = describe_views(nn.Sequential(*head[:-1], _Pooling(vlad)), bank, [(i, 0) for i in range(len(bank))])
    whiten(vlad.reduce, pooled)


@torch.no_grad()
def whiten(reduce: nn.Linear, vectors: Tensor) -> None:
    """Sets a linear layer to the whitened principal components of (N, inputs) vectors.

    Raises:
        ConfigError: there are no more vectors than the layer has outputs.
    """
    count, size = len(vectors), reduce.out_features
    if count <= size:
        raise ConfigError(
            f"reduction: whiten: {count} images cannot whiten a global descriptor of {size} elements: give more than "
            f"{size} (raise max_images), or make network.global_dimension smaller"
        )
    mean = vectors.mean(dim=0)
    _, singular, axes = torch.linalg.svd(vectors - mean, full_matrices=False)
    variance = singular.square() / (count - 1)
    stretch = (variance[:size] + SHRINKAGE * variance.mean()).sqrt()
    reduce.weight.copy_(axes[:size] / stretch[:, None])
    reduce.bias.copy_(-reduce.weight @ mean)
