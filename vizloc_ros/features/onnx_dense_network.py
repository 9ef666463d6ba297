"""Any ONNX network with a detector and dense descriptors behind one adapter: the teachers of HF-Net, or a user's own.

How a file is read is found from the names and shapes of its outputs; ``DenseNetworkConfig`` says what they leave open.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vizloc_ros.arrays import Float32, UInt8
from vizloc_ros.errors import ConfigError, FeatureError
from vizloc_ros.features.device import Device
from vizloc_ros.features.onnx_session import ORT_ERRORS, described, one_line, open_session, read_network

CELL = 8  # side of the cells whose 64 pixels and "none" share one softmax [px]
CELL_CHANNELS = CELL * CELL + 1
_MIN_DESCRIPTOR_CHANNELS = 9

ScoreKind = Literal["probability", "logit", "cells"]


class DenseNetworkConfig(BaseModel):
    """How to read a network's file; what is None is found from its outputs.

    Attributes:
        value_range: what white is in its input, 1 or 255.
        multiple: height and width must be multiples of this [px]; images are padded.
        scores: name of the detector's output.
        score_kind: ``probability`` (1 x H x W, 0 to 1), ``logit`` (1 x H x W) or ``cells`` (65 x H/8 x W/8 logits, as
            SuperPoint's and XFeat's).
        score_offset: added to logits.
        descriptors: name of the output with dense descriptors, D x H/s x W/s; s is found from the shapes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value_range: float = Field(default=1.0, gt=0)
    multiple: int = Field(default=32, ge=CELL, multiple_of=CELL)
    scores: str | None = None
    score_kind: ScoreKind | None = None
    score_offset: float = 0.0
    descriptors: str | None = None


@dataclass(frozen=True)
class DenseMaps:
    """What a network says about one image.

    Attributes:
        scores: (H, W) float32 detector, probabilities or logits as ``kind`` says.
        kind: ``cells`` are probabilities too, of which those of a cell exclude each other.
        descriptors: (D, H', W') float32, not normalised, of the padded image.
        stride: pixels between two columns, or rows, of ``descriptors``.
    """

    scores: Float32
    kind: ScoreKind
    descriptors: Float32
    stride: float

    @property
    def odds(self) -> Float32:
        """(H, W) odds of every pixel against no keypoint: there for single pixels, in the cell for ``cells``."""
        if self.kind == "logit":
            return np.exp(np.clip(self.scores, -30, 10))
        taken = self.scores if self.kind == "probability" else _cell_sums(self.scores)
        odds: Float32 = self.scores / np.maximum(1 - taken, np.float32(1e-4))
        return odds

    def score_of(self, probability: float) -> float:
        """The score that stands for a probability."""
        if self.kind != "logit":
            return probability
        return math.log(probability / (1 - probability)) if probability > 0 else -math.inf

    def sample(self, points: Float32) -> Float32:
        """(N, D) unit descriptors at (N, 2) pixels of the image."""
        return sample(self.descriptors, points, self.stride)


class DenseNetwork:
    """A network that is ready to run. Calls may come from several threads."""

    def __init__(self, path: Path, config: DenseNetworkConfig | None = None, device: Device | None = None) -> None:
        """Opens a file.

        Args:
            path: the ONNX file.
            config: how to read it.
            device: what to run it on; the CPU where absent.

        Raises:
            FeatureError: the file is missing or no network.
            ConfigError: it has not the outputs, they cannot be told from each other, or the device cannot be had.
        """
        self.path = path
        self.config = config = config or DenseNetworkConfig()
        self._session = open_session(read_network(path), device or Device())
        (self._input, *others) = self._session.get_inputs()
        if others or len(self._input.shape) != 4 or self._input.shape[1] not in (1, 3):
            inputs = described(self._session.get_inputs())
            raise ConfigError(f"{path}: its input must be one image of 1 or 3 channels, not {inputs}")
        outputs = {output.name: output for output in self._session.get_outputs()}
        self._scores = config.scores or self._only(outputs, "scores", _is_scores)
        self._descriptors = config.descriptors or self._only(outputs, "descriptors", _is_descriptors)
        if missing := {self._scores, self._descriptors} - set(outputs):
            raise ConfigError(f"{path}: has no output {sorted(missing)}; it has {described(outputs.values())}")
        self._kind: ScoreKind = config.score_kind or _score_kind(outputs[self._scores])
        self._reliability = [name for name in outputs if _is_reliability(name) and self._kind != "logit"][:1]

    def maps(self, image: UInt8) -> DenseMaps:
        """Detector and descriptors of a (H, W) gray or (H, W, 3) BGR image.

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
        """(1, C, H', W') input: channels as the network wants them, the border replicated up to the multiple."""
        height, width = image.shape[:2]
        if image.ndim == 3:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY if self._input.shape[1] == 1 else cv2.COLOR_BGR2RGB)
        bottom, right = -height % self.config.multiple, -width % self.config.multiple
        padded = np.atleast_3d(cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE))
        values = padded.transpose(2, 0, 1) * np.float32(self.config.value_range / 255)
        return np.ascontiguousarray(np.broadcast_to(values, (self._input.shape[1], *values.shape[1:])))[None]

    def _score_map(self, scores: Float32) -> Float32:
        """(H', W') probabilities or logits from the detector's (C, ...) output."""
        if self._kind == "cells":
            if len(scores) != CELL_CHANNELS:
                raise FeatureError(f"{self.path}: its scores have {len(scores)} channels; cells have {CELL_CHANNELS}")
            return _cell_probabilities(scores)
        return scores[0] + np.float32(self.config.score_offset) if self._kind == "logit" else scores[0]

    def _only(self, outputs: Mapping[str, Any], setting: str, fits: Callable[[Any], bool]) -> str:
        """The one output that fits."""
        found = [name for name, output in outputs.items() if fits(output)]
        if len(found) != 1:
            raise ConfigError(
                f"{self.path}: its {setting} cannot be told from its outputs {described(outputs.values())}: name one "
                f"in the setting '{setting}', or choose a network with dense {setting}"
            )
        return found[0]


def sample(maps: Float32, points: Float32, stride: float) -> Float32:
    """Unit descriptors at pixels, bilinear, clamped to the map.

    Args:
        maps: (D, H', W').
        points: (N, 2) pixels; pixel p is at (p + 0.5) / stride - 0.5 of the map.
        stride: pixels between two columns of the map.

    Returns:
        (N, D) unit vectors.
    """
    channels, height, width = maps.shape
    position = np.clip((points + 0.5) / stride - 0.5, 0, [width - 1, height - 1])
    corner = position.astype(np.int64)
    fx, fy = (position - corner).astype(np.float32).T
    x0, y0 = corner.T
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    # In the order in which they lie in memory: the map is larger than any cache.
    order = np.lexsort((x0, y0))
    flat = maps.reshape(channels, -1)
    values = np.zeros((channels, len(points)), np.float32)
    for x, y, weight in (
        (x0, y0, (1 - fx) * (1 - fy)),
        (x1, y0, fx * (1 - fy)),
        (x0, y1, (1 - fx) * fy),
        (x1, y1, fx * fy),
    ):
        values += flat.take((y * width + x)[order], axis=1) * weight[order]
    values /= np.maximum(np.sqrt(np.einsum("dn,dn->n", values, values)), np.float32(1e-9))
    unit = np.empty((len(points), channels), np.float32)
    unit[order] = values.T
    return unit


def _cell_probabilities(logits: Float32) -> Float32:
    """(8 h, 8 w) probabilities of (65, h, w) logits; channel 8 r + c is row r and column c, the last one "none"."""
    odds = np.exp(logits - logits.max(axis=0))
    pixels = odds[:-1] / odds.sum(axis=0)
    rows, columns = pixels.shape[1:]
    return pixels.reshape(CELL, CELL, rows, columns).transpose(2, 0, 3, 1).reshape(CELL * rows, CELL * columns)


def _cell_sums(scores: Float32) -> Float32:
    """(H, W): for every pixel, the sum over its cell."""
    height, width = scores.shape
    rows, columns = np.arange(0, height, CELL), np.arange(0, width, CELL)
    sums = np.add.reduceat(np.add.reduceat(scores, rows, axis=0), columns, axis=1)
    return sums.repeat(CELL, axis=0).repeat(CELL, axis=1)[:height, :width]


def _channels(output: Any) -> int:
    """Channels of a dense output; 0 where it is not dense or does not say."""
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
