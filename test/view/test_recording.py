"""Recordings for rerun's viewer, read back with rerun's own tools: its entities, counts and values."""

import re
import socket
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_helpers import Vizloc

from vizloc_ros.bags.writer import write_bag
from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import ConfigError
from vizloc_ros.evaluation.image_results import IMAGES_FILE, ImageResult, ImageResults
from vizloc_ros.evaluation.offline_localization import evaluate_localization, open_queries
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.mapping.visual_map import VisualMap

pytest.importorskip("rerun", reason="rerun is not installed: pip install 'vizloc_ros[view]'")

from vizloc_ros.view.recording import write_recording
from vizloc_ros.view.trajectory_entities import unbroken
from vizloc_ros.view.viewed import open_viewed
from vizloc_ros.view.viewer import DATA_PORT, LOCAL, serve_page


def rerun(*arguments: object) -> str:
    """Output of rerun's own command."""
    command = [sys.executable, "-m", "rerun", "rrd", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def rows(path: Path) -> Counter[tuple[str, str]]:
    """Number of rows by entity and archetype."""
    found: Counter[tuple[str, str]] = Counter()
    for count, entity, columns in re.findall(
        r"^Chunk\(\w+\) with (\d+) rows .* - (/\S+) - (?:data )?columns: \[(.*)\]", rerun("print", path), re.MULTILINE
    ):
        for archetype in {column.rsplit(":", 2)[-2] for column in columns.split()}:
            found[entity, archetype] += int(count)
    return found


def values(path: Path, entity: str, component: str) -> list[Any]:
    """Values of a component of an entity, of one row after the other."""
    chunk = pytest.importorskip("rerun.chunk", reason="this version of rerun does not read chunks")
    batches = [c.to_record_batch() for c in chunk.RrdReader(path).stream() if c.entity_path == entity]
    return [row for batch in batches if component in batch.schema.names for row in batch[component].to_pylist()]


@pytest.fixture(scope="module")
def result(street: SyntheticStreet, street_map: VisualMap, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Result of three images, as ``vizloc localize`` writes it; the second one is made one without a pose."""
    out = tmp_path_factory.mktemp("result")
    source = {"dataset": street.name, "split": "query", "every": 10, "degrade": "", "seed": 0}
    evaluate_localization(street_map, open_queries(**source)[:3], out, source=source)
    read = ImageResults.read(out / IMAGES_FILE)
    first, second, third = read.images
    lost = ImageResult(second.name, second.stamp_ns, second.truth, None, "LOST", "only 3 matches, 12 are needed")
    ImageResults(read.map_path, read.source, [first, lost, third]).write(out / IMAGES_FILE)
    return out


@pytest.fixture(scope="module")
def recording(result: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "new" / "view.rrd"
    assert write_recording(open_viewed(result), path) == ()
    return path


def test_everything_that_was_logged_is_in_the_recording(recording: Path) -> None:
    rerun("verify", recording)
    found = rows(recording)
    for entity, archetype, count in (
        ("/world", "ViewCoordinates", 1),
        ("/world/map/landmarks", "Points3D", 1),
        ("/world/map/keyframes/frusta", "LineStrips3D", 1),
        ("/world/truth", "LineStrips3D", 1),
        ("/world/estimate/poses", "Points3D", 1),
        ("/world/no_pose", "Points3D", 1),
        ("/world/camera", "Transform3D", 3),
        ("/world/camera/image", "Pinhole", 3),
        ("/world/camera/image", "EncodedImage", 3),
        ("/world/camera/image/inliers", "Points2D", 2),
        ("/world/camera/image/outliers", "Points2D", 2),
        ("/world/camera/image/residuals", "LineStrips2D", 2),
        ("/world/camera/image/landmarks", "Points2D", 1),
        ("/plots/error/translation", "Scalars", 2),
        ("/plots/error/rotation", "Scalars", 2),
        ("/plots/matches/inliers", "Scalars", 2),
        ("/plots/residual/median", "Scalars", 2),
        ("/status", "TextDocument", 3),
        ("/log", "TextLog", 1),
    ):
        assert found[entity, archetype] == count, (entity, archetype)


def test_values_are_those_of_map_and_result(recording: Path, result: Path, street_map: VisualMap) -> None:
    [landmarks] = values(recording, "/world/map/landmarks", "Points3D:positions")
    assert np.allclose(landmarks, street_map.landmark_positions)
    [colors] = values(recording, "/world/map/landmarks", "Points3D:colors")
    assert len(colors) == len(landmarks)
    assert len(set(colors)) > 20
    [frusta] = values(recording, "/world/map/keyframes/frusta", "LineStrips3D:strips")
    assert np.allclose([line[0] for line in frusta], street_map.keyframe_poses[:, :3], atol=1e-5)
    images = ImageResults.read(result / IMAGES_FILE).images
    [truth] = values(recording, "/world/truth", "LineStrips3D:strips")
    assert np.allclose(truth, [[image.truth.translation for image in images]], atol=1e-5)
    [estimates] = values(recording, "/world/estimate/poses", "Points3D:positions")
    estimated = [images[0], images[2]]
    assert np.allclose(estimates, [image.estimate.translation for image in estimated], atol=1e-5)
    errors = values(recording, "/plots/error/translation", "Scalars:scalars")
    assert np.ravel(errors).tolist() == pytest.approx([pose_error(i.estimate, i.truth)[0] for i in estimated])
    inliers = values(recording, "/world/camera/image/inliers", "Points2D:positions")
    residuals = values(recording, "/world/camera/image/residuals", "LineStrips2D:strips")
    for image, points, lines in zip(estimated, inliers, residuals, strict=True):
        assert np.allclose(points, image.matches.inliers.pixels)
        assert np.allclose([line[0] for line in lines], points)
        assert 0 < np.median(np.linalg.norm(np.subtract(*np.swapaxes(lines, 0, 1)), axis=1)) < 2
    [line] = values(recording, "/log", "TextLog:text")
    assert line == [f"{images[1].name}: LOST: only 3 matches, 12 are needed"]


def test_the_camera_is_drawn_where_the_image_was_taken(recording: Path, result: Path) -> None:
    """At the estimate, and at the true place for the image without one."""
    first, lost, last = ImageResults.read(result / IMAGES_FILE).images
    places = values(recording, "/world/camera", "Transform3D:translation")
    expected = [first.estimate.translation, lost.truth.translation, last.estimate.translation]
    assert np.allclose(np.squeeze(places), expected, atol=1e-5)


def test_a_bag_is_seen_with_its_true_poses_and_a_map_alone(
    street: SyntheticStreet, street_map: VisualMap, tmp_path: Path
) -> None:
    write_bag(street.records("query")[:3], tmp_path / "bag")
    write_recording(open_viewed(tmp_path / "bag", street_map.folder), tmp_path / "bag.rrd")
    found = rows(tmp_path / "bag.rrd")
    assert found["/world/camera/image", "EncodedImage"] == found["/world/camera", "Transform3D"] == 3
    assert found["/world/camera/image/landmarks", "Points2D"] == 3
    assert found["/world/truth", "LineStrips3D"] == 1
    assert found["/world/estimate/poses", "Points3D"] == 0
    write_recording(open_viewed(street_map.folder), tmp_path / "map.rrd")
    found = rows(tmp_path / "map.rrd")
    assert found["/world/map/landmarks", "Points3D"] == 1
    assert not [entity for entity, _ in found if entity.startswith(("/world/camera", "/plots", "/status"))]


def test_an_image_that_cannot_be_read_is_left_out_with_its_reason(street_folder: Path, tmp_path: Path) -> None:
    source = {"dataset": f"folder:{street_folder}", "split": "query"}
    records: list[Record] = open_queries(**source)
    images = [ImageResult(r.name, r.timestamp_ns, r.world_from_cam, None) for r in records]
    copy = tmp_path / "posed"
    copy.mkdir()
    for file in ("poses.csv", "intrinsics.txt"):
        (copy / file).write_text((street_folder / file).read_text())
    for record in records[1:]:
        (copy / record.name).parent.mkdir(parents=True, exist_ok=True)
        (copy / record.name).symlink_to(street_folder / record.name)
    (copy / records[0].name).write_bytes(b"no image")
    ImageResults(tmp_path / "gone", {**source, "dataset": f"folder:{copy}"}, images).write(tmp_path / IMAGES_FILE)
    notes = write_recording(open_viewed(tmp_path), tmp_path / "view.rrd")
    assert [note for note in notes if records[0].name in note and note.startswith("without the image")]
    assert rows(tmp_path / "view.rrd")["/world/camera/image", "EncodedImage"] == len(records) - 1


def test_the_command_saves_and_says_how_it_is_opened(
    vizloc: Vizloc, monkeypatch: pytest.MonkeyPatch, result: Path, tmp_path: Path
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    saved = vizloc("view", result, "--save", tmp_path / "x.rrd")
    assert saved.code == 0, saved.err
    assert rows(tmp_path / "x.rrd")["/status", "TextDocument"] == 3
    shown = vizloc("view", result)
    assert shown.code == 0, shown.err
    assert f"rerun {result / 'view.rrd'}" in shown.out
    assert f"vizloc view {result} --web" in shown.out
    assert (result / "view.rrd").is_file()
    again = vizloc("view", result, "--save", tmp_path / "x.rrd")
    assert again.code == 1
    assert f"{tmp_path / 'x.rrd'}: exists already: take another file with --save, or --overwrite" in again.err
    assert vizloc("view", result, "--save", tmp_path / "x.rrd", "--overwrite").code == 0
    nowhere = vizloc("view", result, "--save", result / IMAGES_FILE / "x.rrd")
    assert nowhere.code == 1
    assert IMAGES_FILE in nowhere.err


def test_a_map_is_recorded_without_a_count_of_images(vizloc: Vizloc, street_map: VisualMap, tmp_path: Path) -> None:
    saved = vizloc("view", street_map.folder, "--save", tmp_path / "map.rrd")
    assert saved.code == 0, saved.err
    assert "recording" not in saved.err


def test_lines_are_broken_where_poses_are_missing(street: SyntheticStreet) -> None:
    poses = [record.world_from_cam for record in street.records("query")[:6]]
    runs = list(unbroken([poses[0], poses[1], None, poses[3], None, None, poses[4], poses[5]]))
    assert [len(run) for run in runs] == [2, 2]
    assert np.allclose(runs[1][0], poses[4].translation)
    assert list(unbroken([])) == []


def test_a_port_that_is_in_use_is_named(recording: Path) -> None:
    with socket.socket() as taken:
        with suppress(OSError):  # another program may have it
            taken.bind((LOCAL, DATA_PORT))
            taken.listen()
        with pytest.raises(ConfigError, match=rf"port {DATA_PORT} cannot be served"):
            serve_page(recording)
