"""A small HF-Net with random weights, and images that it finds something in. Needs torch."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from pycolmap import Rigid3d, Rotation3d
from torch import nn

from vizloc_ros.features.hfnet.hfnet_config import MobileNetConfig
from vizloc_ros.features.hfnet.hfnet_export import export_onnx
from vizloc_ros.features.hfnet.hfnet_network import HfNet, MobileHfNet
from vizloc_ros.training.global_head.photos import Photo

SMALL = MobileNetConfig(
    width=0.35, descriptor_dimension=16, descriptor_channels=24, detector_channels=24, clusters=4, global_dimension=12
)
MAX_KEYPOINTS = 600


def small_network(seed: int = 0, config: MobileNetConfig = SMALL) -> HfNet:
    """Random weights; the batch norms know the statistics of textures, so that signals arrive at the end."""
    torch.manual_seed(seed)
    network = MobileHfNet(config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # plain mean over what it sees
    with torch.no_grad():
        network.train()(torch.stack([tensor(texture(seed))[0].float() for seed in range(3)]))
    return network.eval()


def exported(folder: Path, network: HfNet | None = None, **options: Any) -> Path:
    """The small network as a file."""
    path = folder / "net.onnx"
    export_onnx(network or small_network(), path, **{"max_keypoints": MAX_KEYPOINTS, **options})
    return path


def texture(seed: int, size: tuple[int, int] = (160, 96), sigma: float = 1.5) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=size[::-1])
    smooth = cv2.GaussianBlur(noise, (0, 0), sigma)
    return (128 + 50 * smooth / smooth.std()).clip(0, 255).astype(np.uint8)


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image))[None, None]


def photo(x: float | None, yaw: float = 0.0) -> Photo:
    """Photo of a camera at x meters whose viewing direction is rotated by yaw degrees."""
    turn = Rotation3d(np.array([0, np.sin(np.radians(yaw) / 2), 0, np.cos(np.radians(yaw) / 2)]))
    pose = None if x is None else Rigid3d(turn, np.array([x, 0, 0]))
    return Photo(f"{x} {yaw}", lambda: texture(0), pose)
