"""Smaller maps: whole, consistent, and of the keyframes and landmarks that matter."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from cli_helpers import Vizloc
from point_street import CAMERA, PointStreet, View, write_point_map
from pycolmap import Rigid3d

from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import ConfigError, DatasetError, MapError
from vizloc_ros.evaluation.image_results import ImageMatches, ImageResult, ImageResults
from vizloc_ros.evaluation.map_use import map_use
from vizloc_ros.features.types import quantize
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.mapping.check import map_problems
from vizloc_ros.mapping.map_format import PixLocInfo
from vizloc_ros.mapping.map_writer import add_to_map
from vizloc_ros.mapping.prune import choose_part, covering_keyframes, distinctness, usefulness
from vizloc_ros.mapping.reference_arrays import ReferenceArrays
from vizloc_ros.mapping.visual_map import VisualMap

pytestmark = pytest.mark.e2e


def write_results(folder: Path, visual_map: VisualMap, landmarks: list[list[int]]) -> Path:
    """``images.npz`` of images that these landmarks supported; none for an image that was not localized."""
    images = [
        ImageResult(
            f"{i}.png",
            i,
            None,
            Rigid3d() if ids else None,
            matches=ImageMatches(np.zeros((len(ids) + 1, 2), np.float32), np.array([*ids, -1], np.int32)),
        )
        for i, ids in enumerate(landmarks)
    ]
    folder.mkdir()
    ImageResults(visual_map.folder, {}, images).write(folder / "images.npz")
    return folder


def test_a_pruned_map_is_whole_and_localizes(
    point_map: VisualMap, point_views: list[View], tmp_path: Path, vizloc: Vizloc
) -> None:
    ended = vizloc("map", "prune", point_map.folder, "--keep", "0.5", "--out", tmp_path / "half")
    assert ended.code == 0, ended.err
    assert map_problems(tmp_path / "half") == []
    half = VisualMap.open(tmp_path / "half")
    assert 0.45 * point_map.info.observations < half.info.observations <= 0.5 * point_map.info.observations
    assert half.info.keyframes == 8
    assert half.info.extractor == point_map.info.extractor
    assert (half.info.dataset, half.info.frame) == (point_map.info.dataset, point_map.info.frame)
    assert half.info.build["pruned_to"] == 0.5
    view = PointStreet(seed=1).view(9.0, noise_px=0.3, clutter=150)
    pose = HierarchicalLocalizer(half).localize(half.extractor.describe(view.keyframe.features), CAMERA).pose
    assert pose is not None
    distance, angle = pose_error(pose.map_from_cam, view.keyframe.map_from_cam)
    assert distance < 0.05
    assert angle < 0.1


def test_every_observation_is_one_of_the_whole_map(point_map: VisualMap, tmp_path: Path) -> None:
    part = choose_part(point_map, 0.4)
    part.write({}, tmp_path / "map")
    pruned = VisualMap.open(tmp_path / "map")
    kept = np.unique(point_map.observation_landmarks[part.rows])
    np.testing.assert_array_equal(pruned.landmark_positions, point_map.landmark_positions[kept])
    np.testing.assert_array_equal(kept[pruned.observation_landmarks], point_map.observation_landmarks[part.rows])
    np.testing.assert_array_equal(pruned.observation_descriptors, point_map.observation_descriptors[part.rows])
    np.testing.assert_array_equal(pruned.observation_pixels, point_map.observation_pixels[part.rows])
    np.testing.assert_allclose(pruned.keyframe_poses, point_map.keyframe_poses[part.keyframes], atol=1e-12)
    np.testing.assert_array_equal(pruned.global_descriptors, point_map.global_descriptors[part.keyframes])
    model = pycolmap.Reconstruction(tmp_path / "map" / "sfm")
    assert model.compute_mean_reprojection_error() < 0.5
    for keyframe, name in enumerate(pruned.keyframe_names):
        image = model.image(keyframe + 1)
        assert image.name == name == point_map.keyframe_names[part.keyframes[keyframe]]
        seen = [p.point3D_id - 1 for p in image.points2D if p.has_point3D()]
        assert seen == pruned.landmarks_of(keyframe).tolist()
    assert min(point.track.length() for point in model.points3D.values()) >= 2


def test_references_of_the_tracker_are_kept_and_the_map_may_replace_itself(
    point_map: VisualMap, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(point_map.folder, tmp_path / "map"))
    rng = np.random.default_rng(0)
    count = point_map.info.observations
    features = rng.integers(-100, 100, (count, 8), dtype=np.int8)
    scales = rng.random((count, 1)).astype(np.float16)
    references = ReferenceArrays((features,), scales, scales)
    info = PixLocInfo(model_id="network", dimensions=[8])
    names = ("pixloc_features_0.npy", "pixloc_scales.npy", "pixloc_confidences.npy")
    add_to_map(folder, names, references.save, {"pixloc": info})
    whole = VisualMap.open(folder)
    part = choose_part(whole, 0.3)
    part.write({}, folder)
    assert map_problems(folder) == []
    pruned = VisualMap.open(folder)
    assert pruned.info.pixloc is not None
    assert (pruned.info.pixloc.model_id, pruned.info.pixloc.dimensions) == (info.model_id, info.dimensions)
    assert pruned.info.pixloc.observations == pruned.info.observations_digest
    references = pruned.references_or_raise()
    np.testing.assert_array_equal(references.features[0], features[part.rows])
    np.testing.assert_array_equal(references.confidences, scales[part.rows])


def test_keyframes_that_others_replace_go_first(point_views: list[View], tmp_path: Path) -> None:
    """Six views along the street, and four more of one spot: the spot loses its doubles, the street stays."""
    street = PointStreet(seed=1)
    spot = [street.view(4.0 + 0.1 * i, noise_px=0.3).keyframe for i in range(1, 5)]
    views = [*point_views[::2], *(View(k, np.zeros(0)) for k in spot)]
    write_point_map(views, tmp_path / "map")
    visual_map = VisualMap.open(tmp_path / "map")
    names = np.array(visual_map.keyframe_names)[covering_keyframes(visual_map, 6)]
    assert len(names) == 6
    assert sum(name in {k.name for k in spot} | {point_views[2].keyframe.name} for name in names) == 1


def test_landmarks_that_look_alike_are_less_useful_and_used_ones_more(point_map: VisualMap) -> None:
    descriptors = np.array(point_map.observation_descriptors)
    rows = point_map.observations_of(3)
    twins = point_map.landmarks_of(3)[:2]
    descriptors[rows][:2] = quantize(np.eye(2, 128, dtype=np.float32)[:1])
    changed = replace(point_map, observation_descriptors=descriptors)
    assert (distinctness(changed)[twins] < 0.96 * distinctness(point_map)[twins]).all()
    use = np.zeros(point_map.info.landmarks, np.int64)
    use[twins] = 4
    before, after = usefulness(point_map), usefulness(point_map, use)
    assert (after[twins] > 2 * before[twins]).all()
    others = np.delete(np.arange(len(use)), twins)
    np.testing.assert_array_equal(after[others], before[others])


def test_stats_count_what_queries_used(point_map: VisualMap, tmp_path: Path, vizloc: Vizloc) -> None:
    first, last = (point_map.landmarks_of(k).tolist() for k in (0, 11))
    results = [
        write_results(tmp_path / "a", point_map, [first[:40], [], first[:20]]),
        write_results(tmp_path / "b", point_map, [first[:14]]),
    ]
    use = map_use(point_map, results)
    assert (use.images, use.localized, use.other_maps) == (4, 3, ())
    assert use.landmarks[first[0]] == 3
    assert use.landmarks[first[30]] == 1
    assert use.landmarks.sum() == 40 + 20 + 14
    assert use.keyframes[0] == 2, "14 landmarks are too few for a pose"
    assert use.keyframes[11] == (len(np.intersect1d(first[:40], last)) >= 15)
    ended = vizloc("map", "stats", point_map.folder, *results)
    assert ended.code == 0, ended.err
    assert "3 of 4 (75%)" in ended.out
    assert f"40 of {point_map.info.landmarks}" in ended.out
    assert "keyframes were never used: " in ended.out


def test_used_landmarks_are_kept(point_map: VisualMap, tmp_path: Path) -> None:
    order = np.argsort(usefulness(point_map), kind="stable")
    used = order[: len(order) // 20].tolist()  # those that would go first
    result = write_results(tmp_path / "r", point_map, [used] * 9)
    without, with_use = (
        np.unique(point_map.observation_landmarks[choose_part(point_map, 0.5, use).rows])
        for use in (None, map_use(point_map, [result]).landmarks)
    )
    assert np.isin(used, with_use).mean() > np.isin(used, without).mean() + 0.3


def test_results_that_do_not_fit_are_named(point_map: VisualMap, tmp_path: Path, vizloc: Vizloc) -> None:
    with pytest.raises(DatasetError, match=r"nowhere.*cannot be read"):
        map_use(point_map, [tmp_path / "nowhere"])
    none = write_results(tmp_path / "none", point_map, [[]])
    with pytest.raises(DatasetError, match=r"images\.npz: has no matches: give results of 'vizloc localize'"):
        map_use(point_map, [none])
    foreign = write_results(tmp_path / "foreign", point_map, [[10**6]])
    with pytest.raises(DatasetError, match=r"names landmarks that .* does not have: it is of another map"):
        map_use(point_map, [foreign])
    moved = write_results(tmp_path / "moved", replace(point_map, folder=Path("/old/map")), [[0, 1]])
    ended = vizloc("map", "stats", point_map.folder, moved)
    assert ended.code == 0, ended.err
    assert "results are of /old/map" in ended.out


def test_the_recall_that_pruning_costs_is_shown(
    street_map: VisualMap, street: SyntheticStreet, tmp_path: Path, vizloc: Vizloc
) -> None:
    queries = ("--queries", street.name, "--every", "12")
    ended = vizloc("map", "prune", street_map.folder, "--keep", "0.4", "--out", tmp_path / "map", *queries)
    assert ended.code == 0, ended.err
    assert re.search(r"recall 0\.25 m, 2 deg\W+100\.0%\W+100\.0%", ended.out)


def test_shares_that_leave_no_map_are_refused(point_map: VisualMap, tmp_path: Path) -> None:
    for keep in (0.0, 1.5):
        with pytest.raises(ConfigError, match="is not a share above 0 and up to 1"):
            choose_part(point_map, keep)
    with pytest.raises(MapError, match="no landmark remains: keep more"):
        choose_part(point_map, 1e-5)
    everything = choose_part(point_map, 1.0)
    assert len(everything.rows) == point_map.info.observations
