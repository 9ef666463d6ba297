"""The global head's target: VLAD of the teacher's local descriptors."""

import zipfile
from pathlib import Path

import numpy as np

from vizloc_ros.arrays import UNREADABLE_ARRAY, Float32, UInt8
from vizloc_ros.errors import ConfigError, FeatureError
from vizloc_ros.features.types import NO_GLOBAL_DESCRIPTOR, Features
from vizloc_ros.features.vlad import Vlad
from vizloc_ros.training.distillation.config import HfNetTraining
from vizloc_ros.training.images import TrainingImages
from vizloc_ros.training.teacher.store import TargetStore
from vizloc_ros.training.teacher.targets import Targets

_IMAGES = 1500  # that vocabulary and whitening are learned on
_FEWEST_KEYPOINTS = 20  # an image, or crop, with fewer says nothing about the place


def global_target(vlad: Vlad, targets: Targets) -> Float32:
    """Unit vector (G,) of an image, zero if it has too few keypoints."""
    if len(targets.keypoints) < _FEWEST_KEYPOINTS:
        return np.zeros(vlad.dimension, np.float32)
    return vlad.describe(targets.keypoint_descriptors)


def learn_vlad(path: Path, config: HfNetTraining, images: TrainingImages, store: TargetStore) -> Vlad:
    """Learns vocabulary and whitening on training images and writes them.

    Raises:
        ConfigError: the images are too few for the network's global descriptors.
    """
    dimension = config.network.global_dimension
    chosen = images.draw(_IMAGES, np.random.default_rng(config.seed))
    features = [_as_features(*store.load(file)) for file in sorted(set(chosen))]
    vlad = Vlad.learn(features, words=config.vlad_words, dimension=dimension, seed=config.seed)
    if vlad.dimension != dimension:
        raise ConfigError(
            f"network.global_dimension: {dimension} is more than these images teach: lower it to {vlad.dimension}, or "
            "give at least twice as many images as dimensions"
        )
    np.savez(path, words=vlad.words, mean=vlad.mean, projection=vlad.projection)
    return vlad


def read_vlad(path: Path, dimension: int) -> Vlad:
    """What ``learn_vlad`` wrote.

    Raises:
        ConfigError: the file is missing, damaged, or for global descriptors of another length.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            vlad = Vlad(arrays["words"], arrays["mean"], arrays["projection"])
    except (*UNREADABLE_ARRAY, KeyError, zipfile.BadZipFile, FeatureError) as error:
        raise ConfigError(
            f"{path}: is no vocabulary that 'vizloc train hfnet' wrote ({error}): delete it, and the first stage makes "
            "it again if it trains its global head; or set 'vlad' of the second stage to another"
        ) from error
    if vlad.dimension != dimension:
        raise ConfigError(
            f"{path}: is for global descriptors of {vlad.dimension} elements, the network's have {dimension}: "
            "take the vocabulary of the run that trained it"
        )
    return vlad


def _as_features(image: UInt8, targets: Targets) -> Features:
    scores = np.zeros(len(targets.keypoints), np.float32)
    size = (image.shape[1], image.shape[0])
    return Features(targets.keypoints, scores, targets.keypoint_descriptors, NO_GLOBAL_DESCRIPTOR, size)
