"""The synthetic street as a slice of Extended CMU Seasons: distorted images and lists of poses; mapped and replayed."""

import json
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import Vizloc
from reprojection import raw_image
from sfm_helpers import posed, write_image

from vizloc_ros.bags.bag_camera import open_camera
from vizloc_ros.bags.reader import read_messages
from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.readers import open_dataset

DISTORTION = np.array([-0.1, 0.01, 0.0002, -0.0001])  # k1 k2 p1 p2
DAY = "2023-11-15"  # of the street's second lap


def write_images(folder: Path, records: list[Record]) -> str:
    """Write the images of the left camera; return the lines of their poses, cam_from_world and center."""
    lines = []
    for index, record in enumerate(records):
        name = f"img_{index:05d}_c0_{record.timestamp_ns // 1000}us.jpg"
        write_image(folder / name, raw_image(record, DISTORTION))
        x, y, z, w = posed(record).inverse().rotation.quat
        numbers = [w, x, y, z, *posed(record).translation]
        lines.append(f"{name} {' '.join(repr(float(number)) for number in numbers)}\n")
    return "".join(lines)


@pytest.fixture(scope="module")
def cmu(street: SyntheticStreet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = tmp_path_factory.mktemp("cmu")
    folder, camera = root / "slice22", street.records("map")[0].camera
    numbers = [camera.width, camera.height, camera.fx, camera.fy, camera.cx + 0.5, camera.cy + 0.5, *DISTORTION]
    line = f"OPENCV {' '.join(str(number) for number in numbers)}\n"
    database = write_images(folder / "database", street.records("map"))
    queries = write_images(folder / "query", street.records("query"))
    (folder / "camera-poses").mkdir()
    (folder / "ground-truth-database-images-slice22.txt").write_text(database)
    (folder / "camera-poses/slice-22-23-11-15-c0.txt").write_text(queries)
    (root / "intrinsics.txt").write_text(f"c0 {line}c1 {line}")
    return folder


@pytest.mark.ros
@pytest.mark.alone
def test_a_day_is_replayed_in_the_map_of_the_reference(vizloc: Vizloc, cmu: Path, tmp_path: Path) -> None:
    dataset = f"cmu:{cmu}?camera=c0"
    ended = vizloc("map", "build", dataset, "--extractor", "rootsift", "--no-pixloc", "--out", tmp_path / "map")
    assert ended.code == 0, ended.err
    ended = vizloc("bag", "write", dataset, "--split", DAY, "--compressed", "jpeg", "--out", tmp_path / "bag")
    assert ended.code == 0, ended.err
    ended = vizloc(
        "replay", tmp_path / "bag", tmp_path / "map", "--rate", 0.25, "--composed", "--out", tmp_path / "out"
    )
    assert ended.code == 0, ended.err
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["num_images"] == 24
    assert report["recall"]["0.25m_2deg"] >= 0.95


def test_the_bag_has_the_images_and_the_lens_as_published(vizloc: Vizloc, cmu: Path, tmp_path: Path) -> None:
    dataset = f"cmu:{cmu}?camera=c0"
    assert vizloc("bag", "write", dataset, "--split", DAY, "--every", 12, "--out", tmp_path / "bag").code == 0
    _, info = next(read_messages(tmp_path / "bag", "/camera/camera_info"))
    assert (info.distortion_model, info.d.tolist()) == ("plumb_bob", [*DISTORTION, 0.0])
    first = open_dataset(dataset).records(DAY)[0]
    assert first.raw is not None
    _, image = next(read_messages(tmp_path / "bag", "/camera/image"))
    np.testing.assert_array_equal(image.data.reshape(image.height, image.width, -1).squeeze(), first.raw.read())
    (record, _) = open_camera(tmp_path / "bag").records()
    assert record.camera == first.camera
    np.testing.assert_array_equal(record.read_image(), first.read_image())
    np.testing.assert_allclose(posed(record).matrix(), posed(first).matrix(), atol=1e-9)
