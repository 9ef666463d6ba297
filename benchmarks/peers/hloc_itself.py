"""Functions of hloc itself, where it is installed, called query by query.

hloc works through whole datasets: each step writes files that the next one reads. Its own functions are called here for
one query at a time, with its files, but without the processes that it starts to load them. The files are:

    keyframes.h5  keypoints and descriptors of the map's images, in the order of the map's COLMAP model
    queries.h5    the same of the queries
    matches.h5    matches of every pair, written and read by hloc
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from pycolmap import Reconstruction, Rigid3d

from peers.pairwise import MAX_ERROR
from peers.setting import TOP_K, Query, Setting
from vizloc_ros.features.types import Features, dequantize
from vizloc_ros.geometry.colmap_camera import colmap_camera
from vizloc_ros.timing import Stopwatch


def is_installed() -> bool:
    """Return true if hloc is there, and what these calls of it need."""
    return all(find_spec(name) is not None for name in ("hloc", "h5py", "torch"))


def write_files(setting: Setting) -> None:
    """Write the features as hloc's extraction does."""
    visual_map = setting.visual_map
    queries = {name: query.corrected_for(visual_map) for name, query in setting.queries.items()}
    keyframes = [
        (name, keyframe.features, descriptor)
        for name, keyframe, descriptor in zip(
            visual_map.keyframe_names, setting.keyframes, visual_map.global_descriptors, strict=True
        )
    ]
    _write(setting.folder / "keyframes.h5", keyframes)
    _write(setting.folder / "queries.h5", [(name, f, f.global_descriptor) for name, f in queries.items()])
    (setting.folder / "matches.h5").unlink(missing_ok=True)


def _write(path: Path, images: list[tuple[str, Features, Any]]) -> None:
    import h5py

    with h5py.File(path, "w", libver="latest") as file:
        for name, features, global_descriptor in images:
            group = file.create_group(name)
            group["keypoints"] = features.keypoints
            group["descriptors"] = dequantize(features.descriptors).T
            group["scores"] = features.scores
            group["global_descriptor"] = global_descriptor
            group["image_size"] = np.array(features.image_size)


class HlocItself:
    """Localization by the functions of hloc."""

    def __init__(self, setting: Setting) -> None:
        """Read the COLMAP model and the global descriptors of the map. Needs the files of ``write_files``."""
        from hloc import localize_sfm, match_features, matchers, pairs_from_retrieval
        from hloc.utils.base_model import dynamic_load

        self._localize_sfm, self._match_features, self._retrieval = localize_sfm, match_features, pairs_from_retrieval
        model_of_matches = match_features.confs["NN-mutual"]["model"]
        self._matcher = dynamic_load(matchers, model_of_matches["name"])(model_of_matches).eval()
        self._folder, self._names = setting.folder, setting.visual_map.keyframe_names
        self._database = pairs_from_retrieval.get_descriptors(self._names, self._folder / "keyframes.h5")
        model = Reconstruction(setting.model_folder)
        self._id_of = {image.name: image_id for image_id, image in model.images.items()}
        self._localizer = localize_sfm.QueryLocalizer(model, {"estimation": {"ransac": {"max_error": MAX_ERROR}}})

    def localize(self, query: Query, clock: Stopwatch) -> Rigid3d | None:
        """Pose map_from_cam of a query; "read" and "write" are the files of one pair of images after the other."""
        with clock("retrieve"):
            names = self.retrieve(query.name)
        if not names:
            return None
        self.match(query.name, names, clock)
        with clock("pose"):
            ids = [self._id_of[name] for name in names]
            answer, _ = self._localize_sfm.pose_from_cluster(
                self._localizer,
                query.name,
                colmap_camera(query.camera),
                ids,
                self._folder / "queries.h5",
                self._folder / "matches.h5",
            )
        model = self._localizer.reconstruction
        cam_from_map: Rigid3d = model.images[ids[0]].cam_from_world() if answer is None else answer["cam_from_world"]
        return cam_from_map.inverse()

    def retrieve(self, name: str) -> list[str]:
        """Names of the most similar keyframes, best first."""
        import torch

        descriptor = self._retrieval.get_descriptors([name], self._folder / "queries.h5")
        scores = torch.einsum("id,jd->ij", descriptor, self._database)
        pairs = self._retrieval.pairs_from_score_matrix(
            scores, np.zeros(scores.shape, bool), min(TOP_K, len(self._names)), min_score=0
        )
        return [self._names[k] for _, k in pairs]

    def match(self, name: str, keyframes: list[str], clock: Stopwatch) -> None:
        """Match a query with keyframes, and write the matches."""
        import torch

        pairs = [(name, keyframe) for keyframe in keyframes]
        dataset = self._match_features.FeaturePairsDataset(
            pairs, self._folder / "queries.h5", self._folder / "keyframes.h5"
        )
        for i, pair in enumerate(pairs):
            with clock("read"):
                data = torch.utils.data.default_collate([dataset[i]])
            with clock("match"), torch.no_grad():
                predicted = self._matcher(data)
            with clock("write"):
                self._match_features.writer_fn(
                    (self._match_features.names_to_pair(*pair), predicted), self._folder / "matches.h5"
                )
