"""Adapter of ONNX networks with a detector and dense descriptors: the teachers of HF-Net, or any other.

The roles of the outputs follow from their names and shapes; ``DenseNetworkConfig`` gives what these leave open.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from pydantic import Field

from vizloc_ros.arrays import Float32, UInt8
from vizloc_ros.errors import FeatureError, InputError
from vizloc_ros.features.device import Device
from vizloc_ros.features.onnx_session import ORT_ERRORS, described, one_line, open_session, read_network
from vizloc_ros.geometry.interpolation import Corners, interpolate_channels_first
from vizloc_ros.options import Options

CELL = 8  # side of the cells whose 64 pixels and "no keypoint" have one softmax [px]
CELL_CHANNELS = CELL * CELL + 1
_MIN_DESCRIPTOR_CHANNELS = 9

ScoreKind = Literal["probability", "logit", "cells"]


class DenseNetworkConfig(Options):
    """Inputs and outputs of a network; fields that are None follow from its outputs.

    Attributes:
        value_range: input value of white, 1 or 255.
        multiple: divisor of the input's height and width [px]; images are padded.
        scores: name of the detector's output.
        score_kind: ``probability`` (1 x H x W, 0 to 1), ``logit`` (1 x H x W) or ``cells`` (65 x H/8 x W/8 logits, as
            of SuperPoint and XFeat).
        score_offset: offset that is added to logits.
        descriptors: name of the output with dense descriptors, D x H/s x W/s; s follows from the shapes.
    """

    value_range: float = Field(default=1.0, gt=0)
    multiple: int = Field(default=32, ge=CELL, multiple_of=CELL)
    scores: str | None = None
    score_kind: ScoreKind | None = None
    score_offset: float = 0.0
    descriptors: str | None = None


@dataclass(frozen=True)
class DenseMaps:
    """Outputs of a network for one image.

    Attributes:
        scores: (H, W) float32 scores of the detector: logits for the kind ``logit``, else probabilities.
        kind: kind of the scores; with ``cells``, the pixels of a cell exclude each other.
        descriptors: (D, H', W') float32 descriptors of the padded image, not normalized.
        stride: pixels between two columns, or rows, of ``descriptors``.
    """

    scores: Float32
    kind: ScoreKind
    descriptors: Float32
    stride: float

    @property
    def odds(self) -> Float32:
        """Odds (H, W) of a keypoint at a pixel against none there, or with ``cells`` against none in the cell."""
        if self.kind == "logit":
            return np.exp(np.clip(self.scores, -30, 10))
        keypoint = self.scores if self.kind == "probability" else _cell_sums(self.scores)
        odds: Float32 = self.scores / np.maximum(1 - keypoint, np.float32(1e-4))
        return odds

    def score_of(self, probability: float) -> float:
        """Score of a probability: itself, or its logit."""
        if self.kind != "logit":
            return probability
        return math.log(probability / (1 - probability)) if probability > 0 else -math.inf

    def sample(self, points: Float32) -> Float32:
        """Unit descriptors (N, D) at (N, 2) pixels of the image."""
        return sample_dense_descriptors(self.descriptors, points, self.stride)


class DenseNetwork:
    """Network with a session to run it. Thread-safe."""

    def __init__(self, path: Path, config: DenseNetworkConfig | None = None, device: Device | None = None) -> None:
        """Open a file.

        Args:
            path: the ONNX file.
            config: inputs and outputs of the network.
            device: device to run on; the CPU by default.

        Raises:
            FeatureError: the file is missing or no network.
            InputError: outputs are missing or ambiguous.
            DeviceError: the device is not available.
        """
        self.path = path
        self.config = config = config or DenseNetworkConfig()
        self._device = device or Device()
        self._session = open_session(read_network(path), self._device)
        (self._input, *others) = self._session.get_inputs()
        if others or len(self._input.shape) != 4 or self._input.shape[1] not in (1, 3):
            inputs = described(self._session.get_inputs())
            raise InputError(f"{path}: its input must be one image of 1 or 3 channels, not {inputs}")
        outputs = {output.name: output for output in self._session.get_outputs()}
        self._scores = config.scores or self._only(outputs, "scores", _is_scores)
        self._descriptors = config.descriptors or self._only(outputs, "descriptors", _is_descriptors)
        if missing := {self._scores, self._descriptors} - set(outputs):
            raise InputError(f"{path}: has no output {sorted(missing)}; it has {described(outputs.values())}")
        self._kind: ScoreKind = config.score_kind or _score_kind(outputs[self._scores])
        self._reliability = [name for name in outputs if _is_reliability(name) and self._kind != "logit"][:1]

    def __reduce__(self) -> "tuple[type[DenseNetwork], tuple[Path, DenseNetworkConfig, Device]]":
        return DenseNetwork, (self.path, self.config, self._device)  # another process opens its own session

    def maps(self, image: UInt8) -> DenseMaps:
        """Run detector and descriptors on an (H, W) gray or (H, W, 3) BGR image.

        Raises:
            FeatureError: the network refuses images of this size, or its outputs do not fit the image.
        """
        height, width = image.shape[:2]
        batch = self._batch(image)
        names = [self._scores, self._descriptors, *self._reliability]
        try:
            scores, descriptors, *reliability = self._session.run(names, {self._input.name: batch})
        except ORT_ERRORS as error:
            raise FeatureError(f"{self.path}: fails on an image of {width}x{height} ({one_line(error)})") from error
        rows, columns = batch.shape[2:]
        score_map = self._score_map(scores.reshape(-1, *scores.shape[-2:]))
        dense = descriptors.reshape(-1, *descriptors.shape[-2:])
        stride = columns / dense.shape[2]
        if score_map.shape != (rows, columns) or dense.shape[1] * stride != rows:
            raise FeatureError(
                f"{self.path}: makes scores {scores.shape} and descriptors {descriptors.shape} of an image of "
                f"{columns}x{rows}, which do not cover it"
            )
        for factor in reliability:
            score_map = score_map * cv2.resize(factor.reshape(factor.shape[-2:]), (columns, rows))
        return DenseMaps(score_map[:height, :width], self._kind, dense, stride)

    def _batch(self, image: UInt8) -> Float32:
        """Input (1, C, H', W') of the network: gray or RGB, the border replicated up to a multiple."""
        height, width = image.shape[:2]
        if image.ndim == 3:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY if self._input.shape[1] == 1 else cv2.COLOR_BGR2RGB)
        bottom, right = -height % self.config.multiple, -width % self.config.multiple
        padded = np.atleast_3d(cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE))
        values = padded.transpose(2, 0, 1) * np.float32(self.config.value_range / 255)
        return np.ascontiguousarray(np.broadcast_to(values, (self._input.shape[1], *values.shape[1:])))[None]

    def _score_map(self, scores: Float32) -> Float32:
        """Probabilities or logits (H', W') from the detector's output (C, ...)."""
        if self._kind == "cells":
            if len(scores) != CELL_CHANNELS:
                raise FeatureError(f"{self.path}: its scores have {len(scores)} channels; cells have {CELL_CHANNELS}")
            return _cell_probabilities(scores)
        return scores[0] + np.float32(self.config.score_offset) if self._kind == "logit" else scores[0]

    def _only(self, outputs: Mapping[str, Any], setting: str, fits: Callable[[Any], bool]) -> str:
        """Name of the only output that fits. Raises ``InputError`` for none or several."""
        found = [name for name, output in outputs.items() if fits(output)]
        if len(found) != 1:
            raise InputError(
                f"{self.path}: its {setting} cannot be told from its outputs {described(outputs.values())}: name one "
                f"in the setting '{setting}', or choose a network with dense {setting}"
            )
        return found[0]


def sample_dense_descriptors(maps: Float32, points: Float32, stride: float) -> Float32:
    """Sample unit descriptors at pixels, bilinear, with the values of the border beyond it.

    Args:
        maps: (D, H', W') descriptors.
        points: (N, 2) pixels of the image; pixel p is at (p + 0.5) / stride - 0.5 of the maps.
        stride: pixels between two columns of the maps.

    Returns:
        (N, D) unit vectors.
    """
    channels, height, width = maps.shape
    corners = Corners.of((points + 0.5) / stride - 0.5, width, height)
    # In the order of memory, because the maps are larger than any cache.
    order = np.lexsort((corners.left, corners.top))
    values = interpolate_channels_first(maps, corners.take(order))
    values /= np.maximum(np.sqrt(np.einsum("dn,dn->n", values, values)), np.float32(1e-9))
    unit = np.empty((len(points), channels), np.float32)
    unit[order] = values.T
    return unit


def _cell_probabilities(logits: Float32) -> Float32:
    """Probabilities (8 h, 8 w) of logits (65, h, w); channel 8 r + c is row r, column c, the last "no keypoint"."""
    exponentials = np.exp(logits - logits.max(axis=0))
    pixels = exponentials[:-1] / exponentials.sum(axis=0)
    rows, columns = pixels.shape[1:]
    return pixels.reshape(CELL, CELL, rows, columns).transpose(2, 0, 3, 1).reshape(CELL * rows, CELL * columns)


def _cell_sums(scores: Float32) -> Float32:
    """Sum (H, W) over the cell of every pixel."""
    height, width = scores.shape
    rows, columns = np.arange(0, height, CELL), np.arange(0, width, CELL)
    sums = np.add.reduceat(np.add.reduceat(scores, rows, axis=0), columns, axis=1)
    return sums.repeat(CELL, axis=0).repeat(CELL, axis=1)[:height, :width]


def _channels(output: Any) -> int:
    """Number of channels of a dense output; 0 if the output is not dense or the number is open."""
    return output.shape[1] if len(output.shape) == 4 and isinstance(output.shape[1], int) else 0


def _is_reliability(name: str) -> bool:
    return "reliability" in name.lower()


def _is_scores(output: Any) -> bool:
    return _channels(output) in (1, CELL_CHANNELS) and not _is_reliability(output.name)


def _is_descriptors(output: Any) -> bool:
    channels = _channels(output)
    return channels >= _MIN_DESCRIPTOR_CHANNELS and channels != CELL_CHANNELS


def _score_kind(output: Any) -> ScoreKind:
    if _channels(output) == CELL_CHANNELS:
        return "cells"
    return "logit" if "logit" in output.name.lower() else "probability"
