"""A teacher: any ONNX file with dense descriptors and detector scores."""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vizloc_ros.arrays import UInt8
from vizloc_ros.features.device import Device
from vizloc_ros.features.hfnet.hfnet_config import CELL
from vizloc_ros.features.onnx_dense_network import DenseNetwork, DenseNetworkConfig
from vizloc_ros.features.onnx_features import local_maxima
from vizloc_ros.features.types import quantize
from vizloc_ros.training.fingerprint import teacher_fingerprint
from vizloc_ros.training.teacher.targets import Targets, soft_labels


class TeacherConfig(BaseModel):
    """Which network teaches.

    Attributes:
        path: the ONNX file.
        network: how to read it, as far as its names and shapes leave it open.
        keypoint_share: keypoints taught of each image, per pixel.
        provider: ``cpu`` or ``cuda``, what it runs on; its answers do not depend on it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    network: DenseNetworkConfig = DenseNetworkConfig()
    keypoint_share: float = Field(default=1 / 300, gt=0, le=1 / CELL**2)
    provider: Literal["cpu", "cuda"] = Field(default="cpu", exclude=True)


class Teacher:
    """Answers for clean images.

    Attributes:
        fingerprint: changes with what it answers.
    """

    def __init__(self, config: TeacherConfig, threads: int = 0) -> None:
        self._config = config
        self._network = DenseNetwork(config.path, config.network, Device(config.provider, threads))
        self.fingerprint = teacher_fingerprint(config.path, config)

    def targets(self, image: UInt8) -> Targets:
        """What to learn about a (H, W) gray image whose sides are multiples of 8."""
        maps = self._network.maps(image)
        odds = maps.odds
        height, width = image.shape
        keypoints = local_maxima(odds, round(self._config.keypoint_share * odds.size)).astype(np.float32)
        rows, columns = np.mgrid[0 : height // CELL, 0 : width // CELL]
        centres = np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float32) * CELL + (CELL - 1) / 2
        dense = quantize(maps.sample(centres))
        return Targets(
            soft_labels(odds).astype(np.float16),
            np.ascontiguousarray(dense.T).reshape(-1, height // CELL, width // CELL),
            keypoints,
            quantize(maps.sample(keypoints)),
        )
