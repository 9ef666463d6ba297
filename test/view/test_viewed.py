"""What ``vizloc view`` opens: results, maps and bags, and what it says of everything else. rerun is not needed."""

import sys
from pathlib import Path

import pytest
from cli_helpers import Vizloc

from vizloc_ros.bags.bag_options import BagOptions
from vizloc_ros.bags.writer import write_bag
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import ConfigError, DatasetError, MapError
from vizloc_ros.evaluation.image_results import IMAGES_FILE, ImageResult, ImageResults
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.view.viewed import Kind, kind_of, open_viewed


def test_a_map_and_a_bag_are_recognized(street: SyntheticStreet, street_map: VisualMap, tmp_path: Path) -> None:
    assert kind_of(street_map.folder) is Kind.MAP
    viewed = open_viewed(street_map.folder)
    assert viewed.visual_map is not None
    assert (list(viewed.images), dict(viewed.records), viewed.notes) == ([], {}, ())
    records, bag = street.records("query")[:2], tmp_path / "bag"
    write_bag(records, bag)
    assert kind_of(bag) is kind_of(next(bag.glob("*.db3"))) is Kind.BAG
    viewed = open_viewed(bag)
    assert viewed.visual_map is None
    assert [image.stamp_ns for image in viewed.images] == [record.timestamp_ns for record in records]
    assert all(image.truth is not None and image.estimate is None for image in viewed.images)
    assert open_viewed(bag, street_map.folder).visual_map is not None
    with pytest.raises(ConfigError, match="is a map itself"):
        open_viewed(street_map.folder, street_map.folder)


@pytest.mark.parametrize(
    ("name", "said"), [("missing", "does not exist"), ("empty", "is neither a result"), ("x.txt", "is n")]
)
def test_other_paths_are_refused_with_what_is_expected(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(ConfigError, match=rf"{name}: {said}.*images\.npz.*map\.yaml.*metadata\.yaml.*\.mcap"):
        kind_of(tmp_path / name)


def test_a_report_without_images_is_told_from_other_folders(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(ConfigError, match="has a report but no"):
        kind_of(tmp_path)


def test_a_damaged_result_and_a_wrong_map_are_errors(street_map: VisualMap, tmp_path: Path) -> None:
    path = tmp_path / IMAGES_FILE
    path.write_bytes(b"PK")
    with pytest.raises(DatasetError, match=IMAGES_FILE):
        open_viewed(tmp_path)
    ImageResults(street_map.folder, {}, []).write(path)
    with pytest.raises(MapError, match="nowhere"):
        open_viewed(tmp_path, tmp_path / "nowhere")


def test_a_result_is_viewed_without_what_is_gone(street_map: VisualMap, tmp_path: Path) -> None:
    images = [ImageResult("a", 1, None, None)]
    ImageResults(tmp_path / "gone", {"dataset": "folder:/nowhere"}, images).write(tmp_path / IMAGES_FILE)
    viewed = open_viewed(tmp_path)
    assert viewed.visual_map is None
    assert [image.name for image in viewed.images] == ["a"]
    without_map, without_images = viewed.notes
    assert "gone" in without_map
    assert "--map" in without_map
    assert "/nowhere" in without_images
    assert len(open_viewed(tmp_path, street_map.folder).notes) == 1


def test_a_result_that_was_moved_finds_its_map_and_bag_beside_it(
    street: SyntheticStreet, street_map: VisualMap, tmp_path: Path
) -> None:
    """As `vizloc demo` leaves them in one folder."""
    records = street.records("query")[:1]
    write_bag(records, tmp_path / "bag")
    (tmp_path / "map").symlink_to(street_map.folder)
    source = {"bag": "/other/machine/bag", **BagOptions().as_texts()}
    name = open_viewed(tmp_path / "bag").images[0].name
    image = ImageResult(name, records[0].timestamp_ns, None, None)
    ImageResults(Path("/other/machine/map"), source, [image]).write(tmp_path / IMAGES_FILE)
    viewed = open_viewed(tmp_path)
    assert viewed.notes == ()
    assert viewed.visual_map is not None
    assert viewed.records[name].read_image().shape == (250, 400)


@pytest.mark.parametrize(
    "words", [("view", "x"), ("replay", "x", "y", "--out", "z", "--view"), ("demo", "--view")], ids=lambda w: w[0]
)
def test_without_rerun_the_command_for_pip_is_said_before_anything_is_done(
    vizloc: Vizloc, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...]
) -> None:
    if words[0] != "view":  # the others import the nodes first
        pytest.importorskip("rclpy")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "rerun", None)
    ended = vizloc(*words)
    assert ended.code == 1
    assert "pip install 'vizloc_ros[view]'" in ended.err
    assert list(tmp_path.iterdir()) == []
