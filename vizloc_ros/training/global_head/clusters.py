"""Clusters of NetVLAD by k-means, as Arandjelovic et al. (CVPR 2016, section 3.1) initialize them."""

import numpy as np
import torch

from vizloc_ros.arrays import Float32
from vizloc_ros.features.hfnet.hfnet_network import NetVlad
from vizloc_ros.features.vlad import k_means
from vizloc_ros.training.global_head.view_bank import ViewBank

_SAMPLES = 100_000


def cluster_activations(vlad: NetVlad, bank: ViewBank, sharpness: float, seed: int) -> None:
    """Set clusters and membership of NetVLAD from the activations of all views of a bank.

    Args:
        vlad: layer to set, without its reduction.
        bank: views of the training images.
        sharpness: factor of the negative squared distances in the softmax; the larger, the nearer to VLAD.
        seed: seed of the samples and of k-means.
    """
    rng = np.random.default_rng(seed)
    centres = k_means(_samples(bank, rng), len(vlad.centres), rng)
    convolution, norm = vlad.membership[0], vlad.membership[1]
    with torch.no_grad():
        vlad.centres.copy_(torch.from_numpy(centres))
        convolution.weight.copy_(2 * sharpness * vlad.centres[:, :, None, None])
        # The batch norm becomes the softmax's constant.
        norm.weight.copy_((norm.running_var + norm.eps).sqrt())
        norm.bias.copy_(norm.running_mean - sharpness * vlad.centres.square().sum(dim=1))


def _samples(bank: ViewBank, rng: np.random.Generator) -> Float32:
    """Random activations (N, C), the same number from every view."""
    each = max(1, _SAMPLES // (len(bank) * bank.views))
    chosen = []
    for photo in range(len(bank)):
        for view in range(bank.views):
            cells = bank.load(photo, view).flatten(1).T.numpy()
            chosen.append(cells[rng.permutation(len(cells))[:each]])
    return np.concatenate(chosen)
