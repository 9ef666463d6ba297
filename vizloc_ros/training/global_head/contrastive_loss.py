"""Contrastive loss, which trains the global head to distinguish places."""

import torch
from torch import Tensor
from torch.nn import functional as F


def contrastive_loss(descriptors: Tensor, closeness: Tensor, temperature: float) -> Tensor:
    """Cross-entropy between similarities of descriptors and the closeness of their images.

    Every descriptor is compared with all others: the softmax of its similarities with its closeness, scaled to sum 1.
    With closeness 1 between the two views of an image and 0 elsewhere, this is InfoNCE (SimCLR's NT-Xent).

    Args:
        descriptors: (N, G) unit vectors.
        closeness: (N, N) values from 0 to 1. The diagonal does not count; each row has another positive value.
        temperature: divisor of the similarities.
    """
    itself = torch.eye(len(descriptors), dtype=torch.bool, device=descriptors.device)
    logits = (descriptors @ descriptors.T / temperature).masked_fill(itself, -1e9)
    targets = closeness.masked_fill(itself, 0)
    targets = targets / targets.sum(dim=1, keepdim=True)
    return -(targets * F.log_softmax(logits, dim=1)).sum(dim=1).mean()
