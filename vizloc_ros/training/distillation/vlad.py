"""The global head's targets: VLAD of the teacher's local descriptors of clean images."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vizloc_ros.arrays import UNREADABLE_ARRAY, Float32
from vizloc_ros.errors import ConfigError, FeatureError
from vizloc_ros.features.vlad import Vlad
from vizloc_ros.parallel import Progress, silent
from vizloc_ros.training.photos import Photo
from vizloc_ros.training.target_store import TargetStore

_FEWEST_KEYPOINTS = 20  # an image with fewer says nothing about the place


def read_vlad(path: Path, dimension: int) -> Vlad:
    """Vocabulary and whitening as the first stage wrote them.

    Raises:
        ConfigError: the file is missing, damaged, or for global descriptors of another length.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            vlad = Vlad(arrays["words"], arrays["mean"], arrays["projection"])
    except (*UNREADABLE_ARRAY, KeyError, zipfile.BadZipFile, FeatureError) as error:
        raise ConfigError(
            f"{path}: is no vocabulary that 'vizloc train hfnet' wrote ({error}): set 'vlad', or train the first stage "
            "with its global head"
        ) from error
    if vlad.dimension != dimension:
        raise ConfigError(
            f"{path}: is for global descriptors of {vlad.dimension} elements, the network's have {dimension}: "
            "take the vocabulary of the run that trained it"
        )
    return vlad


def global_targets(
    photos: Sequence[Photo], store: TargetStore, vlad: Vlad, kept: Path, progress: Progress = silent
) -> Float32:
    """Targets (N, G) of photos: unit vectors, zero for images with too few keypoints.

    Args:
        photos: the images.
        store: asks the teacher, or knows what it said about files.
        vlad: vocabulary and whitening.
        kept: a ``.npy`` file for these photos, teacher and vocabulary only, made if it is not there.
        progress: shows how far it is.

    Raises:
        ConfigError: the file is damaged.
    """
    if kept.exists():
        try:
            return np.load(kept, allow_pickle=False)
        except UNREADABLE_ARRAY as error:
            raise ConfigError(f"{kept}: cannot be read ({error}): delete it, and it is made again") from error
    described = np.zeros((len(photos), vlad.dimension), np.float32)
    for i, photo in progress(list(enumerate(photos)), "teacher", len(photos)):
        known = store.teacher.targets(photo.read()) if photo.path is None else store.load(photo.path)[1]
        if len(known.keypoints) >= _FEWEST_KEYPOINTS:
            described[i] = vlad.describe(known.keypoint_descriptors)
    kept.parent.mkdir(parents=True, exist_ok=True)
    aside = kept.with_suffix(".part.npy")
    np.save(aside, described)
    aside.replace(kept)
    return described
