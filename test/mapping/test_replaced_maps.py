"""Maps are replaced as one transaction, and nothing is ever deleted that vizloc did not write."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cli_helpers import Vizloc
from repository import REPOSITORY

from vizloc_ros.errors import MapError, OutputError
from vizloc_ros.mapping.check import map_problems
from vizloc_ros.mapping.map_format import INFO_FILE, read_info, write_info
from vizloc_ros.mapping.map_writer import changing_map, replacing_map, require_replaceable
from vizloc_ros.mapping.visual_map import VisualMap

DATASET = "synthetic:length=3&width=320&height=200"
BUILD = ("map", "build", DATASET, "--extractor", "rootsift", "--processes", "1", "--out")


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def own(point_map: VisualMap, tmp_path: Path) -> Path:
    return Path(shutil.copytree(point_map.folder, tmp_path / "map"))


def refuse_everywhere(vizloc: Vizloc, out: Path, said: str) -> None:
    """Refuse every command that would replace ``out``, before its work; nothing has changed then."""
    before = content(out)
    for command in (
        (*BUILD, out),
        ("map", "from-images", DATASET, "--split", "map", "--extractor", "rootsift", "--out", out),
        ("map", "merge", out.with_name("a"), out.with_name("b"), "--out", out),
        ("map", "extend", out.with_name("a"), DATASET, "--out", out),
        ("map", "prune", out.with_name("a"), "--keep", "0.5", "--out", out),
    ):
        ended = vizloc(*command)
        assert ended.code == 1, command
        assert said in ended.err, ended.err
        assert "extracting" not in ended.err
    assert content(out) == before
    assert {path.name for path in out.parent.iterdir()} <= {out.name, "a", "b"}


def test_the_map_of_another_program_is_not_replaced(vizloc: Vizloc, tmp_path: Path) -> None:
    """As of nav2's map_server, which is named alike."""
    out = tmp_path / "site"
    out.mkdir()
    (out / INFO_FILE).write_text("image: map.pgm\nresolution: 0.05\norigin: [0, 0, 0]\n")
    (out / "map.pgm").write_bytes(b"P5 1 1 255 x")
    refuse_everywhere(vizloc, out, f"{out}: is not a map that this program wrote, so it is not replaced")


def test_other_files_in_the_folder_of_a_map_are_not_lost(vizloc: Vizloc, own: Path) -> None:
    (own / "sfm" / "notes.txt").write_text("precious")
    refuse_everywhere(vizloc, own, f"{own}: holds sfm/notes.txt, which is not of the map and would be lost")
    for command in (("map", "index", own), ("map", "align", own, "--to", own / INFO_FILE)):
        assert "holds sfm/notes.txt" in vizloc(*command).err


@pytest.mark.parametrize(
    "text", ["format_version: 1\nfiles: {}\n", "format_version: 1\nchecksum: 0\n", "- a\n", "a: &a [*a]\n", ""]
)
def test_a_description_without_our_checksum_is_not_ours(own: Path, text: str) -> None:
    (own / INFO_FILE).write_text(text)
    with pytest.raises(MapError, match="is not a map that this program wrote, so it is not replaced"):
        require_replaceable(own)


def test_a_map_of_another_version_and_one_with_damaged_arrays_may_be_replaced(own: Path) -> None:
    write_info(own, read_info(own).model_copy(update={"format_version": 99}))
    (own / "landmark_positions.npy").write_bytes(b"")
    (own / "sfm" / "images.bin").unlink()
    require_replaceable(own)


def test_a_file_that_comes_while_a_map_is_built_stays(own: Path) -> None:
    def build() -> None:
        with replacing_map(own) as new:
            shutil.copytree(own, new, dirs_exist_ok=True)
            (own / "notes.txt").write_text("precious")

    with pytest.raises(MapError, match=r"holds notes\.txt"):
        build()
    assert (own / "notes.txt").read_text() == "precious"
    (own / "notes.txt").unlink()
    assert map_problems(own) == []


def test_all_that_changes_a_map_waits_for_nobody(vizloc: Vizloc, own: Path) -> None:
    with changing_map(own):
        for command in (
            (*BUILD, own),
            ("map", "index", own),
            ("map", "align", own, "--to", own / INFO_FILE),
            ("map", "prune", own, "--keep", "0.5", "--out", own),
            ("map", "add-pixloc", own, "--dataset", DATASET),
            ("map", "extend", own, DATASET),
        ):
            ended = vizloc(*command)
            assert ended.code == 1, command
            assert f"error: {own}: another vizloc process (pid" in ended.err
            assert "is writing it" in ended.err
    assert map_problems(own) == []


def test_errors_name_the_map_and_not_the_folder_beside_it(own: Path) -> None:
    def change() -> None:
        with changing_map(own) as copy:
            (copy / "keyframe_poses.npy").unlink()
            VisualMap.open(copy)

    with pytest.raises(MapError) as error:
        change()
    assert str(error.value).startswith(f"{own}/keyframe_poses.npy: missing")
    assert map_problems(own) == []


@pytest.mark.e2e
def test_killed_while_references_are_computed_the_old_map_is_whole(vizloc: Vizloc, own: Path, tmp_path: Path) -> None:
    """The new one takes its place with its references, or not at all; the next build goes on where it ended."""
    out = own
    before = content(out)
    program = subprocess.Popen(
        [sys.executable, "-m", "vizloc_ros.cli.main", *map(str, (*BUILD, out))],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 300
    while not any((tmp_path / "map.build").glob("references-*.parts/*")):
        assert program.poll() is None, "it lives until references are computed"
        assert time.monotonic() < end
        time.sleep(0.005)
    with pytest.raises(OutputError, match=rf"map: another vizloc process \(pid {program.pid}\) is writing it"):
        changing_map(out).__enter__()
    program.send_signal(signal.SIGKILL)
    program.wait()
    assert content(out) == before
    assert f"{out}: whole, for localizer only" in vizloc("map", "check", out).out
    assert vizloc(*BUILD, out).code == 0
    assert f"{out}: whole, for localizer and tracker" in vizloc("map", "check", out).out
    assert [path.name for path in tmp_path.iterdir()] == ["map"]
    assert map_problems(out) == []
    assert read_info(out).dataset == DATASET
