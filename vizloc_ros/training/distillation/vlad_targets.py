"""Targets of the global head: VLAD of the teacher's local descriptors."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vizloc_ros.arrays import UNREADABLE_ARRAY, Float32, UInt8
from vizloc_ros.errors import FeatureError, InputError
from vizloc_ros.features.types import NO_GLOBAL_DESCRIPTOR, Features
from vizloc_ros.features.vlad import Vlad
from vizloc_ros.files import replacing
from vizloc_ros.training.distillation.distillation_options import HfNetTraining
from vizloc_ros.training.fingerprint import fingerprint
from vizloc_ros.training.teacher.target_store import TargetStore
from vizloc_ros.training.teacher.targets import Targets
from vizloc_ros.training.training_images import TrainingImages, identity

_NUM_IMAGES = 1500  # images that vocabulary and whitening are learned on
_MIN_KEYPOINTS = 20  # an image, or crop, with fewer does not characterize a place


def global_target(vlad: Vlad, targets: Targets) -> Float32:
    """Unit vector (G,) of an image, zero if it has too few keypoints."""
    if len(targets.keypoints) < _MIN_KEYPOINTS:
        return np.zeros(vlad.dimension, np.float32)
    return vlad.describe(targets.keypoint_descriptors)


def run_vlad(path: Path, options: HfNetTraining, images: TrainingImages, store: TargetStore) -> Vlad:
    """Vocabulary and whitening of a run: read from its file, or learned on training images and written.

    Args:
        path: file of the run.
        options: options of the run.
        images: training images.
        store: teacher's targets of the images.

    Raises:
        InputError: there are too few images for the network's global descriptors, or the file is another run's.
    """
    dimension = options.network.global_dimension
    chosen = images.sample(_NUM_IMAGES, options.seed)
    origin: dict[str, Any] = {
        "teacher": store.teacher.fingerprint,
        "images": fingerprint(*(identity(file) for file in chosen)),
        "vlad_words": str(options.vlad_words),
    }
    if path.exists():
        return read_vlad(path, dimension, origin)
    features = [_as_features(*store.load(file)) for file in chosen]
    vlad = Vlad.learn(features, words=options.vlad_words, dimension=dimension, seed=options.seed)
    if vlad.dimension != dimension:
        raise InputError(
            f"network.global_dimension: {dimension} is more than these images teach: lower it to {vlad.dimension}, or "
            "give at least twice as many images as dimensions"
        )
    with replacing(path) as file:
        np.savez(file, words=vlad.words, mean=vlad.mean, projection=vlad.projection, **origin)
    return vlad


def read_vlad(path: Path, dimension: int, origin: Mapping[str, str]) -> Vlad:
    """Read the file of ``run_vlad``.

    Args:
        path: the file.
        dimension: length of the global descriptors.
        origin: required entries of the file by name, about the inputs that it was made from.

    Raises:
        InputError: the file is missing, damaged, for global descriptors of another length, or of another origin.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            vlad = Vlad(arrays["words"], arrays["mean"], arrays["projection"])
            changed = [name for name, value in origin.items() if str(arrays[name]) != value]
    except (*UNREADABLE_ARRAY, KeyError, zipfile.BadZipFile, FeatureError) as error:
        raise InputError(
            f"{path}: is no vocabulary that 'vizloc train hfnet' wrote ({error}): delete it, and the first stage makes "
            "it again if it trains its global head; or set 'vlad' of the second stage to another"
        ) from error
    if vlad.dimension != dimension:
        raise InputError(
            f"{path}: is for global descriptors of {vlad.dimension} elements, the network's have {dimension}: "
            "take the vocabulary of the run that trained it"
        )
    if changed:
        raise InputError(
            f"{path}: was learned with another {', '.join(changed)}: give that again, or delete the file, and the "
            "first stage makes it again"
        )
    return vlad


def _as_features(image: UInt8, targets: Targets) -> Features:
    scores = np.zeros(len(targets.keypoints), np.float32)
    size = (image.shape[1], image.shape[0])
    return Features(targets.keypoints, scores, targets.keypoint_descriptors, NO_GLOBAL_DESCRIPTOR, size)
