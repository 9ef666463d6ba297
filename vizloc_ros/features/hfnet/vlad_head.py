"""VLAD of an image's best keypoints, with a vocabulary learned once, as the global head of a network."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MAX_KEYPOINTS = 1024  # best keypoints of an image that are aggregated
MIN_SCORE = 0.005  # of those


class VladHead(nn.Module):
    """The aggregation of ``features/vlad.Vlad`` in a graph; learned by ``vizloc train hfnet-vocabulary``.

    Attributes:
        words: (K, D) cluster centers of local descriptors.
        mean: (K * D,) mean of the vectors before the projection.
        projection: (G, K * D) whitening PCA.
    """

    words: Tensor
    mean: Tensor
    projection: Tensor

    def __init__(self, words: int, dimension: int, outputs: int) -> None:
        """Make a head with random words and projection."""
        super().__init__()
        size = words * dimension
        self.register_buffer("words", F.normalize(torch.randn(words, dimension), dim=1))
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("projection", torch.randn(outputs, size) / size**0.5)

    def forward(self, descriptors: Tensor, scores: Tensor) -> Tensor:
        """Return the unit vector (G,) of (N, D) unit descriptors, best first, and their (N,) scores; zero for none."""
        descriptors, scores = descriptors[:MAX_KEYPOINTS], scores[:MAX_KEYPOINTS]
        nearest = (descriptors @ self.words.T - 0.5 * self.words.square().sum(dim=1)).argmax(dim=1)
        words = torch.arange(len(self.words), device=nearest.device)
        member = (nearest[:, None] == words).float() * (scores > MIN_SCORE).float()[:, None]
        residuals = member.T @ descriptors - member.sum(dim=0)[:, None] * self.words
        vector = unit(unit(residuals).flatten())
        centered = (vector - self.mean) * (member.sum() > 0).float()
        # Two matrices: ONNX Runtime takes nine times as long for a matrix and a vector.
        return unit((centered[None] @ self.projection.T)[0])


def unit(vectors: Tensor) -> Tensor:
    """Scale (..., D) to unit length, like ``F.normalize`` but in operators that are fast in ONNX Runtime."""
    return vectors / (vectors * vectors).sum(dim=-1, keepdim=True).sqrt().clamp(min=1e-12)
