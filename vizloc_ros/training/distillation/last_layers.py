"""Least-squares fit of the last layers of HF-Net on EdgePoint2's encoder, before and after a distillation.

The published layers before them have learned enough for other targets than their own teacher's, and for fewer channels:
the fit takes a minute, and gradient descent thousands of steps to come as near. After the distillation the layer of the
descriptors is fitted once more, on whole images: crops have borders where images have none.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from vizloc_ros.arrays import Float64, UInt8
from vizloc_ros.errors import InputError
from vizloc_ros.features.hfnet.hfnet_network import EdgePointHfNet, log_odds_of_cells
from vizloc_ros.features.hfnet.postprocessing import sample_cells
from vizloc_ros.features.types import dequantize
from vizloc_ros.training.teacher.targets import Targets

_RIDGE = 1e-3  # of the mean diagonal element of the normal matrix
_LOGITS = (-7.0, 4.0)  # range of the detector's targets: beyond it, no keypoint depends on them
_LIKELY = -2.0  # logit of pixels that may be keypoints
_LIKELY_WEIGHT = 10.0  # of cells with such a pixel: one in twenty
_MIN_LABEL = 1e-7


class NormalEquations:
    """Ridge regression of outputs on inputs, which come in parts."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self._normal = np.zeros((inputs + 1, inputs + 1))
        self._right = np.zeros((inputs + 1, outputs))

    def add(self, inputs: Tensor, outputs: Tensor, weights: Tensor) -> None:
        """Add (N, I) inputs, their (N, O) outputs and (N,) weights."""
        values = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1).double()
        weighted = values * weights[:, None]
        self._normal += (weighted.T @ values).numpy()
        self._right += (weighted.T @ outputs.double()).numpy()

    def solve(self, layer: nn.Conv2d) -> None:
        """Set a 1x1 convolution to the solution. Raises ``InputError`` if nothing was added."""
        ridge = _RIDGE * self._normal.trace() / len(self._normal)
        if not ridge:
            raise InputError("'fit_images': the teacher has no keypoint in the images: give others, or set it to 0")
        solution: Float64 = np.linalg.solve(self._normal + ridge * np.eye(len(self._normal)), self._right)
        values = torch.from_numpy(solution).float()
        layer.weight.data.copy_(values[:-1].T[:, :, None, None])
        if layer.bias is not None:
            layer.bias.data.copy_(values[-1])


@torch.no_grad()
def fit_last_layers(network: EdgePointHfNet, examples: Iterable[tuple[UInt8, Targets]], *, detector: bool) -> None:
    """Fit the last layer of the descriptors to those of the teacher at its keypoints, and the detector's to its logits.

    Args:
        network: network whose other layers are trained.
        examples: images, whose sides are cut to multiples of 32, and the teacher's targets.
        detector: True to fit the detector, too.

    Raises:
        InputError: the teacher has no keypoint in the images.
    """
    network.eval()
    config, encoder, scorer = network.config, network.encoder, network.detector
    device = encoder.finest.weight.device
    descriptors = NormalEquations(config.hidden, config.descriptor_dimension)
    scores = NormalEquations(scorer.last.in_channels, scorer.last.out_channels)
    for image, of_image in examples:
        height, width = (side // config.multiple * config.multiple for side in image.shape)
        if not min(height, width):
            continue
        targets = of_image.crop(0, 0, width, height)
        gray = torch.from_numpy(image[:height, :width].astype(np.float32))[None, None].to(device)
        stages = encoder.stages(gray)
        hidden = encoder.hidden(stages.x4, stages.x8, stages.x32)
        samples = sample_cells(
            hidden.permute(0, 2, 3, 1),
            torch.from_numpy(targets.keypoints).to(device),
            (width, height),
            config.descriptor_stride,
        )
        wanted = torch.from_numpy(dequantize(targets.keypoint_descriptors))
        descriptors.add(samples.cpu(), wanted, torch.ones(len(wanted)))
        if detector:
            labels = torch.from_numpy(targets.labels.astype(np.float32))[None]
            logits = nn.functional.pixel_unshuffle(log_odds_of_cells(labels.clamp(min=_MIN_LABEL).log()), 2)
            rows = logits[0].flatten(1).T.clamp(*_LOGITS)
            likely = (rows.amax(dim=1) > _LIKELY).float()
            inputs = scorer.hidden(stages.x2, stages.x8, stages.x32)[0].flatten(1).T
            scores.add(inputs.cpu(), rows, 1 + (_LIKELY_WEIGHT - 1) * likely)
    descriptors.solve(encoder.finest)
    if detector:
        scores.solve(scorer.last)
