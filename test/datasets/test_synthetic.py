import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from vizloc_ros.datasets.record import Dataset, Record
from vizloc_ros.datasets.synthetic import SyntheticStreet, open_synthetic
from vizloc_ros.datasets.synthetic.route import LOOP_LENGTH
from vizloc_ros.datasets.synthetic.world import build_world
from vizloc_ros.errors import DatasetError

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def street() -> SyntheticStreet:
    return open_synthetic("")


def positions(records: list[Record]) -> np.ndarray:
    return np.array([record.world_from_cam.translation for record in records])


def pixel_grid(record: Record, step: int) -> np.ndarray:
    x, y = np.meshgrid(np.arange(0, record.camera.width, step), np.arange(0, record.camera.height, step))
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)


def unproject(record: Record, pixels: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """(N, 3) world points of whole pixels; the sky is left to the caller."""
    points = record.camera.rays(pixels) * depth[pixels[:, 1].astype(int), pixels[:, 0].astype(int), None]
    return points @ record.world_from_cam.rotation.matrix().T + record.world_from_cam.translation


def sample(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Bilinear samples (N,) of an image at (N, 2) pixels."""
    height, width = image.shape
    x, y = np.clip(points, 0, (width - 1.001, height - 1.001)).T
    left, top = x.astype(int), y.astype(int)
    x, y = x - left, y - top
    above = (1 - x) * image[top, left] + x * image[top, left + 1]
    below = (1 - x) * image[top + 1, left] + x * image[top + 1, left + 1]
    return (1 - y) * above + y * below


def test_is_a_dataset_with_a_lap_to_map_and_one_to_localize(street):
    dataset: Dataset = street
    assert dataset.name == "synthetic:"
    assert list(dataset.splits) == ["map", "query"]
    for split in dataset.splits:
        records = dataset.records(split)
        assert {record.split for record in records} == {split}
        assert records[7].name == f"{split}/000007"
        assert len({record.name for record in records}) == len(records) > 250
    with pytest.raises(DatasetError, match="no split 'train'; the splits are map, query"):
        dataset.records("train")


def test_specification_sets_seed_size_length_rate_and_speed():
    street = open_synthetic("seed=3&length=4,width=320,height=200&rate=20,speed=8")
    records = street.records("map")
    assert len(records) == 10
    assert records[0].camera.size == (320, 200)
    assert records[1].timestamp_ns - records[0].timestamp_ns == 50_000_000
    assert np.linalg.norm(np.diff(positions(records), axis=0), axis=1) == pytest.approx(0.4, abs=0.02)
    field_of_view = 2 * np.degrees(np.arctan(160 / records[0].camera.fx))
    assert 80 <= field_of_view <= 90


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("sed=3", "no key 'sed'; the keys are seed, length"),
        ("seed", "seed is ''; it must be a whole number from 0"),
        ("seed=1.5", "seed is '1.5'"),
        ("seed=-1", "seed is '-1'"),
        ("length=nan", "length is 'nan'; it must be a number from 0.1 to 158"),
        ("length=1e9", "length is '1e9'"),
        ("width=640&height=tall", "height is 'tall'; it must be a whole number from 64 to 4096"),
        ("rate=0", "rate is '0'"),
        ("speed=inf", "speed is 'inf'"),
    ],
)
def test_specification_errors_name_the_key_and_what_is_allowed(spec, complaint):
    with pytest.raises(DatasetError) as error:
        open_synthetic(spec)
    assert complaint in str(error.value)
    assert f"synthetic:{spec}" in str(error.value)


def test_opening_builds_no_world():
    built = build_world.cache_info().misses
    open_synthetic("seed=4294967295").records("query")
    assert build_world.cache_info().misses == built


@pytest.mark.parametrize("split", ["map", "query"])
def test_route_is_a_closed_round_of_150_m_or_more(street, split):
    records = street.records(split)
    places = positions(records)
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    assert LOOP_LENGTH >= 150
    assert steps.sum() >= 150
    assert np.linalg.norm(places[0] - places[-1]) <= steps.max() * 1.01
    assert places[:, 2] == pytest.approx(1.5, abs=0.1)

    forward = np.array([record.world_from_cam.rotation.matrix()[:, 2] for record in records])
    heading = np.unwrap(np.arctan2(forward[:, 1], forward[:, 0]))
    assert heading[-1] - heading[0] == pytest.approx(2 * np.pi, abs=0.2)
    travel = np.diff(places, axis=0) / steps[:, None]
    assert (np.einsum("nd,nd->n", forward[:-1], travel) > np.cos(np.radians(6))).all()
    down = np.array([record.world_from_cam.rotation.matrix()[:, 1] for record in records])
    assert (down[:, 2] < -0.99).all()


@pytest.mark.parametrize("split", ["map", "query"])
def test_timestamps_are_10_hz(street, split):
    assert set(np.diff([record.timestamp_ns for record in street.records(split)])) == {100_000_000}


def test_second_lap_is_later_and_beside_the_first(street):
    first, second = street.records("map"), street.records("query")
    assert second[0].timestamp_ns > first[-1].timestamp_ns
    places = positions(first)
    offsets, turns = [], []
    for record in second:
        nearest = first[int(np.linalg.norm(places - record.world_from_cam.translation, axis=1).argmin())]
        relative = nearest.world_from_cam.inverse() * record.world_from_cam
        offsets.append(relative.translation[0])
        turns.append(np.degrees(relative.rotation.angle()))
    assert 1.2 <= np.abs(offsets).max() <= 1.5
    assert np.abs(np.diff(offsets)).max() < 0.15
    assert 1.0 < np.max(turns) < 10.0


@pytest.mark.parametrize(("split", "index"), [("map", 5), ("map", 40), ("query", 130)])
def test_depth_is_that_of_the_nearest_surface_on_the_ray(street, split, index):
    """Compares with rays traced against every quad; where foliage or a cut-out may be hit first, nothing is said."""
    record = street.records(split)[index]
    pixels = pixel_grid(record, 23)
    depth = street.depth(record)[pixels[:, 1].astype(int), pixels[:, 0].astype(int)]
    scene = build_world(0)[street.splits.index(split)]
    rays = record.camera.rays(pixels) @ record.world_from_cam.rotation.matrix().T
    cutout = np.array([quad.texture.level(1, 1)[1] is not None for quad in scene.quads])
    checked = 0
    for ray, seen in zip(rays, depth, strict=True):
        equations = scene.frames.copy()
        equations[:, :, 2] = -ray
        s, t, distance = np.linalg.solve(
            equations, (record.world_from_cam.translation - scene.frames[:, :, 2])[..., None]
        )[..., 0].T
        hit = (s >= 0) & (s <= 1) & (t >= 0) & (t <= 1) & (distance > 0.2)
        nearest = distance[hit & ~cutout].min()
        if (distance[hit & cutout] < nearest).any():
            continue
        checked += 1
        assert seen == (pytest.approx(nearest, rel=1e-4) if nearest < 1000 else np.inf)
    assert checked > 0.7 * len(pixels)


@pytest.mark.parametrize("split", ["map", "query"])
def test_depth_and_brightness_carry_over_to_the_next_frame(street, split):
    before, after = street.records(split)[60:62]
    depth_before, depth_after = street.depth(before), street.depth(after)
    assert depth_before.shape == (400, 640)
    assert depth_before.dtype == np.float32
    assert np.isinf(depth_before[:40]).any()  # sky above the street
    assert np.isfinite(depth_before[-40:]).all()

    pixels = pixel_grid(before, 2)
    pixels = pixels[np.isfinite(depth_before[pixels[:, 1].astype(int), pixels[:, 0].astype(int)])]
    points = unproject(before, pixels, depth_before)
    in_after = (points - after.world_from_cam.translation) @ after.world_from_cam.rotation.matrix()
    projected, inside = after.camera.project(in_after)
    pixels, projected, expected = pixels[inside], projected[inside], in_after[inside, 2]
    # Inverse depth is affine on a plane, so that bilinear interpolation of it is exact on one.
    found = 1 / sample(1 / depth_after, projected)
    still_visible = np.abs(found / expected - 1) < 0.002
    assert still_visible.mean() > 0.85
    assert np.median(np.abs(found / expected - 1)) < 1e-4

    image_before, image_after = before.read_image(), after.read_image()
    was = image_before[pixels[:, 1].astype(int), pixels[:, 0].astype(int)].astype(float)
    now = sample(image_after.astype(float), projected)
    unmoved = image_after[pixels[:, 1].astype(int), pixels[:, 0].astype(int)].astype(float)
    correlation = np.corrcoef(was[still_visible], now[still_visible])[0, 1]
    assert correlation > 0.97
    assert correlation > np.corrcoef(was[still_visible], unmoved[still_visible])[0, 1] + 0.02


def test_depth_needs_a_pose_and_a_known_split(street):
    record = street.records("map")[0]
    lost = Record(record.name, record.timestamp_ns, record.camera, "map", None, record.read_image)
    with pytest.raises(DatasetError, match="map/000000 has no pose"):
        street.depth(lost)


def test_images_do_not_depend_on_order_thread_or_process(street):
    records = street.records("query")[20:24]
    assert records[0].read_image().dtype == np.uint8
    forwards = [record.read_image() for record in records]
    backwards = [record.read_image() for record in reversed(records)][::-1]
    again = [record.read_image() for record in open_synthetic("length=12").records("query")[20:24]]
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(lambda record: record.read_image(), records))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        elsewhere = pool.apply(records[2].read_image)
    assert (np.stack(forwards) == np.stack(backwards)).all()
    assert (np.stack(forwards) == np.stack(again)).all()
    assert (np.stack(forwards) == np.stack(threaded)).all()
    assert (forwards[2] == elsewhere).all()


def test_another_seed_is_another_street(street):
    here = street.records("map")[0].read_image().astype(float)
    there = open_synthetic("seed=1&length=1").records("map")[0].read_image().astype(float)
    assert np.corrcoef(here[:200].ravel(), there[:200].ravel())[0, 1] < 0.8


def sift() -> cv2.SIFT:
    return cv2.SIFT_create(nfeatures=2048, contrastThreshold=0.02)


@pytest.mark.parametrize("split", ["map", "query"])
def test_every_place_has_500_keypoints_on_something_solid(street, split):
    for record in street.records(split)[11::53]:
        keypoints = np.array([keypoint.pt for keypoint in sift().detect(record.read_image())]).round().astype(int)
        solid = np.isfinite(street.depth(record)[keypoints[:, 1], keypoints[:, 0]])
        assert solid.sum() >= 500, record.name


def fundamental(a: Record, b: Record) -> np.ndarray:
    b_from_a = b.world_from_cam.inverse() * a.world_from_cam
    x, y, z = b_from_a.translation
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    to_ray = np.linalg.inv(a.camera.matrix)
    return to_ray.T @ skew @ b_from_a.rotation.matrix() @ to_ray


def epipolar_matches(a: Record, b: Record) -> int:
    """Mutual SIFT matches that pass the ratio test and lie within 1.5 px of the true epipolar line."""
    (points_a, descriptors_a), (points_b, descriptors_b) = (
        sift().detectAndCompute(record.read_image(), None) for record in (a, b)
    )
    there = cv2.BFMatcher().knnMatch(descriptors_a, descriptors_b, k=2)
    back = {match.queryIdx: match.trainIdx for match in cv2.BFMatcher().match(descriptors_b, descriptors_a)}
    good = [m for m, n in there if m.distance < 0.8 * n.distance and back[m.trainIdx] == m.queryIdx]
    in_a = np.array([(*points_a[m.queryIdx].pt, 1) for m in good])
    in_b = np.array([(*points_b[m.trainIdx].pt, 1) for m in good])
    lines = in_a @ fundamental(a, b).T
    distances = np.abs((lines * in_b).sum(axis=1)) / np.hypot(lines[:, 0], lines[:, 1])
    return int((distances < 1.5).sum())


def test_second_lap_matches_the_same_place_and_no_other(street):
    first, query = street.records("map"), street.records("query")[30]
    distances = np.linalg.norm(positions(first) - query.world_from_cam.translation, axis=1)
    nearest = int(distances.argmin())
    opposite = (nearest + len(first) // 2) % len(first)
    assert epipolar_matches(query, first[nearest]) >= 150
    assert epipolar_matches(query, first[opposite]) < 40
