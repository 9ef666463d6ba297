"""Reference features in the map, and submaps around a camera."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from pixloc_helpers import small_extractor
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import Float16
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import FeatureError, MapError
from vizloc_ros.geometry.poses import pose_of, transform_points
from vizloc_ros.geometry.se3 import se3_exp
from vizloc_ros.mapping.check import map_problems
from vizloc_ros.mapping.map_format import read_info
from vizloc_ros.mapping.map_writer import add_to_map
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.pixloc.extractors.ablations import Coarse
from vizloc_ros.pixloc.landmark_precision import precision_weights, projection_std
from vizloc_ros.pixloc.patches import sample_patches
from vizloc_ros.pixloc.pose_refiner import MapAligner
from vizloc_ros.pixloc.reference_builder import add_references, read_patches, read_references
from vizloc_ros.pixloc.references import sample_references
from vizloc_ros.pixloc.submap import SubmapOptions, SubmapSelector
from vizloc_ros.pixloc.view_difference import view_difference

BEHIND = Rigid3d(Rotation3d(np.array([0.0, np.pi, 0.0])), np.zeros(3))  # looking back


@pytest.fixture
def copied(tracked_map: VisualMap, tmp_path: Path) -> Path:
    folder = tmp_path / "map"
    shutil.copytree(tracked_map.folder, folder)
    return folder


def pose_at(visual_map: VisualMap, keyframe: int) -> Rigid3d:
    return pose_of(visual_map.keyframe_poses[keyframe])


def test_reference_features_are_sampled_at_the_projections_of_the_landmarks(
    tracked_map: VisualMap, street: SyntheticStreet
) -> None:
    keyframe, extractor = 7, small_extractor()
    record = next(r for r in street.records("map") if r.name == tracked_map.keyframe_names[keyframe])
    rows = np.arange(*tracked_map.observation_offsets[keyframe : keyframe + 2])
    points = np.asarray(tracked_map.landmark_positions[tracked_map.landmarks_of(keyframe)], np.float64)
    pixels, _ = record.camera.project(transform_points(pose_at(tracked_map, keyframe).inverse(), points))
    pixels += tracked_map.info.intrinsics_correction(record.camera).shift(pixels, record.camera)
    pyramid = extractor.extract(record.read_image())
    for level, stored in zip(pyramid.levels, read_references(tracked_map, rows), strict=True):
        expected, restored = sample_references(level, pixels, normalize=True), stored.dequantized(unit_features=True)
        assert np.linalg.norm(restored.features - expected.features, axis=1).max() < 0.03
        np.testing.assert_allclose(restored.confidences, expected.confidences, atol=1e-3)
    quantized = read_patches(tracked_map, rows)
    assert pyramid.smoothed is not None
    assert quantized is not None
    depths = transform_points(pose_at(tracked_map, keyframe).inverse(), points)[:, 2]
    patches, restored_patches = (
        sample_patches(pyramid.smoothed, pixels, record.camera.fx / depths),
        quantized.dequantized(),
    )
    assert np.linalg.norm(restored_patches.values - patches.values, axis=1).max() < 0.03
    np.testing.assert_allclose(restored_patches.contrasts, patches.contrasts, rtol=1e-3)
    np.testing.assert_allclose(restored_patches.resolutions, patches.resolutions, rtol=1e-3)


def test_a_map_with_reference_features_is_complete_and_names_their_network(tracked_map: VisualMap) -> None:
    assert map_problems(tracked_map.folder) == []
    assert tracked_map.info.pixloc is not None
    assert tracked_map.info.pixloc.model_id == small_extractor().model_id
    tracked_map.require_references(small_extractor().model_id)


def test_reference_features_can_be_replaced(copied: Path, street: SyntheticStreet) -> None:
    before = (copied / "pixloc_features_0.npy").read_bytes()
    assert add_references(copied, street.records("map"), small_extractor()) > 0
    assert (copied / "pixloc_features_0.npy").read_bytes() == before
    assert map_problems(copied) == []


def test_a_map_of_before_has_no_patches_and_is_tracked_without(
    copied: Path, tracked_map: VisualMap, street: SyntheticStreet
) -> None:
    before = Coarse(small_extractor())
    size = add_references(copied, street.records("map"), before)
    assert size < sum(f.bytes for n, f in tracked_map.info.files.items() if n.startswith("pixloc_"))
    assert map_problems(copied) == []
    assert not (copied / "pixloc_patches.npy").exists()
    old = VisualMap.open(copied)
    assert old.info.pixloc is not None
    assert old.info.pixloc.patch == 0
    submap = SubmapSelector(old).around(pose_at(old, 4))
    assert submap is not None
    assert submap.references.patches is None
    record = street.records("query")[6]
    assert record.world_from_cam is not None
    aligned = MapAligner(old, small_extractor()).align(record.read_image(), record.camera, record.world_from_cam)
    assert aligned is not None
    assert len(aligned.alignment.iterations) == len(aligned.pyramid)
    fine = MapAligner(tracked_map, small_extractor())
    refined = fine.align(record.read_image(), record.camera, record.world_from_cam)
    assert refined is not None
    assert len(refined.alignment.iterations) == 1 + len(refined.pyramid)


def test_contrasts_and_resolutions_that_cannot_be_are_found(copied: Path) -> None:
    info = read_info(copied)
    assert info.pixloc is not None
    for name, value in (("pixloc_contrasts", -1), ("pixloc_resolutions", np.nan)):
        values = np.load(copied / f"{name}.npy")
        values[3] = value

        def write(folder: Path, name: str = name, values: Float16 = values) -> None:
            np.save(folder / f"{name}.npy", values)

        add_to_map(copied, [f"{name}.npy"], write)
    problems = map_problems(copied)
    assert len(problems) == 2
    assert "pixloc_contrasts.npy: row 3" in problems[0]
    assert "is negative or not finite" in problems[0]
    assert "pixloc_resolutions.npy: row 3" in problems[1]


def test_other_weights_are_refused(tracked_map: VisualMap) -> None:
    with pytest.raises(
        FeatureError, match=r"features are of pixloc-light-.*but the tracker here is other: use .*add-pixloc"
    ):
        tracked_map.require_references("other")


def test_a_map_without_reference_features_is_refused(street_map: VisualMap) -> None:
    with pytest.raises(
        FeatureError, match="has no reference features for the tracker: add them with 'vizloc map add-pixloc"
    ):
        SubmapSelector(street_map)
    with pytest.raises(FeatureError, match="has no reference features"):
        read_references(street_map, np.zeros(1, np.int64))


def test_images_of_another_dataset_are_refused(copied: Path, street: SyntheticStreet) -> None:
    with pytest.raises(MapError, match=r"of its images are not in the dataset, the first is .*give the dataset"):
        add_references(copied, street.records("query"), small_extractor())
    assert map_problems(copied) == []


@pytest.mark.parametrize(
    "name", ["pixloc_features_1.npy", "pixloc_scales.npy", "pixloc_confidences.npy", "pixloc_patches.npy"]
)
def test_damaged_reference_features_are_found(copied: Path, name: str) -> None:
    content = bytearray((copied / name).read_bytes())
    content[-3] ^= 8
    (copied / name).write_bytes(content)
    (problem,) = map_problems(copied)
    assert problem.startswith(f"{copied / name}: its bytes are not those that were written")
    (copied / name).unlink()
    with pytest.raises(MapError, match=name):
        VisualMap.open(copied)


def test_the_nearest_keyframes_come_first(tracked_map: VisualMap) -> None:
    selector = SubmapSelector(tracked_map, SubmapOptions(keyframes=3))
    assert selector.keyframes_around(pose_at(tracked_map, 9))[0] == 9
    assert set(selector.keyframes_around(pose_at(tracked_map, 9))) == {8, 9, 10}


def test_keyframes_of_other_directions_are_not_chosen(tracked_map: VisualMap) -> None:
    selector = SubmapSelector(tracked_map)
    assert len(selector.keyframes_around(pose_at(tracked_map, 9) * BEHIND)) == 0
    assert selector.around(pose_at(tracked_map, 9) * BEHIND) is None


def test_keyframes_that_are_not_covisible_with_the_best_are_not_chosen(tracked_map: VisualMap) -> None:
    chosen = SubmapSelector(tracked_map, SubmapOptions(keyframes=100)).keyframes_around(pose_at(tracked_map, 0))
    known = set(tracked_map.landmarks_of(0).tolist())
    connected = [k for k in range(tracked_map.info.keyframes) if known & set(tracked_map.landmarks_of(k).tolist())]
    assert sorted(chosen) == connected


FAR = {"refresh_ratio": 10.0}  # landmarks are never too near for ``refresh_distance``


def forward(pose: Rigid3d, meters: float) -> Rigid3d:
    return pose * Rigid3d(Rotation3d(), np.array([0, 0, meters]))


def test_a_submap_is_kept_until_the_camera_has_moved(tracked_map: VisualMap) -> None:
    selector = SubmapSelector(tracked_map, SubmapOptions(refresh_distance=1.0, refresh_angle=5.0, **FAR))
    here = pose_at(tracked_map, 5)
    first = selector.around(here)
    assert first is not None
    assert selector.around(forward(here, 0.5)) is first
    assert selector.around(forward(here, 0.6)) is not first
    assert selector.around(here * Rigid3d(Rotation3d(np.array([0, np.radians(6), 0])), np.zeros(3))) is not first


def test_a_submap_of_near_landmarks_is_kept_for_a_shorter_way(tracked_map: VisualMap) -> None:
    here = pose_at(tracked_map, 5)
    submap = SubmapSelector(tracked_map, SubmapOptions(refresh_distance=100.0)).around(here)
    assert submap is not None
    distances = np.linalg.norm(submap.references.positions - here.translation, axis=1)
    assert submap.way == pytest.approx(0.15 * np.median(distances))


def test_a_camera_that_turns_back_gets_another_submap(tracked_map: VisualMap) -> None:
    start = pose_at(tracked_map, 9)
    selector = SubmapSelector(tracked_map, SubmapOptions(refresh_distance=2.0, **FAR))
    on_the_way = [selector.around(forward(start, -0.5 * i)) for i in range(5)]
    last = on_the_way[-1]
    assert last is not None
    assert selector.around(forward(start, -2.0)) is last  # its middle is 2.4 m behind the start
    assert selector.around(forward(start, -1.0)) is not last


ALL = {"max_view_difference": 1e6}


def test_a_submap_is_chosen_for_the_middle_of_its_use(tracked_map: VisualMap) -> None:
    start = pose_of(tracked_map.keyframe_poses[3])
    poses = [forward(start, 0.5 * i) for i in range(8)]
    options = SubmapOptions(refresh_distance=1.8, **FAR)
    selector, fresh = SubmapSelector(tracked_map, options), SubmapSelector(tracked_map, options)
    submaps = [selector.around(pose) for pose in poses]
    firsts = [next(i for i, other in enumerate(submaps) if other is submap) for submap in submaps]
    assert firsts == [0, 0, 2, 2, 2, 2, 6, 6]
    ahead = forward(poses[2], 0.81)
    expected = fresh.references_of(fresh.keyframes_around(ahead), ahead)
    assert submaps[2] is not None
    np.testing.assert_array_equal(submaps[2].references.landmark_ids, expected.landmark_ids)
    carried_away = pose_of(tracked_map.keyframe_poses[20])
    there = selector.around(carried_away)
    assert there is not None
    expected = fresh.references_of(fresh.keyframes_around(carried_away), carried_away)
    np.testing.assert_array_equal(there.references.landmark_ids, expected.landmark_ids)


def test_a_submap_has_each_landmark_once_from_the_most_similar_view(tracked_map: VisualMap) -> None:
    selector, here = SubmapSelector(tracked_map, SubmapOptions(keyframes=4, **ALL)), pose_at(tracked_map, 6)
    keyframes = selector.keyframes_around(here)
    stored = selector.references_of(keyframes, here)
    seen = {int(k): tracked_map.landmarks_of(int(k)) for k in keyframes}
    assert sorted(stored.landmark_ids) == sorted(set(np.concatenate(list(seen.values())).tolist()))
    np.testing.assert_array_equal(stored.positions, np.asarray(tracked_map.landmark_positions)[stored.landmark_ids])
    assert tracked_map.references is not None
    for point, landmark, features in zip(stored.positions, stored.landmark_ids, stored.levels[0].features, strict=True):
        views = [k for k, landmarks in seen.items() if landmark in landmarks]
        rays = np.array([point - tracked_map.keyframe_poses[k, :3] for k in views])
        best = views[int(view_difference(rays, np.tile(point - here.translation, (len(views), 1))).argmin())]
        row = tracked_map.observation_offsets[best] + int(np.flatnonzero(seen[best] == landmark)[0])
        np.testing.assert_array_equal(features, tracked_map.references.features[0][row])


def test_landmarks_of_different_views_are_left_out(tracked_map: VisualMap) -> None:
    here, options = pose_at(tracked_map, 6), SubmapOptions(keyframes=20, max_view_difference=0.5, min_landmarks=10)
    selector = SubmapSelector(tracked_map, options)
    keyframes = selector.keyframes_around(here)
    alike = selector.references_of(keyframes, here)
    everything = SubmapSelector(tracked_map, SubmapOptions(keyframes=20, **ALL)).references_of(keyframes, here)
    assert set(alike.landmark_ids.tolist()) < set(everything.landmark_ids.tolist())
    at_least = SubmapSelector(tracked_map, options.model_copy(update={"min_landmarks": len(alike) + 50}))
    assert len(at_least.references_of(keyframes, here)) >= len(alike) + 50


def test_landmarks_that_all_keyframes_saw_from_far_off_are_left_out(tracked_map: VisualMap) -> None:
    """Beyond the map's end, they look larger than anything that was mapped."""
    selector, last = SubmapSelector(tracked_map), len(tracked_map.keyframe_poses) - 1
    counts = []
    for meters in (0.0, 3.0, 6.0, 9.0):
        beyond = forward(pose_at(tracked_map, last), meters)
        keyframes = selector.keyframes_around(beyond)
        references = selector.references_of(keyframes, beyond)
        counts.append(len(references))
        for position, landmark in zip(references.positions, references.landmark_ids, strict=True):
            centers = [tracked_map.keyframe_poses[k, :3] for k in keyframes if landmark in tracked_map.landmarks_of(k)]
            nearest = min(float(np.linalg.norm(position - center)) for center in centers)
            assert nearest <= 1.51 * float(np.linalg.norm(position - beyond.translation))
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < 0.5 * counts[0]


def test_without_a_landmark_there_is_no_submap(tracked_map: VisualMap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vizloc_ros.pixloc.submap._MOST_ENLARGED", 0.0)
    assert SubmapSelector(tracked_map).around(pose_at(tracked_map, 5)) is None


def test_enough_landmarks_in_view_are_kept_where_the_most_similar_ones_are_elsewhere(tracked_map: VisualMap) -> None:
    """Of a camera that has turned to the side, landmarks in view are those at the border of the keyframes."""
    ahead = pose_at(tracked_map, 6)
    here = ahead * se3_exp(np.array([0, 0, 0, 0, np.radians(55), 0]))
    options = SubmapOptions(keyframes=20, max_view_difference=0.3, min_landmarks=60)
    selector = SubmapSelector(tracked_map, options)
    camera = tracked_map.info.cameras[0]

    def in_view(positions: np.ndarray) -> int:
        rays = (positions - here.translation) @ here.rotation.matrix()
        return int((camera.fx * np.abs(rays[:, 0]) < camera.width / 2 * rays[:, 2]).sum())

    keyframes = selector.keyframes_around(here)
    seen = np.unique(np.concatenate([tracked_map.landmarks_of(int(k)) for k in keyframes]))
    available = in_view(np.asarray(tracked_map.landmark_positions, float)[seen])
    kept = selector.references_of(keyframes, here)
    assert available > 20
    assert in_view(kept.positions) >= 0.8 * min(available, options.min_landmarks)
    assert len(kept) >= options.min_landmarks


def test_a_full_submap_keeps_the_landmarks_of_the_most_similar_views(tracked_map: VisualMap) -> None:
    here = pose_at(tracked_map, 6)
    selector = SubmapSelector(tracked_map, SubmapOptions(keyframes=5, max_landmarks=60))
    best = selector.keyframes_around(here)
    stored = selector.references_of(best, here)
    assert len(stored) == 60
    assert set(stored.landmark_ids.tolist()) <= set(tracked_map.landmarks_of(6).tolist())


def test_views_differ_by_distance_and_angle() -> None:
    ahead, aside = (
        np.array([[0.0, 0.0, 10.0]]),
        np.array([[10 * np.sin(np.radians(15)), 0.0, 10 * np.cos(np.radians(15))]]),
    )
    assert view_difference(ahead, ahead) == pytest.approx(0, abs=1e-6)
    assert view_difference(ahead, 1.3 * ahead) == pytest.approx(1)
    assert view_difference(ahead, aside) == pytest.approx(1)


def test_observations_are_averaged_by_confidence(tracked_map: VisualMap) -> None:
    options, here = SubmapOptions(keyframes=3, average=3, **ALL), pose_at(tracked_map, 6)
    keyframes = SubmapSelector(tracked_map, options).keyframes_around(here)
    averaged = SubmapSelector(tracked_map, options).references_of(keyframes, here)
    landmark = next(
        int(number)
        for number in averaged.landmark_ids
        if all(number in tracked_map.landmarks_of(int(k)) for k in keyframes)
    )
    rows = np.concatenate(
        [
            np.flatnonzero(tracked_map.landmarks_of(int(k)) == landmark) + tracked_map.observation_offsets[k]
            for k in keyframes
        ]
    )
    levels = read_references(tracked_map, rows)
    at = int(np.flatnonzero(averaged.landmark_ids == landmark)[0])
    rays = averaged.positions[at] - np.vstack([tracked_map.keyframe_poses[keyframes, :3], here.translation])
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    (weight,) = precision_weights(projection_std(rays[:-1], np.zeros(len(keyframes), np.int64), rays[-1:]))
    for level, stored in zip(averaged.levels, levels, strict=True):
        each = stored.dequantized(unit_features=True)
        mean = (each.features * each.confidences[:, None]).sum(axis=0)
        found = level.dequantized(unit_features=True)
        np.testing.assert_allclose(found.features[at], mean / np.linalg.norm(mean), atol=0.01)
        assert found.confidences[at] == pytest.approx(weight * each.confidences.mean(), abs=1e-3)


def test_reference_features_of_another_map_are_refused(copied: Path) -> None:
    scales = np.load(copied / "pixloc_scales.npy")
    np.save(copied / "pixloc_scales.npy", scales[:5])
    with pytest.raises(MapError, match=r"pixloc_scales\.npy: holds float16\[5, 4\], but map.yaml says"):
        VisualMap.open(copied)
