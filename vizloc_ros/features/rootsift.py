"""RootSIFT with a VLAD global descriptor: the baseline without a network."""

import inspect
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from pydantic import Field

from vizloc_ros.arrays import Float32, UInt8
from vizloc_ros.features.types import NO_GLOBAL_DESCRIPTOR, Features, quantize
from vizloc_ros.features.vlad import LocalVlad, VladOptions, load_vlad
from vizloc_ros.options import validated

# OpenCV 4.8 and later can build the doubled image without shifting it; before, every keypoint lies 0.25 px too far.
_PRECISE_UPSCALE = "enable_precise_upscale" in (inspect.getdoc(cv2.SIFT_create) or "")
_UPSCALE_SHIFT = np.float32(0.0 if _PRECISE_UPSCALE else 0.25)


@dataclass(frozen=True)
class RootSift:
    """Extractor of SIFT keypoints with RootSIFT descriptors of 128 elements.

    Attributes:
        max_keypoints: maximum number of keypoints, strongest first.
        contrast_threshold: threshold of OpenCV; a lower one finds more keypoints in dark or flat images.
    """

    max_keypoints: int = 2048
    contrast_threshold: float = 0.02

    def __reduce__(self) -> "tuple[type[RootSift], tuple[int, float]]":
        return RootSift, (self.max_keypoints, self.contrast_threshold)  # OpenCV's detector cannot be pickled

    @cached_property
    def _sift(self) -> Any:
        options: dict[str, Any] = {"nfeatures": self.max_keypoints, "contrastThreshold": self.contrast_threshold}
        if _PRECISE_UPSCALE:
            options["enable_precise_upscale"] = True
        return cv2.SIFT_create(**options)

    def extract(self, image: UInt8) -> Features:
        """Extract local features from an (H, W) gray or (H, W, 3) BGR image; the global descriptor stays empty."""
        gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        size = (gray.shape[1], gray.shape[0])
        keypoints, sift = self._sift.detectAndCompute(gray, None)
        if not keypoints:
            return Features(
                np.zeros((0, 2), np.float32),
                np.zeros(0, np.float32),
                np.zeros((0, 128), np.int8),
                NO_GLOBAL_DESCRIPTOR,
                size,
            )
        scores = np.array([keypoint.response for keypoint in keypoints], np.float32)
        # Position breaks ties, so that the same image always gives the same order.
        points = np.array([keypoint.pt for keypoint in keypoints], np.float32) - _UPSCALE_SHIFT
        order = np.lexsort((points[:, 1], points[:, 0], -scores))[: self.max_keypoints]
        return Features(points[order], scores[order], quantize(_root(sift[order])), NO_GLOBAL_DESCRIPTOR, size)


def _root(sift: Float32) -> Float32:
    """Turn (N, 128) SIFT into RootSIFT: L1 normalization, then square roots; the result has unit length."""
    return np.sqrt(sift / np.maximum(np.abs(sift).sum(axis=1, keepdims=True), np.float32(1e-6)))


class RootSiftOptions(VladOptions):
    """Options of ``RootSift``, and of the VLAD."""

    max_keypoints: int = Field(default=RootSift.max_keypoints, ge=1)
    contrast_threshold: float = Field(default=RootSift.contrast_threshold, ge=0, lt=1)


@dataclass(frozen=True)
class RootSiftVlad(LocalVlad):
    """``FeatureExtractor`` of RootSIFT with VLAD; without a vocabulary, before ``learn``, it cannot describe."""

    name: ClassVar[str] = "rootsift"
    rootsift: RootSift = field(default_factory=RootSift)

    @classmethod
    def open(cls, settings: dict[str, Any], folder: Path | None) -> "RootSiftVlad":
        """Open the extractor, see ``open_extractor``."""
        own = validated(RootSiftOptions, settings, f"settings of {cls.name}")
        rootsift = RootSift(own.max_keypoints, own.contrast_threshold)
        return cls(rootsift, words=own.words, dimension=own.dimension, vlad=load_vlad(folder))

    @property
    def settings(self) -> dict[str, Any]:
        """Plain values with which ``open`` makes the same extractor."""
        return {**asdict(self.rootsift), "words": self.words, "dimension": self.dimension}

    @property
    def local_id(self) -> str:
        """Identifier of the local features, e.g. ``rootsift-2048-0.02``."""
        return f"{self.name}-{self.rootsift.max_keypoints}-{self.rootsift.contrast_threshold:g}"

    def extract_local(self, image: UInt8) -> Features:
        """Extract RootSIFT features from an image."""
        return self.rootsift.extract(image)
