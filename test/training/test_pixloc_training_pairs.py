"""Training data of PixLoc: changed images, and pairs of a query and a keyframe with their common landmarks."""

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycolmap import Rigid3d

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install 'vizloc_ros[train]'")

from vizloc_ros.datasets.record import Record  # noqa: E402
from vizloc_ros.errors import DatasetError  # noqa: E402
from vizloc_ros.features.extractor import open_extractor  # noqa: E402
from vizloc_ros.geometry.poses import perturbed  # noqa: E402
from vizloc_ros.mapping.builder import build_map  # noqa: E402
from vizloc_ros.mapping.visual_map import VisualMap  # noqa: E402
from vizloc_ros.readers import open_dataset  # noqa: E402
from vizloc_ros.training.appearance import Appearance  # noqa: E402
from vizloc_ros.training.pixloc.pixloc_training_options import InitialPoses, PairSource, Partners  # noqa: E402
from vizloc_ros.training.pixloc.training_pairs import Pair, PairDrive  # noqa: E402

pytestmark = pytest.mark.e2e

LONG_SIDE = 128
KINDS = ("gain", "gamma", "night", "noise", "motion", "defocus", "shade", "occlusion")
NOTHING = dict.fromkeys(KINDS, 0)
PARTNERS = Partners(distance=2.2, angle=20, overlap=0.35, landmarks=48)


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (96, 128), dtype=np.uint8)


def smooth(seed: int = 0) -> np.ndarray:
    blurred = cv2.GaussianBlur(noise(seed).astype(np.float32), (0, 0), 2)
    return (128 + 35 * (blurred - blurred.mean()) / blurred.std()).clip(20, 235).astype(np.uint8)


def changed(image: np.ndarray, kind: str, **ranges: Any) -> Iterator[np.ndarray]:
    """Images after this change alone, drawn several times."""
    appearance = Appearance(**{**NOTHING, kind: 1}, **ranges)
    return (appearance.apply(image, np.random.default_rng(seed)) for seed in range(12))


@pytest.mark.parametrize("kind", [*KINDS, "all"])
def test_changes_are_images_and_depend_on_the_random_numbers_alone(kind: str) -> None:
    chances = dict.fromkeys(KINDS, 1) if kind == "all" else {**NOTHING, kind: 1}
    appearance, other = Appearance(**chances), noise(1)
    for image in (smooth(), np.zeros((96, 128), np.uint8), np.full((96, 128), 255, np.uint8), smooth()[:64, :65]):
        kept = image.copy()
        for seed in range(6):
            given = other if other.shape == image.shape and seed % 2 else None
            with np.errstate(all="raise", under="ignore"):
                first, again = (appearance.apply(image, np.random.default_rng(seed), given) for _ in range(2))
            np.testing.assert_array_equal(first, again)
            assert (first.dtype, first.shape) == (np.uint8, image.shape)
        np.testing.assert_array_equal(image, kept)
    drawn = list(changed(smooth(), kind)) if kind != "all" else [appearance.apply(smooth(), np.random.default_rng(1))]
    assert all((image != smooth()).any() for image in drawn)
    assert len({image.tobytes() for image in drawn}) == len(drawn)


def test_strength_scales_the_chances() -> None:
    image, rng = smooth(), np.random.default_rng(0)
    off = Appearance(strength=0)
    assert all((off.apply(image, rng) == image).all() for _ in range(20))
    some = Appearance(**{**NOTHING, "gain": 0.6}, gain_range=(2, 2), strength=0.5)
    ratio = np.mean([(some.apply(image[:8, :8], rng) != image[:8, :8]).any() for _ in range(500)])
    assert ratio == pytest.approx(0.3, abs=0.08)


def test_exposure_and_tone_go_where_they_are_told() -> None:
    image = smooth()
    for kind, darker, brighter in (("gain", (0.2, 0.8), (1.3, 6)), ("gamma", (1.3, 2.5), (0.4, 0.8))):
        assert all((dark <= image).all() for dark in changed(image, kind, **{f"{kind}_range": darker}))
        assert all((bright >= image).all() for bright in changed(image, kind, **{f"{kind}_range": brighter}))
    ends = np.array([[0, 255]] * 2, np.uint8)
    assert all((toned == ends).all() for toned in changed(ends, "gamma"))


def test_a_night_is_dark_and_its_shadows_are_crushed() -> None:
    for image in changed(smooth(), "night", night_light=(0.05, 0.3)):
        assert np.median(image) < 0.35 * np.median(smooth())
        assert image.std() > 0.5, "nothing is left, not even noise"


def test_noise_has_the_deviation_that_is_drawn() -> None:
    found = [
        image.astype(float).std() for image in changed(np.full((96, 128), 128, np.uint8), "noise", noise_range=(4, 20))
    ]
    assert all(3.8 < deviation < 21 for deviation in found)
    assert max(found) > 1.5 * min(found)


@pytest.mark.parametrize("kind", ["motion", "defocus"])
def test_a_blur_takes_detail_but_no_light(kind: str) -> None:
    for image in changed(noise(), kind):
        assert image.std() < 0.85 * noise().std()
        assert image.mean() == pytest.approx(noise().mean(), abs=3)


def test_shade_is_soft_and_leaves_detail() -> None:
    flat = np.full((96, 128), 100, np.uint8)
    for image in changed(flat, "shade"):
        assert 29 <= image.min() <= image.max() <= 140
        steps = np.abs(np.diff(image.astype(int), axis=1)).max(), np.abs(np.diff(image.astype(int), axis=0)).max()
        assert max(steps) < 12


@pytest.mark.parametrize("limits", [(0.05, 0.1), (0.3, 0.4), (0.6, 0.6)])
@pytest.mark.parametrize("other", [None, noise(1)])
def test_obstacles_hide_the_fraction_that_is_drawn(limits: tuple[float, float], other: np.ndarray | None) -> None:
    appearance = Appearance(**{**NOTHING, "occlusion": 1}, occlusion_range=limits)
    largest = 4 * 0.18 * 0.3  # of one obstacle, which may go beyond
    for seed in range(20):
        hidden = (appearance.apply(noise(), np.random.default_rng(seed), other) != noise()).mean()
        assert 0.97 * limits[0] < hidden < limits[1] + largest


@pytest.fixture(scope="module")
def mapped(street_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The map of the folder's eight frames."""
    folder = tmp_path_factory.mktemp("mapped") / "map"
    dataset = open_dataset(f"folder:{street_folder}")
    build_map(dataset.records("map"), open_extractor("rootsift"), folder, dataset=dataset.name)
    return folder


def drive(images: Path, mapped: Path | None, partners: Partners = PARTNERS, **source: Any) -> PairDrive:
    described = PairSource(dataset=f"folder:{images}", map=mapped, **source)
    return PairDrive(described, Path("not used"), partners, LONG_SIDE)


def drawn(of: PairDrive, name: str, count: int = 60, initial_poses: InitialPoses | None = None) -> list[Pair]:
    rng = np.random.default_rng(0)
    return [of.draw(name, initial_poses or InitialPoses(), rng) for _ in range(count)]


def seen(record: Record, points: np.ndarray, opened: VisualMap) -> np.ndarray:
    """(N,) which points the image of a record contains."""
    ideal, _ = record.camera.project((record.world_from_cam.inverse() * points).astype(np.float64))
    pixels = ideal + opened.info.intrinsics_correction(record.camera).shift(ideal, record.camera)
    return record.camera.contains(pixels) & ((record.world_from_cam.inverse() * points)[:, 2] > 0.1)


def test_partners_are_those_near_alike_and_overlapping(street_folder: Path, mapped: Path) -> None:
    opened, dataset = VisualMap.open(mapped), open_dataset(f"folder:{street_folder}")
    keyframes = {record.name: record for record in dataset.records("map")}
    found = drive(street_folder, mapped, query_split="query")
    queries = {record.name: record for record in dataset.records("query")}
    assert found.training == list(queries)
    assert found.validation == []
    left_out = 0
    for name, query in queries.items():
        expected = {}
        for k, partner in enumerate(opened.keyframe_names):
            points = opened.landmark_positions[opened.landmarks_of(k)].astype(np.float64)
            shared = points[seen(query, points, opened)]
            a, b = query.world_from_cam, keyframes[partner].world_from_cam
            turn = np.degrees(np.arccos(a.rotation.matrix()[:, 2] @ b.rotation.matrix()[:, 2]))
            near = np.linalg.norm(a.translation - b.translation) <= PARTNERS.distance and turn <= PARTNERS.angle
            if near and len(shared) >= max(16, PARTNERS.overlap * len(points)):
                expected[partner] = shared.astype(np.float32)
        pairs = drawn(found, name)
        assert {pair.keyframe.name for pair in pairs} == expected.keys()
        left_out += len(keyframes) - len(expected)
        for pair in pairs:
            shared = expected[pair.keyframe.name]
            assert len(pair.points) == min(PARTNERS.landmarks, len(shared))
            assert Counter(map(tuple, pair.points)) <= Counter(map(tuple, shared)), "each at most once"
            assert seen(keyframes[pair.keyframe.name], pair.points.astype(np.float64), opened).mean() > 0.98
    assert left_out > 0


def test_an_image_is_not_aligned_with_itself_and_starts_where_it_is_told(street_folder: Path, mapped: Path) -> None:
    found = drive(street_folder, mapped)
    assert len(found.training) == 8
    initial_poses = InitialPoses(reference=0, translation=1.5, rotation=3)
    distances, angles = [], []
    for pair in drawn(found, found.training[3], initial_poses=initial_poses):
        assert pair.query.name != pair.keyframe.name
        assert pair.query.image.shape == (64, 128)  # of 250 x 400: in multiples of 32
        off = pair.initial_pose * pair.query.cam_from_map.inverse()
        away = pair.initial_pose.inverse().translation - pair.query.cam_from_map.inverse().translation
        distances.append(np.linalg.norm(away))
        angles.append(np.degrees(off.rotation.angle()))
    assert 1 < max(distances) <= 1.5
    assert 2 < max(angles) <= 3
    references = drawn(found, found.training[3], 5, InitialPoses(reference=1))
    assert all((pair.initial_pose.matrix() == pair.keyframe.cam_from_map.matrix()).all() for pair in references)
    again = drawn(found, found.training[3], initial_poses=initial_poses)
    for pair, same in zip(drawn(found, found.training[3], initial_poses=initial_poses), again, strict=True):
        np.testing.assert_array_equal(pair.points, same.points)
        np.testing.assert_array_equal(pair.initial_pose.matrix(), same.initial_pose.matrix())


@pytest.mark.parametrize(("distance", "degrees"), [(0, 0), (2.5, 0), (0, 40), (3, 8)])
def test_a_perturbed_pose_is_off_by_just_that(distance: float, degrees: float) -> None:
    rng = np.random.default_rng(0)
    before = perturbed(Rigid3d(), 5, 60, rng).inverse()
    for _ in range(10):
        after = perturbed(before.inverse(), distance, degrees, rng).inverse()
        away = after.inverse().translation - before.inverse().translation
        assert np.linalg.norm(away) == pytest.approx(distance, abs=1e-9)
        assert np.degrees((after * before.inverse()).rotation.angle()) == pytest.approx(degrees, abs=1e-5)


def test_held_out_images_are_never_trained_on(street_folder: Path, mapped: Path) -> None:
    names = [record.name for record in open_dataset(f"folder:{street_folder}").records("map")]
    found = drive(street_folder, mapped, held_out=0.25, gap=2)
    assert (found.training, found.validation) == (names[:4], names[6:])
    trained = {pair.keyframe.name for name in found.training for pair in drawn(found, name)}
    assert trained & set(names[6:]) == set(), "they are, as keyframes"
    assert trained & set(names[4:6]), "the gap is no query, but may be seen"
    with pytest.raises(DatasetError, match="no two images of it see the same landmarks"):
        drive(street_folder, mapped, held_out=0.25, gap=6)


def test_a_map_is_built_where_there_is_none_and_used_where_there_is(
    street_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = PairSource(dataset=f"folder:{street_folder}", every=2, query_split="query")
    first = PairDrive(source, tmp_path / "own", PARTNERS, LONG_SIDE)
    info = VisualMap.open(tmp_path / "own").info
    assert (info.keyframes, info.extractor.name) == (4, "hfnet")

    def built(*given: object, **named: object) -> None:
        raise AssertionError("it was there")

    monkeypatch.setattr("vizloc_ros.training.pixloc.training_pairs.build_map", built)
    second = PairDrive(source.model_copy(update={"map": tmp_path / "own"}), tmp_path / "other", PARTNERS, LONG_SIDE)
    assert first.training == second.training
    np.testing.assert_array_equal(
        drawn(first, first.training[0], 1)[0].points, drawn(second, first.training[0], 1)[0].points
    )
    with pytest.raises(AssertionError, match="it was there"):
        PairDrive(source, tmp_path / "other", PARTNERS, LONG_SIDE)


def copied(source: Path, folder: Path, *, unposed: str = "", colour: bool = False) -> Path:
    """Copy of a posed folder without the poses of one split, or in color."""
    for path in source.rglob("*.png"):
        (folder / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
        image = cv2.imread(str(path), cv2.IMREAD_COLOR if colour else cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(folder / path.relative_to(source)), image)
    with (source / "poses.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    rows = [row[:3] + [""] * 7 if row[1] == unposed else row for row in rows]
    (folder / "poses.csv").write_text("\n".join(",".join(row) for row in [header, *rows]))
    (folder / "intrinsics.txt").write_bytes((source / "intrinsics.txt").read_bytes())
    return folder


def test_images_in_colour_are_learned_from_as_gray(street_folder: Path, mapped: Path, tmp_path: Path) -> None:
    in_colour = drive(copied(street_folder, tmp_path, colour=True), mapped, query_split="query")
    gray = drive(street_folder, mapped, query_split="query")
    (a,), (b,) = (drawn(each, gray.training[0], 1) for each in (in_colour, gray))
    np.testing.assert_array_equal(a.query.image, b.query.image)


def test_what_cannot_be_learned_from_is_named(street_folder: Path, mapped: Path, tmp_path: Path) -> None:
    unposed = copied(street_folder, tmp_path / "unposed", unposed="query")
    with pytest.raises(DatasetError, match=r"query/000003\.png: has no pose, and training needs one"):
        drive(unposed, mapped, query_split="query")
    unposed_map = copied(street_folder, tmp_path / "unposed_map", unposed="map")
    with pytest.raises(DatasetError, match="8 images have no pose"):
        drive(unposed_map, tmp_path / "none")
    with pytest.raises(DatasetError, match=r"its image map/\d+\.png is not in folder:.*: give another 'map'"):
        drive(street_folder, mapped, every=2)
    far = PARTNERS.model_copy(update={"distance": 0.01})
    with pytest.raises(DatasetError, match=r"folder:.*no two images of it see the same landmarks: lower"):
        drive(street_folder, mapped, far)
    with pytest.raises(DatasetError, match="there are: map, query"):
        drive(street_folder, mapped, query_split="absent")
