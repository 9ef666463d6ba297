"""Files of hloc (github.com/cvg/Hierarchical-Localization): features, global descriptors, and the folder they are in.

``FEATURES.h5`` has a group for each image, named as the image, slashes included: ``keypoints`` (N, 2), ``descriptors``
(D, N), ``scores`` (N,) and ``image_size``; ``GLOBAL.h5`` has ``global_descriptor`` (G,). Numbers are float16 or
float32. A keypoint's (0, 0) is the center of the top-left pixel; hloc adds COLMAP's 0.5 in its models.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vizloc_ros.arrays import Float32
from vizloc_ros.datasets.colmap import has_model
from vizloc_ros.errors import DatasetError, InputError

_LOCAL, _GLOBAL = {"keypoints", "descriptors"}, {"global_descriptor"}


@dataclass(frozen=True)
class LocalFeatures:
    """Local features of an image as hloc stores them.

    Attributes:
        keypoints: (N, 2) pixels in the image as it was photographed [px].
        scores: (N,) detection scores; zero if the file has none.
        descriptors: (N, D) unit vectors.
    """

    keypoints: Float32
    scores: Float32
    descriptors: Float32


@dataclass(frozen=True)
class HlocFiles:
    """Outputs of hloc.

    Attributes:
        model: folder of the COLMAP model.
        features: file of the local features.
        global_features: file of the global descriptors; None without one.
    """

    model: Path
    features: Path
    global_features: Path | None

    @classmethod
    def find(
        cls, folder: Path, model: Path | None = None, features: Path | None = None, global_features: Path | None = None
    ) -> "HlocFiles":
        """Find the outputs in a folder; those that are given are taken.

        Raises:
            DatasetError: one is missing, or there are several.
            InputError: h5py is not installed.
        """
        if not folder.is_dir():
            raise DatasetError(f"{folder}: no such folder; it should hold the outputs of hloc")
        kinds = {path: _kind(path) for path in sorted(folder.rglob("*.h5"))}
        models = sorted({path.parent for path in folder.rglob("images.*") if has_model(path.parent)})
        locals_ = [path for path, names in kinds.items() if names >= _LOCAL]
        globals_ = [path for path, names in kinds.items() if names >= _GLOBAL]
        return cls(
            model or _only(folder, models, "COLMAP model", "--sfm"),
            features or _only(folder, locals_, "file of local features", "--features"),
            global_features
            or (_only(folder, globals_, "file of global descriptors", "--global") if globals_ else None),
        )

    def local(self, names: Sequence[str]) -> Iterator[LocalFeatures]:
        """Read the local features of some images. Raises ``DatasetError`` for an image that the file lacks."""
        with _opened(self.features) as file:
            for name in names:
                keypoints, descriptors = (
                    _array(file, self.features, name, key) for key in ("keypoints", "descriptors")
                )
                count = len(keypoints)
                if keypoints.shape != (count, 2) or descriptors.shape[1:] != (count,):
                    raise DatasetError(
                        f"{self.features}: image {name} has keypoints {list(keypoints.shape)} and descriptors "
                        f"{list(descriptors.shape)}; expected [N, 2] and [D, N]"
                    )
                scores = _array(file, self.features, name, "scores") if "scores" in file[name] else np.zeros(count)
                norms = np.linalg.norm(descriptors, axis=0)
                yield LocalFeatures(
                    keypoints, np.asarray(scores, np.float32), (descriptors / np.maximum(norms, 1e-9)).T
                )

    def global_descriptors(self, names: Sequence[str]) -> Iterator[Float32]:
        """Read the global descriptors (G,) of some images, as unit vectors; empty ones without a file."""
        if self.global_features is None:
            yield from (np.zeros(0, np.float32) for _ in names)
            return
        with _opened(self.global_features) as file:
            for name in names:
                descriptor = _array(file, self.global_features, name, "global_descriptor").ravel()
                yield descriptor / max(float(np.linalg.norm(descriptor)), 1e-9)


def _only(folder: Path, found: Sequence[Path], what: str, option: str) -> Path:
    if len(found) == 1:
        return found[0]
    if not found:
        raise DatasetError(f"{folder}: has no {what}: name one with {option}")
    names = ", ".join(str(path.relative_to(folder)) for path in found)
    raise DatasetError(f"{folder}: has more than one {what}: {names}: name one with {option}")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open an HDF5 file. Raises ``DatasetError`` if it cannot be read, ``InputError`` if h5py is not installed."""
    try:
        import h5py
    except ImportError as error:
        raise InputError(f"{path}: needs h5py ({error}): pip install 'vizloc_ros[hloc]', or h5py") from None
    try:
        file = h5py.File(path, "r", libver="latest")
    except OSError as error:
        raise DatasetError(f"{path}: is missing or no HDF5 file ({error}): copy it again") from error
    with file:
        yield file


def _array(file: Any, path: Path, name: str, key: str) -> Float32:
    try:
        array = np.asarray(file[name][key], np.float32)
    except KeyError:
        raise DatasetError(
            f"{path}: has no {key} of image {name}: the file is of other images than the model"
        ) from None
    except OSError as error:
        raise DatasetError(f"{path}: {key} of image {name} cannot be read ({error}): copy it again") from error
    if not np.isfinite(array).all():
        raise DatasetError(f"{path}: {key} of image {name} are not finite: extract them again")
    return array


def _kind(path: Path) -> set[str]:
    """Names of the arrays of the first image of a file."""
    with _opened(path) as node:
        while len(node) and all(hasattr(child, "keys") for child in node.values()):
            node = next(iter(node.values()))
        return set(node.keys())
