"""Training on images of many sizes: windows of one size show the landmarks where the whole images have them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
import pytest
from pycolmap import Rigid3d

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install 'vizloc_ros[train]'")

from sfm_helpers import posed, write_image, write_model  # noqa: E402

from vizloc_ros.datasets.synthetic import SyntheticStreet  # noqa: E402
from vizloc_ros.errors import DatasetError  # noqa: E402
from vizloc_ros.features.extractor import open_extractor  # noqa: E402
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera  # noqa: E402
from vizloc_ros.geometry.colmap_camera import colmap_camera  # noqa: E402
from vizloc_ros.geometry.se3 import so3_exp  # noqa: E402
from vizloc_ros.mapping.builder import build_map  # noqa: E402
from vizloc_ros.pixloc.image_fit import scale_to_multiples  # noqa: E402
from vizloc_ros.readers import open_dataset  # noqa: E402
from vizloc_ros.training.pixloc.pair_batches import collate  # noqa: E402
from vizloc_ros.training.pixloc.pixloc_trainer import PixLocTrainer  # noqa: E402
from vizloc_ros.training.pixloc.pixloc_training_options import InitialPoses, PairSource, Partners, PixLocTraining  # noqa: E402
from vizloc_ros.training.pixloc.training_pairs import Pair, PairDrive, View  # noqa: E402
from vizloc_ros.training.pixloc.windows import draw_pairs, with_one_size  # noqa: E402

pytestmark = pytest.mark.e2e

WIDE = PinholeCamera(330, 190, 210.0, 212.0, 161.3, 97.1)  # its image has 160 x 96
TALL = PinholeCamera(128, 160, 120.0, 118.0, 66.3, 78.1)  # its image too
CORRECTION = IntrinsicsCorrection(focal=0.01, cx=3.5, cy=-4.0, radial=-0.03)
NARROW = slice(75, 325)  # columns of the street's images that every other one has
PARTNERS = Partners(distance=4, overlap=0.2, landmarks=48)


def view(camera: PinholeCamera, image_size: tuple[int, int], seed: int) -> View:
    """An image of noise, every part of which is one of a kind."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, image_size[::-1], dtype=np.uint8)
    pose = Rigid3d(so3_exp(0.03 * rng.normal(size=3)), 0.1 * rng.normal(size=3))
    return View(f"{seed}", camera, image, pose, CORRECTION)


def pair(seed: int, corners: tuple[tuple[int, int], tuple[int, int]] = ((60, 60), (270, 130)), count: int = 60) -> Pair:
    """A wide query and a tall keyframe, and landmarks in a part of the query's view."""
    query, keyframe = view(WIDE, (160, 96), 2 * seed), view(TALL, (128, 160), 2 * seed + 1)
    rng = np.random.default_rng(seed)
    rays = WIDE.rays(rng.uniform(*corners, (count, 2))) * rng.uniform(5, 30, (count, 1))
    points = (query.cam_from_map.inverse() * rays).astype(np.float32)
    return Pair(query, keyframe, points, query.cam_from_map)


def place(window: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """(left, top) of the only part of an image that is this window."""
    parts = np.lib.stride_tricks.sliding_window_view(whole, window.shape)
    (found,) = np.argwhere((parts == window).all(axis=(2, 3)))
    return found[::-1]


def in_image(pixels: np.ndarray, camera: PinholeCamera, image: np.ndarray) -> np.ndarray:
    """(N, 2) pixels of a camera in an image that is scaled to another size."""
    return (pixels + 0.5) * (np.array(image.shape[::-1]) / camera.size) - 0.5


def test_a_pixel_of_a_window_is_that_of_the_image_less_where_it_begins() -> None:
    before = pair(0)
    (after,) = with_one_size([before])
    for old, new in ((before.query, after.query), (before.keyframe, after.keyframe)):
        assert new.image.shape == (96, 128)
        assert new.camera.size == (128, 96)
        expected = in_image(old.see(before.points)[0], old.camera, old.image) - place(new.image, old.image)
        np.testing.assert_allclose(new.see(before.points)[0], expected, atol=1e-9)
        np.testing.assert_array_equal(new.cam_from_map.matrix(), old.cam_from_map.matrix())
    assert place(after.query.image, before.query.image)[0] > 0
    assert place(after.keyframe.image, before.keyframe.image)[1] > 0


@pytest.mark.parametrize("swapped", [False, True])
def test_the_landmarks_of_both_windows_are_left(swapped: bool) -> None:
    before = pair(1, ((0, 0), (330, 190)), count=300)
    if swapped:
        before = replace(before, query=before.keyframe, keyframe=before.query)
    (after,) = with_one_size([before])
    inside = np.ones(300, bool)
    for old, new in ((before.query, after.query), (before.keyframe, after.keyframe)):
        pixels = in_image(old.see(before.points)[0], old.camera, old.image) - place(new.image, old.image)
        inside &= (np.abs(pixels - (63.5, 47.5)) < (64, 48)).all(axis=1)
    np.testing.assert_array_equal(after.points, before.points[inside])
    assert 50 < len(after.points) < 250


@pytest.mark.parametrize("corner", [(2, 4), (240, 4), (2, 130), (240, 130), (120, 70)])
def test_windows_go_where_the_landmarks_are_and_stay_on_the_image(corner: tuple[int, int]) -> None:
    before = pair(2, (corner, (corner[0] + 80, corner[1] + 50)))
    (after,) = with_one_size([before])
    points = before.points.astype(np.float64)
    np.testing.assert_array_equal(after.query.see(points)[1], before.query.see(points)[1])
    middle = np.median(in_image(before.query.see(points)[0], WIDE, before.query.image), axis=0)
    begin = np.clip(middle - (64, 48), 0, (32, 0))
    assert np.abs(place(after.query.image, before.query.image) - begin).max() <= 0.5


def test_pairs_of_one_size_are_left_alone() -> None:
    pairs = [replace(pair(seed), keyframe=view(WIDE, (160, 96), 9)) for seed in (0, 1)]
    assert all(same is given for same, given in zip(with_one_size(pairs), pairs, strict=True))


def test_images_of_one_size_from_cameras_of_many_are_whole() -> None:
    before = replace(pair(0), keyframe=view(TALL, (160, 96), 9))
    (after,) = with_one_size([before])
    np.testing.assert_array_equal(after.keyframe.image, before.keyframe.image)
    assert after.query.camera.size == after.keyframe.camera.size == (160, 96)


def test_a_batch_of_many_sizes_projects_landmarks_as_the_whole_images_do() -> None:
    before = [pair(3), pair(4, count=40), replace(pair(5), query=view(TALL, (96, 128), 7))]
    after = with_one_size(before)
    batch = collate(after, [p.query.image for p in after], [p.keyframe.image for p in after], torch.device("cpu"))
    assert batch.images.shape == (6, 1, 96, 96)
    assert batch.image_size == (96, 96)
    sides = (
        (batch.query_lens, batch.truth, [p.query for p in before], batch.images[:3]),
        (batch.keyframe_lens, batch.keyframe_pose, [p.keyframe for p in before], batch.images[3:]),
    )
    for lens, poses, views, images in sides:
        pixels, _ = lens.project(poses, batch.points)
        for i, old in enumerate(views):
            count = len(after[i].points)
            assert count >= 10
            whole = in_image(old.see(after[i].points)[0], old.camera, old.image)
            np.testing.assert_allclose(
                pixels[i, :count], whole - place(images[i, 0].numpy().astype(np.uint8), old.image), atol=1e-3
            )


class Drive:
    """Draws the pairs it is given, one after another, and the last one forever."""

    name = "colmap:scene"

    def __init__(self, *pairs: Pair) -> None:
        self.pairs, self.drawn = list(pairs), 0

    def draw(self, name: str, initial_poses: InitialPoses, rng: np.random.Generator) -> Pair:
        self.drawn += 1
        return self.pairs[min(self.drawn, len(self.pairs)) - 1]


def test_pairs_that_keep_too_few_landmarks_are_drawn_again() -> None:
    scattered, good, other = pair(0, ((0, 0), (330, 190)), count=20), pair(6), pair(7)
    assert len(with_one_size([scattered])[0].points) < 16
    drive: Any = Drive(scattered, good, scattered, other)
    found = draw_pairs(drive, ["a", "b"], 2, InitialPoses(), np.random.default_rng(0))
    assert [p.query.name for p in found] == [good.query.name, other.query.name]
    assert drive.drawn == 4
    with pytest.raises(DatasetError, match=r"colmap:scene: its images differ in size.*16 landmarks: raise 'partners\."):
        draw_pairs(Drive(good, scattered), ["a", "b"], 2, InitialPoses(), np.random.default_rng(0))


@pytest.fixture(scope="module")
def source(street: SyntheticStreet, tmp_path_factory: pytest.TempPathFactory) -> PairSource:
    """A COLMAP reconstruction of images of two sizes, and its map."""
    root, records = tmp_path_factory.mktemp("scene"), street.records("map")[2:10]
    wide = street.camera
    narrow = replace(wide, width=NARROW.stop - NARROW.start, cx=wide.cx - NARROW.start)
    cameras = (colmap_camera(wide, 1), colmap_camera(narrow, 2))
    images: dict[str, tuple[pycolmap.Camera, Rigid3d]] = {}
    for i, record in enumerate(records):
        images[f"{i}.png"] = (cameras[i % 2], posed(record).inverse())
        write_image(root / "images" / f"{i}.png", record.read_image()[:, NARROW if i % 2 else slice(None)])
    write_model(root / "sparse", images)
    dataset = open_dataset(f"colmap:{root}")
    build_map(dataset.records("all"), open_extractor("rootsift"), root / "map", dataset=dataset.name)
    return PairSource(dataset=dataset.name, map=root / "map", map_split="all", held_out=0.4, gap=1)


def test_a_network_learns_from_photos_of_many_sizes(source: PairSource, tmp_path: Path) -> None:
    config = PixLocTraining(
        network={"kind": "light", "channels": [8, 16, 24], "hidden": 32, "dimension": 16, "levels": 3},
        sources=[source], long_side=128, partners=PARTNERS, batch=3, iterations=2, steps=2, validate_every=2,
        validation_pairs=3,
    )  # fmt: skip
    trainer = PixLocTrainer(config, tmp_path, overfit=True)  # images are not changed
    batch = trainer.batch(0)
    assert batch.images.shape == (6, 1, 64, 96)
    assert (batch.real.sum(dim=1) >= 16).all()
    records = open_dataset(source.dataset).records("all")
    turns = np.array([posed(record).rotation.matrix() for record in records])
    pixels, _ = batch.query_lens.project(batch.truth, batch.points)
    for i, turn in enumerate(batch.truth.rotation.numpy()):
        record = records[np.abs(turns - turn.T).max(axis=(1, 2)).argmin()]
        image = scale_to_multiples(record.read_image(), 128)
        begin = place(batch.images[i, 0].numpy().astype(np.uint8), image)
        points = batch.points[i].numpy() @ posed(record).rotation.matrix()  # they begin at the query
        whole, _ = record.camera.project(points)
        np.testing.assert_allclose(pixels[i], in_image(whole, record.camera, image) - begin, atol=0.05)
    trainer = PixLocTrainer(config, tmp_path / "run")
    again = PixLocTrainer(config, tmp_path / "again")
    assert torch.equal(trainer.batch(1).images, again.batch(1).images)
    start = [values.clone() for values in trainer.network.parameters()]
    trainer.run()
    assert trainer.step == 2
    assert any(not torch.equal(a, b) for a, b in zip(start, trainer.network.parameters(), strict=True))
    assert {tuple(b.images.shape[2:]) for b in trainer._validation} <= {(64, 96), (64, 128), (96, 96)}


def test_an_image_that_does_not_fit_is_named(source: PairSource) -> None:
    with pytest.raises(DatasetError, match=r"\d\.png: an image of \d+x250 is too small, or too long.*; leave it out"):
        PairDrive(source, Path("not used"), PARTNERS, 63)
