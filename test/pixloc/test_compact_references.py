"""Compact references: a few distinct views of each landmark, in 6 bits."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from pixloc_helpers import small_extractor, truth

from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import FeatureError
from vizloc_ros.geometry.poses import pose_error, pose_of
from vizloc_ros.mapping.check import map_problems
from vizloc_ros.mapping.map_format import MapInfo
from vizloc_ros.mapping.map_part import MapPart, keyframe_of_rows
from vizloc_ros.mapping.map_writer import add_to_map
from vizloc_ros.mapping.reference_arrays import ReferenceArrays, packed, unpacked
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.pixloc.distinct_views import distinct_views, num_views
from vizloc_ros.pixloc.pose_refiner import MapAligner
from vizloc_ros.pixloc.reference_builder import add_references, read_patches, read_references
from vizloc_ros.pixloc.submap import SubmapSelector
from vizloc_ros.pixloc.view_difference import view_difference

VIEWS = 3


@pytest.fixture(scope="module")
def compact(tracked_map: VisualMap, street: SyntheticStreet, tmp_path_factory: pytest.TempPathFactory) -> VisualMap:
    folder = tmp_path_factory.mktemp("compact") / "map"
    shutil.copytree(tracked_map.folder, folder)
    add_references(folder, street.records("map"), small_extractor(), views=VIEWS)
    return VisualMap.open(folder)


@pytest.mark.parametrize("bits", [2, 4, 6, 7])
def test_integers_of_few_bits_are_packed(bits: int) -> None:
    top = 1 << bits - 1
    integers = np.random.default_rng(0).integers(-top, top, (5, 16), np.int8)
    stored = packed(integers, bits)
    assert (stored.dtype, stored.shape) == (np.uint8, (5, 2 * bits))
    assert_array_equal(unpacked(stored, bits), integers)
    with pytest.raises(FeatureError, match=f"features of 3 elements do not fill bytes with {bits} bits each"):
        packed(integers[:, :3], bits)


def test_chosen_views_are_few_and_near_to_all_others(tracked_map: VisualMap) -> None:
    rows, seen = distinct_views(tracked_map, VIEWS), np.asarray(tracked_map.observation_landmarks)
    assert (np.diff(rows) > 0).all()
    counts = np.bincount(seen)
    assert np.bincount(seen[rows]).max() == VIEWS
    fewer = np.minimum(counts, VIEWS) - np.bincount(seen[distinct_views(tracked_map, VIEWS, same=0)])
    assert 0 <= fewer.sum() < 0.01 * len(counts), "only views from one position are the same"
    landmark = int(counts.argmax())
    keyframes = keyframe_of_rows(tracked_map)
    rays = tracked_map.landmark_positions[landmark] - tracked_map.keyframe_poses[keyframes, :3]

    def farthest(chosen: np.ndarray) -> float:
        """Largest difference of a view of the landmark from the nearest of the chosen ones."""
        all_rows = np.flatnonzero(seen == landmark)
        each = [view_difference(rays[all_rows], np.tile(rays[row], (len(all_rows), 1))) for row in chosen]
        return float(np.min(each, axis=0).max())

    own = rows[seen[rows] == landmark]
    first = np.flatnonzero(seen == landmark)[:VIEWS]
    assert farthest(own) < 0.6 * farthest(first)


def test_views_that_are_alike_have_one_that_stands_for_them(tracked_map: VisualMap) -> None:
    seen, keyframes = np.asarray(tracked_map.observation_landmarks), keyframe_of_rows(tracked_map)
    rays = tracked_map.landmark_positions[seen] - tracked_map.keyframe_poses[keyframes, :3]
    rows = distinct_views(tracked_map, 1000, same=0.5)
    assert len(rows) < 0.7 * len(seen)
    for landmark in range(0, len(tracked_map.landmark_positions), 500):
        views, chosen = rays[seen == landmark], rays[rows[seen[rows] == landmark]]
        each = np.stack([view_difference(views, np.tile(ray, (len(views), 1))) for ray in chosen])
        assert each.min(axis=0).max() <= 0.5
        assert np.linalg.norm(chosen, axis=1).min() == np.linalg.norm(views, axis=1).min()
        between = [view_difference(chosen, np.tile(ray, (len(chosen), 1))) for ray in chosen]
        assert (np.array(between) + np.eye(len(chosen)) > 0.5).all()


def test_a_compact_map_is_small_and_sound(compact: VisualMap, tracked_map: VisualMap) -> None:
    assert map_problems(compact.folder) == []
    info = compact.info.pixloc
    assert info is not None
    assert (info.bits, info.rows) == (6, len(distinct_views(tracked_map, VIEWS)))
    assert str(info) == f"{info.model_id}, compact"
    assert tracked_map.info.pixloc is not None
    assert str(tracked_map.info.pixloc) == info.model_id
    assert info.dimensions == tracked_map.info.pixloc.dimensions
    assert (num_views(compact), num_views(tracked_map)) == (VIEWS, 0)

    def size(visual_map: VisualMap) -> int:
        return sum(file.bytes for name, file in visual_map.info.files.items() if name.startswith("pixloc_"))

    assert size(compact) < 0.83 * info.rows / compact.info.observations * size(tracked_map)


def test_compact_features_are_nearly_those_of_8_bits(compact: VisualMap, tracked_map: VisualMap) -> None:
    rows = distinct_views(tracked_map, VIEWS)[::7]
    for stored, full in zip(read_references(compact, rows), read_references(tracked_map, rows), strict=True):
        one, other = stored.dequantized(unit_features=True), full.dequantized(unit_features=True)
        distances = np.linalg.norm(one.features - other.features, axis=1)
        assert 0.01 < np.median(distances) < 0.05
        assert distances.max() < 0.08
        assert_array_equal(one.confidences, other.confidences)
    patches, of_full = read_patches(compact, rows), read_patches(tracked_map, rows)
    assert patches is not None and of_full is not None  # noqa: PT018
    assert_array_equal(patches.values, of_full.values)


def test_a_submap_has_the_views_that_have_references(compact: VisualMap) -> None:
    pose = pose_of(compact.keyframe_poses[6])
    selector = SubmapSelector(compact)
    references = selector.references_of(selector.keyframes_around(pose), pose)
    assert len(references) > 300
    assert references.levels[0].features.dtype == np.int8
    assert np.abs(references.levels[0].features).max() == 31


def test_images_are_aligned_with_a_compact_map(compact: VisualMap, street: SyntheticStreet) -> None:
    aligner = MapAligner(compact, small_extractor())
    for record in street.records("query")[4:8]:
        aligned = aligner.align(record.read_image(), record.camera, truth(record))
        assert aligned is not None
        assert pose_error(aligned.alignment.cam_from_map.inverse(), truth(record))[0] < 0.05


def test_parts_of_a_compact_map_keep_their_references(compact: VisualMap, tmp_path: Path) -> None:
    keyframes = np.arange(compact.info.keyframes) % 2 == 0
    part = MapPart.of(compact, keyframes, np.ones(compact.info.landmarks, bool))
    part.write({}, tmp_path / "part")
    assert map_problems(tmp_path / "part") == []
    written = VisualMap.open(tmp_path / "part")
    references, whole = written.references_or_raise(), compact.references_or_raise()
    assert references.rows is not None
    assert whole.rows is not None
    before = part.rows[references.rows]
    assert_array_equal(before, np.intersect1d(part.rows, whole.rows))
    assert_array_equal(references.features[0], whole.features[0][whole.indices(before)])
    assert_array_equal(references.has(references.rows.astype(np.int64)), True)


def test_references_of_all_and_of_some_observations_are_joined() -> None:
    rng, half = np.random.default_rng(0), np.zeros((4, 1), np.float16)
    features = rng.integers(0, 256, (4, 8), np.uint8)
    every = ReferenceArrays((features,), half, half, bits=4)
    some = replace(every, rows=np.array([0, 2, 5, 6], np.int32))
    joined = ReferenceArrays.joined([every, some, every], [4, 9, 4])
    assert joined.rows is not None
    assert joined.rows.tolist() == [0, 1, 2, 3, 4, 6, 9, 10, 13, 14, 15, 16]
    assert joined.rows.dtype == np.int32
    assert joined.bits == 4
    assert joined.dimensions == [16]
    asked = np.array([3, 5, 6, 16, 12])
    assert joined.has(asked).tolist() == [True, False, True, True, False]
    assert_array_equal(joined.integers(0, joined.indices(np.array([6]))), unpacked(features[[1]], 4))
    assert ReferenceArrays.joined([every, every], [4, 4]).rows is None


def test_rows_that_cannot_be_are_found(compact: VisualMap, tmp_path: Path) -> None:
    for value in (0, compact.info.observations):
        folder = tmp_path / f"map{value}"
        shutil.copytree(compact.folder, folder)
        rows = np.load(folder / "pixloc_rows.npy")
        rows[7] = value

        def write(to: Path, rows: np.ndarray = rows) -> None:
            np.save(to / "pixloc_rows.npy", rows)

        add_to_map(folder, ["pixloc_rows.npy"], write)
        (problem,) = map_problems(folder)
        assert "pixloc_rows.npy: row 7" in problem or "pixloc_rows.npy: row 8" in problem
        assert "is not an observation after the one before" in problem


def test_all_references_take_the_place_of_compact_ones(
    compact: VisualMap, street: SyntheticStreet, tmp_path: Path
) -> None:
    folder = tmp_path / "map"
    shutil.copytree(compact.folder, folder)
    add_references(folder, street.records("map"), small_extractor())
    assert not (folder / "pixloc_rows.npy").exists()
    assert map_problems(folder) == []


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"rows": 10**6}, "has 1000000 rows for"), ({"bits": 3, "dimensions": [3]}, "3 bits do not fill bytes")],
)
def test_descriptions_that_cannot_be_are_refused(compact: VisualMap, changed: dict[str, Any], said: str) -> None:
    content = compact.info.model_dump()
    content["pixloc"] |= changed
    with pytest.raises(ValueError, match=said):
        MapInfo.model_validate(content)
