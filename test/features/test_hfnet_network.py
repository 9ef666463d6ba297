"""Sizes of HF-Net: the paper's, and others."""

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is needed for the network itself: pip install 'vizloc_ros[train]'")

from hfnet_helpers import SMALL, small_network, tensor, texture  # noqa: E402

from vizloc_ros.features.hfnet.hfnet_config import MobileNetConfig  # noqa: E402
from vizloc_ros.features.hfnet.hfnet_network import MobileHfNet  # noqa: E402

PAPER = (24, 16, 24, 24, 24, 48, 96, 48, 48, 48, 48, 72, 72, 72, 120, 120, 120, 240)


def parameters(module: torch.nn.Module) -> int:
    return sum(values.numel() for values in module.parameters())


def block(inputs: int, outputs: int, expansion: int = 6) -> int:
    """Parameters of an inverted residual: convolutions without bias, two numbers a channel for each batch norm."""
    hidden = inputs * expansion
    expand = inputs * hidden + 2 * hidden if expansion > 1 else 0
    return expand + (9 * hidden + 2 * hidden) + (hidden * outputs + 2 * outputs)


def test_the_paper_s_sizes() -> None:
    network = MobileHfNet(MobileNetConfig())
    assert network.config.channels == PAPER
    stem = 9 * PAPER[0] + 2 * PAPER[0]
    blocks = [block(PAPER[i], PAPER[i + 1], 1 if i == 0 else 6) for i in range(17)]
    assert parameters(network.backbone) == stem + sum(blocks)
    assert parameters(network.detector) == 9 * 96 * 128 + 2 * 128 + 128 * 65 + 65
    assert parameters(network.descriptor) == 9 * 96 * 256 + 2 * 256 + 256 * 256 + 256
    assert parameters(network.global_head) == 31_476_800


@pytest.mark.parametrize(
    ("config", "layer7", "layer18"),
    [
        (SMALL, 48, 112),
        (MobileNetConfig(width=1.0, descriptor_dimension=64, clusters=8, global_dimension=32), 128, 320),
        (
            MobileNetConfig(
                descriptor_dimension=128, descriptor_channels=160, detector_channels=96, global_dimension=512
            ),
            96,
            240,
        ),
    ],
)
def test_shapes_and_lengths_of_the_outputs(config: MobileNetConfig, layer7: int, layer18: int) -> None:
    network = MobileHfNet(config).eval()
    assert (config.channels[6], config.channels[17]) == (layer7, layer18)
    height, width = 56, 104  # 7 x 13 cells
    with torch.no_grad():
        log_odds, descriptors, global_descriptor = network(torch.rand(2, 1, height, width) * 255)
        local, deep = network.backbone(torch.rand(2, 1, height, width) * 255)
    assert log_odds.shape == (2, 1, height, width)
    assert descriptors.shape == (2, config.descriptor_dimension, 7, 13)
    assert global_descriptor.shape == (2, config.global_dimension)
    assert local.shape == (2, layer7, 7, 13)
    assert deep.shape == (2, layer18, 2, 4)
    torch.testing.assert_close(descriptors.norm(dim=1), torch.ones(2, 7, 13))
    torch.testing.assert_close(global_descriptor.norm(dim=1), torch.ones(2))


def test_outputs_depend_on_the_image() -> None:
    network = small_network()
    with torch.no_grad():
        one, other = (network(tensor(texture(seed)).float()) for seed in (10, 11))
    assert (one.log_odds - other.log_odds).std() > 0.1
    assert (one.descriptors * other.descriptors).sum(dim=1).mean() < 0.95
    assert (one.global_descriptor * other.global_descriptor).sum() < 0.9999
