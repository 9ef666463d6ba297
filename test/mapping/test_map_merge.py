"""Several sessions in one map: merged in one frame or through matches, whole, and with common landmarks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import Vizloc
from point_street import CAMERA, PointStreet, View, described, matched
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.errors import MapError
from vizloc_ros.features.extractor import FeatureExtractor
from vizloc_ros.features.types import corrected
from vizloc_ros.geometry.camera import IntrinsicsCorrection
from vizloc_ros.geometry.poses import pose_error, pose_of
from vizloc_ros.geometry.similarity import Similarity
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.localization.session_alignment import align_by_matches
from vizloc_ros.mapping.check import map_problems
from vizloc_ros.mapping.georeference import Georeference, Wgs84
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.map_format import PixLocInfo
from vizloc_ros.mapping.map_merge import known_transform, merge_maps
from vizloc_ros.mapping.map_writer import MapContent, add_to_map, write_map
from vizloc_ros.mapping.prune import choose_part, pruned_report
from vizloc_ros.mapping.reference_arrays import PatchArrays, ReferenceArrays
from vizloc_ros.mapping.triangulation import TriangulationOptions, triangulate
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.parallel import silent

pytestmark = pytest.mark.e2e
SAME = Similarity(1.0, Rigid3d())


@dataclass(frozen=True)
class Sessions:
    """Views of one street, one meter apart, with the extractor of all of them."""

    keyframes: list[Keyframe]
    extractor: FeatureExtractor
    points: dict[str, np.ndarray]

    def write(self, out: Path, chosen: slice | Sequence[Keyframe], **content: object) -> VisualMap:
        """Map of some of the views."""
        keyframes = self.keyframes[chosen] if isinstance(chosen, slice) else chosen
        triangulation = triangulate(keyframes, matched(keyframes), TriangulationOptions(), silent)
        created = datetime(2024, 5, 17, 12, 0, tzinfo=timezone.utc)
        described_as = {"dataset": f"points:{out.name}", "frame": "map", "version": "0.1.0", "created": created}
        write_map(MapContent(keyframes, triangulation, self.extractor, **{**described_as, **content}), {}, out)
        return VisualMap.open(out)


def moved(keyframes: Sequence[Keyframe], transform: Rigid3d, scale: float = 1.0) -> list[Keyframe]:
    """Keyframes in another frame."""
    similarity = Similarity(scale, transform)
    return [replace(k, map_from_cam=similarity.pose(k.map_from_cam)) for k in keyframes]


@pytest.fixture(scope="module")
def sessions() -> Sessions:
    street = PointStreet(seed=1, count=1000)
    views: list[View] = [street.view(1.0 * i, noise_px=0.3, clutter=50) for i in range(24)]
    keyframes, extractor = described([view.keyframe for view in views])
    return Sessions(keyframes, extractor, {v.keyframe.name: v.points for v in views})


@pytest.fixture(scope="module")
def even(sessions: Sessions, tmp_path_factory: pytest.TempPathFactory) -> VisualMap:
    return sessions.write(tmp_path_factory.mktemp("merge") / "even", slice(0, None, 2))


@pytest.fixture(scope="module")
def odd(sessions: Sessions, tmp_path_factory: pytest.TempPathFactory) -> VisualMap:
    return sessions.write(tmp_path_factory.mktemp("merge") / "odd", slice(1, None, 2))


def points_of_landmarks(merged: VisualMap, sessions: Sessions) -> list[set[int]]:
    """Points of the street that each landmark's observations are of, found by their descriptors."""
    of_landmark: list[set[int]] = [set() for _ in range(merged.info.landmarks)]
    keyframes = {k.name: k for k in sessions.keyframes}
    for index, name in enumerate(merged.keyframe_names):
        known = {
            d.tobytes(): p for d, p in zip(keyframes[name].features.descriptors, sessions.points[name], strict=True)
        }
        rows = merged.observations_of(index)
        for row, landmark in enumerate(merged.observation_landmarks[rows].tolist()):
            of_landmark[landmark].add(known[np.asarray(merged.observation_descriptors[rows][row]).tobytes()])
    return of_landmark


def test_landmarks_of_both_maps_become_one_and_the_map_is_whole(
    even: VisualMap, odd: VisualMap, sessions: Sessions, tmp_path: Path
) -> None:
    report = merge_maps(even, odd, SAME, tmp_path / "map")
    assert map_problems(tmp_path / "map") == []
    merged = VisualMap.open(tmp_path / "map")
    assert (report.keyframes, report.new_places, report.known_places, report.linked) == (12, 0, 12, 12)
    assert merged.info.keyframes == 24
    assert merged.info.observations == even.info.observations + odd.info.observations
    assert merged.info.landmarks == even.info.landmarks + odd.info.landmarks - report.joined
    points = points_of_landmarks(merged, sessions)
    assert sum(len(p) > 1 for p in points) <= 0.005 * len(points), "no two points are taken for one"
    distinct = {min(p) for p in points}
    assert len(points) <= 1.03 * len(distinct), "hardly any point has two landmarks"
    assert merged.info.build["mean_reprojection_error_px"] < 0.5
    view = PointStreet(seed=1, count=1000).view(9.5, noise_px=0.3)
    pose = HierarchicalLocalizer(merged).localize(merged.extractor.describe(view.keyframe.features), CAMERA).pose
    assert pose is not None
    assert pose_error(pose.map_from_cam, view.keyframe.map_from_cam)[0] < 0.05


def test_a_map_of_another_frame_is_aligned_through_matches(
    even: VisualMap, sessions: Sessions, tmp_path: Path, vizloc: Vizloc
) -> None:
    """Once rigidly, when told, and once with a scale, as it is unknown."""
    other = Rigid3d(Rotation3d(np.array([0.1, -0.3, 2.0])), np.array([40.0, -70.0, 5.0]))
    for scale, name, options in ((1.0, "metric", ["--align"]), (0.37, "unknown", [])):
        second = sessions.write(tmp_path / name, moved(sessions.keyframes[1::2], other, scale), scale=name)
        ended = vizloc("map", "merge", even.folder, second.folder, "--out", tmp_path / "map", *options)
        assert ended.code == 0, ended.err
        assert f"scale {1 / scale:.3f}"[:-1] in ended.out
        assert "0 of new places, 12 of known ones" in ended.out
        merged = VisualMap.open(tmp_path / "map")
        assert merged.info.scale == "metric"
        by_name = {k.name: k.map_from_cam for k in sessions.keyframes}
        for pose, keyframe in zip(merged.keyframe_poses, merged.keyframe_names, strict=True):
            distance, angle = pose_error(pose_of(pose), by_name[keyframe])
            assert distance < 0.02
            assert angle < 0.05


def test_a_wrong_frame_disagreeing_places_and_other_streets_are_refused(
    even: VisualMap, sessions: Sessions, tmp_path: Path
) -> None:
    odd = sessions.keyframes[1::2]
    aside = Rigid3d(Rotation3d(), np.array([3.0, 0.0, 0.0]))
    shifted = sessions.write(tmp_path / "shifted", moved(odd, aside))
    with pytest.raises(MapError, match=r"shifted: is not in the frame of .*even: 1\d keyframes .* 3 m .*merge --align"):
        align_by_matches(even, shifted, known_transform(even.info, shifted.info))
    halves = sessions.write(tmp_path / "halves", [*odd[:7], *moved(odd[7:], aside)])
    with pytest.raises(MapError, match=r"they disagree: by \d of them such as street/\d+.* 3 m in the median"):
        align_by_matches(even, halves)
    street = PointStreet(seed=2, count=1000)
    views = [street.view(2.0 * i).keyframe for i in range(6)]
    foreign = sessions.write(
        tmp_path / "foreign", [replace(k, features=sessions.extractor.describe(k.features)) for k in views]
    )
    with pytest.raises(MapError, match=r"0 of 6 keyframes were localized in .* 0 of them agree .* but 5 are needed"):
        align_by_matches(even, foreign)
    _, unlike = described(views, seed=5)
    other = Sessions(sessions.keyframes, unlike, {}).write(tmp_path / "other", slice(0, 6))
    with pytest.raises(MapError, match=r"other: its features are .* build it again with that map's extractor"):
        merge_maps(even, other, SAME, tmp_path / "map")


def test_worlds_are_compared_and_coordinates_taken_to_one_frame(sessions: Sessions, tmp_path: Path) -> None:
    """Two maps of one UTM-like world with different origins, the second of which knows the earth."""
    origin = Rigid3d(Rotation3d(), np.array([400.0, -200.0, 0.0]))
    first = sessions.write(tmp_path / "a", slice(0, 14))
    place = Wgs84(latitude=48.0, longitude=9.0, altitude=400.0)
    second = sessions.write(
        tmp_path / "b", moved(sessions.keyframes[10:], origin.inverse()), georeference=Georeference.of(origin, place)
    )
    known = known_transform(first.info, second.info)
    assert known is not None
    assert align_by_matches(first, second, known).agreeing >= 4
    report = merge_maps(first, second, known, tmp_path / "map")
    merged = VisualMap.open(tmp_path / "map")
    assert report.doubles == 0, "the names are the same, but not the datasets"
    assert report.new_places == 14 - report.known_places > 0
    np.testing.assert_allclose(
        merged.keyframe_poses[14:, :3], [k.map_from_cam.translation for k in sessions.keyframes[10:]], atol=1e-9
    )
    assert merged.info.place.datum is not None
    np.testing.assert_allclose(
        (merged.info.place.datum.earth_from_frame * origin).translation, place.earth_from_frame.translation, atol=1e-6
    )
    elsewhere = merged.info.model_copy(
        update={"georeference": Georeference.of(origin, place.model_copy(update={"latitude": 48.1}))}
    )
    assert known_transform(merged.info, elsewhere) is None, "GNSS says that the worlds are not the same"
    assert known_transform(merged.info, first.info.model_copy(update={"scale": "unknown"})) is None


def test_names_that_collide_doubles_and_sessions(
    even: VisualMap, sessions: Sessions, tmp_path: Path, vizloc: Vizloc
) -> None:
    again = [replace(k, timestamp_ns=k.timestamp_ns + 10**12) for k in sessions.keyframes[:12:2]]
    second = sessions.write(tmp_path / "again", again, dataset=even.info.dataset)
    merge_maps(even, second, SAME, tmp_path / "map")
    merged = VisualMap.open(tmp_path / "map")
    assert merged.keyframe_names[12:] == [f"session2/{k.name}" for k in again]
    overlapping = sessions.write(tmp_path / "overlapping", slice(8, 20), dataset=even.info.dataset)
    ended = vizloc("map", "merge", tmp_path / "map", overlapping.folder, "--out", tmp_path / "map")
    assert ended.code == 0, ended.err
    assert "6 keyframes were left out: the same images are in" in ended.out
    merged = VisualMap.open(tmp_path / "map")
    assert len(set(merged.keyframe_names)) == merged.info.keyframes == 24
    assert [s.keyframes for s in merged.info.sessions] == [12, 6, 6]
    out = vizloc("map", "info", tmp_path / "map").out
    assert "6 keyframes of points:even, added 20" in out
    part = choose_part(merged, 0.5)
    part.write(pruned_report(part, 0.5), tmp_path / "half")
    half = VisualMap.open(tmp_path / "half")
    assert sum(s.keyframes for s in half.info.sessions) == half.info.keyframes < 24
    with pytest.raises(MapError, match=r"map: has all images of points:even already"):
        merge_maps(merged, overlapping, SAME, tmp_path / "nothing")


def test_patches_are_joined_if_both_maps_have_them() -> None:
    rng = np.random.default_rng(0)

    def some(count: int, patch: int) -> ReferenceArrays:
        half = rng.random(count).astype(np.float16)
        features = rng.integers(-99, 99, (count, 8), dtype=np.int8)
        patches = PatchArrays(rng.integers(-99, 99, (count, patch), dtype=np.int8), half, half) if patch else None
        return ReferenceArrays((features,), half[:, None], half[:, None], patches)

    one, other = some(3, 16), some(4, 16)
    joined = ReferenceArrays.joined([one, other], [3, 4])
    assert one.patches is not None
    assert other.patches is not None
    assert joined.patches is not None
    np.testing.assert_array_equal(joined.patches.values, np.concatenate([one.patches.values, other.patches.values]))
    np.testing.assert_array_equal(joined.patches.take(np.array([5])).contrasts, other.patches.contrasts[[2]])
    assert joined.take(np.array([1, 2])).patches is not None
    for without in (some(4, 0), some(4, 9)):
        part = ReferenceArrays.joined([one, without], [3, 4])
        assert part.patches is None
        assert len(part.features[0]) == 7


def test_references_of_the_tracker_are_joined_row_by_row(even: VisualMap, odd: VisualMap, tmp_path: Path) -> None:
    rng, written = np.random.default_rng(0), []
    for visual_map in (even, odd):
        count = visual_map.info.observations
        scales = rng.random((count, 1)).astype(np.float16)
        arrays = ReferenceArrays((rng.integers(-99, 99, (count, 8), dtype=np.int8),), scales, scales)
        names = ("pixloc_features_0.npy", "pixloc_scales.npy", "pixloc_confidences.npy")
        pixloc = PixLocInfo(model_id="network", dimensions=[8])
        add_to_map(visual_map.folder, names, arrays.save, {"pixloc": pixloc})
        written.append(arrays)
    first, second = (VisualMap.open(m.folder) for m in (even, odd))
    assert merge_maps(first, second, SAME, tmp_path / "map").no_references == ""
    assert map_problems(tmp_path / "map") == []
    merged = VisualMap.open(tmp_path / "map")
    np.testing.assert_array_equal(
        merged.references_or_raise().features[0], np.concatenate([a.features[0] for a in written])
    )
    np.testing.assert_array_equal(
        merged.observation_descriptors,
        np.concatenate([first.observation_descriptors, second.observation_descriptors]),
    )
    assert merged.references_or_raise().patches is None
    without = replace(second, info=second.info.model_copy(update={"pixloc": None}))
    assert "those of points:odd are missing" in merge_maps(first, without, SAME, tmp_path / "map").no_references
    assert VisualMap.open(tmp_path / "map").info.pixloc is None


def test_equal_cameras_with_other_corrections_get_one(sessions: Sessions, tmp_path: Path) -> None:
    """The images have a distortion, which each map has corrected by a different part."""
    true = IntrinsicsCorrection(0.004, 1.0, -0.5, 0.012)
    maps = []
    for start, part in ((0, 0.8), (1, 1.3)):
        own = IntrinsicsCorrection(*(part * v for v in (true.focal, true.cx, true.cy, true.radial)))
        keyframes = []
        for keyframe in sessions.keyframes[start::2]:
            pixels = keyframe.features.keypoints.astype(np.float64)
            seen = (pixels + true.shift(pixels, CAMERA)).astype(np.float32)
            keyframes.append(
                replace(keyframe, features=corrected(replace(keyframe.features, keypoints=seen), own, CAMERA))
            )
        maps.append(sessions.write(tmp_path / f"{start}", keyframes, corrections={CAMERA: own}))
    merge_maps(*maps, SAME, tmp_path / "map")
    merged = VisualMap.open(tmp_path / "map")
    assert merged.info.cameras == [CAMERA]
    found = merged.info.intrinsics_correction(CAMERA)
    errors = [minus(true, m.info.intrinsics_correction(CAMERA)).max_shift(CAMERA) for m in maps]
    assert minus(true, found).max_shift(CAMERA) < 0.8 * max(errors)
    rows = maps[1].info.observations
    seen = [as_seen(m.observation_pixels[-rows:], m.info.intrinsics_correction(CAMERA)) for m in (merged, maps[1])]
    np.testing.assert_allclose(*seen, atol=0.02)  # the same pixels of the image


def minus(a: IntrinsicsCorrection, b: IntrinsicsCorrection) -> IntrinsicsCorrection:
    """Difference of two corrections."""
    return IntrinsicsCorrection(a.focal - b.focal, a.cx - b.cx, a.cy - b.cy, a.radial - b.radial)


def as_seen(pixels: np.ndarray, correction: IntrinsicsCorrection) -> np.ndarray:
    """Pixels before they were corrected."""
    pixels = np.asarray(pixels, np.float64)
    seen = pixels
    for _ in range(5):
        seen = pixels + correction.shift(seen, CAMERA)
    return seen
