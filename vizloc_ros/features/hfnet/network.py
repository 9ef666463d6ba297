"""The network: a shared encoder with a detector, a local descriptor and a global descriptor head (paper, section 4)."""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from vizloc_ros.features.hfnet.backbone import Backbone
from vizloc_ros.features.hfnet.config import LOCAL_LAYER, HfNetConfig
from vizloc_ros.features.hfnet.heads import LocalHead, NetVlad
from vizloc_ros.features.hfnet.refinement import Refiner


class Outputs(NamedTuple):
    """What the heads say.

    Attributes:
        logits: (B, 65, H/8, W/8) of the detector, see ``keypoint_scores``.
        descriptors: (B, D, H/8, W/8) unit vectors.
        global_descriptor: (B, G) unit vectors.
    """

    logits: Tensor
    descriptors: Tensor
    global_descriptor: Tensor


class HfNet(nn.Module):
    """HF-Net of any size; ``HfNetConfig()`` is the paper's."""

    def __init__(self, config: HfNetConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        local = channels[LOCAL_LAYER - 1]
        self.backbone = Backbone(config)
        self.detector = LocalHead(local, config.detector_channels, 65)
        self.descriptor = LocalHead(local, config.descriptor_channels, config.descriptor_dimension)
        self.refiner = Refiner(config.refiner_channels) if config.refiner_channels else None
        self.global_head = NetVlad(channels[-1], config.clusters, config.global_dimension)

    def forward(self, image: Tensor) -> Outputs:
        """(B, 1, H, W) gray values 0 to 255, H and W multiples of 8."""
        local, deep = self.backbone(image)
        return Outputs(*self._local_heads(local), self.global_head(deep))

    def local(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and descriptors alone, for training the local heads without the deep layers."""
        return self._local_heads(self.backbone.local(image))

    def _local_heads(self, local: Tensor) -> tuple[Tensor, Tensor]:
        return self.detector(local), F.normalize(self.descriptor(local), dim=1)
