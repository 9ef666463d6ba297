"""What teaches the global head which images show the same place."""

import torch
from torch import Tensor
from torch.nn import functional as F


def contrastive_loss(descriptors: Tensor, closeness: Tensor, temperature: float) -> Tensor:
    """Cross-entropy between how alike descriptors are and how alike they should be.

    Every descriptor is compared with all others: the softmax of its similarities against its closeness, scaled to sum
    1. With closeness 1 between the two views of an image and 0 elsewhere, this is InfoNCE (SimCLR's NT-Xent).

    Args:
        descriptors: (N, G) unit vectors.
        closeness: (N, N) from 0 to 1, in each row something besides the diagonal, which does not count.
        temperature: by which similarities are divided.
    """
    itself = torch.eye(len(descriptors), dtype=torch.bool, device=descriptors.device)
    logits = (descriptors @ descriptors.T / temperature).masked_fill(itself, -1e9)
    targets = closeness.masked_fill(itself, 0)
    targets = targets / targets.sum(dim=1, keepdim=True)
    return -(targets * F.log_softmax(logits, dim=1)).sum(dim=1).mean()
