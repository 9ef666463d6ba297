"""Files and folders are replaced whole: whatever happens while they are written, the old or the new one is there."""

import ctypes
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from point_street import View, write_point_map
from repository import REPOSITORY

from vizloc_ros.cli import main as cli
from vizloc_ros.errors import MapError, OutputError
from vizloc_ros.files import replacing, replacing_folder, require_file, require_folder
from vizloc_ros.mapping.check import map_problems
from vizloc_ros.mapping.map_format import read_info
from vizloc_ros.mapping.visual_map import VisualMap

pytestmark = pytest.mark.e2e


def write(folder: Path, text: str) -> None:
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "file.txt").write_text(text)


def content(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_file_appears_when_the_block_is_done(tmp_path: Path) -> None:
    target = tmp_path / "made" / "on" / "demand" / "file.bin"
    with replacing(target) as file:
        file.write(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert list(target.parent.iterdir()) == [target]
    assert target.stat().st_mode == written(tmp_path / "other").stat().st_mode, "not private, as temporary files are"


def anything(path: Path) -> None:
    """Whatever lies there may be replaced."""


def written(path: Path) -> Path:
    path.write_bytes(b"")
    return path


def test_a_file_is_on_the_disk_before_it_takes_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a power cut could leave the new name with the content of neither."""
    target, flushed = tmp_path / "file.bin", []
    target.write_bytes(b"old")

    def fsync(descriptor: int) -> None:
        flushed.append((os.fstat(descriptor).st_size, target.read_bytes()))

    monkeypatch.setattr(os, "fsync", fsync)
    with replacing(target) as file:
        file.write(b"brand new")
    assert flushed == [(9, b"old")]
    assert target.read_bytes() == b"brand new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("old", [None, b"old"])
def test_an_error_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, error: type[BaseException], old: bytes | None
) -> None:
    target = tmp_path / "file.bin"
    if old is not None:
        target.write_bytes(old)

    def fail() -> None:
        with replacing(target) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == ([] if old is None else [old])


def test_a_file_that_cannot_take_its_place_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "target" / "in the way").mkdir(parents=True)

    def fail() -> None:
        with replacing(tmp_path / "target"):
            pass

    with pytest.raises(OSError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even with the same process id, as in two containers that share a folder: the last to finish stays, whole."""
    monkeypatch.setattr(os, "getpid", lambda: 7)
    target = tmp_path / "file.bin"
    with replacing(target) as ours:
        ours.write(b"ours")
        with replacing(target) as theirs:
            theirs.write(b"theirs")
        assert target.read_bytes() == b"theirs"
    assert target.read_bytes() == b"ours"
    assert list(tmp_path.iterdir()) == [target]


def test_nothing_else_writes_beside_and_renames() -> None:
    """The idea has one home."""
    package = REPOSITORY / "vizloc_ros"
    idiom = re.compile(r"\.rename\(|os\.replace|\.replace\((path|kept|target)\)|\.part\b|NamedTemporaryFile")
    users = {str(path.relative_to(package)) for path in package.rglob("*.py") if idiom.search(path.read_text())}
    assert users == {"files.py", "bags/writer.py"}, "a bag's files are moved up from the folder whose name they bear"


def test_nothing_else_deletes_folders() -> None:
    package = REPOSITORY / "vizloc_ros"
    users = {
        str(p.relative_to(package)) for p in package.rglob("*.py") if re.search(r"rmtree|os\.remove", p.read_text())
    }
    assert users == {"files.py"}


@pytest.fixture(params=["exchange", "three renames"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the atomic exchange of Linux, and where the system has none."""
    if request.param == "three renames":
        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())


def test_a_new_folder_appears_when_the_block_is_done(tmp_path: Path) -> None:
    target = tmp_path / "made" / "on" / "the" / "way"
    with replacing_folder(target) as folder:
        write(folder, "new")
        assert folder.parent.parent == target.parent, "on the same disk"
        assert folder.name == target.name
        assert not target.exists()
    assert content(target) == {"inner/file.txt": "new"}
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.usefixtures("way")
def test_an_old_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "map"
    write(target, "old")
    (target / "only in the old one").write_text("")
    with replacing_folder(target, anything) as folder:
        write(folder, "new")
        assert content(target)["inner/file.txt"] == "old"
    assert content(target) == {"inner/file.txt": "new"}
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.usefixtures("way")
def test_an_old_file_is_replaced_by_a_folder(tmp_path: Path) -> None:
    target = tmp_path / "bag"
    target.write_text("old")
    with replacing_folder(target, anything) as folder:
        write(folder, "new")
    assert content(target) == {"inner/file.txt": "new"}
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can exchange two folders in one step")
def test_the_target_is_there_at_every_moment_of_a_replacement(tmp_path: Path) -> None:
    target, done, looks = tmp_path / "map", threading.Event(), []
    target.mkdir()

    def look() -> None:
        while not done.is_set():
            looks.append(target.exists())

    watcher = threading.Thread(target=look)
    watcher.start()
    for _ in range(300):
        with replacing_folder(target):
            pass
    done.set()
    watcher.join()
    assert len(looks) > 100
    assert all(looks)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_the_target_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "map"
    write(target, "old")

    def fail() -> None:
        with replacing_folder(target, anything) as folder:
            write(folder, "half")
            raise error

    with pytest.raises(error):
        fail()
    assert content(target) == {"inner/file.txt": "old"}
    assert list(tmp_path.iterdir()) == [target]


def test_a_signal_while_the_new_folder_is_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(lock: int) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr("vizloc_ros.files.lock_file", stop)
    with pytest.raises(KeyboardInterrupt), replacing_folder(tmp_path / "map", anything):
        pytest.fail("the folder is not there yet")
    assert not any(tmp_path.iterdir())


def test_a_relative_target_is_where_one_expects_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with replacing_folder(Path("map")) as folder:
        write(folder, "new")
    assert content(tmp_path / "map") == {"inner/file.txt": "new"}


def dead_process_id() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_left_overs_of_killed_processes_go_whatever_their_id_is_now(tmp_path: Path) -> None:
    """A folder is in use only if its lock is held: process ids come again, in containers soon."""
    living, dead = f".map.building-{os.getppid()}", f".map.building-{dead_process_id()}"
    other_map = f".map2.building-{dead_process_id()}"
    for name in (living, dead, other_map, ".map.building-nonsense"):
        write(tmp_path / name, "left")
    with replacing_folder(tmp_path / "map") as folder:
        write(folder, "new")
    assert {path.name for path in tmp_path.iterdir()} == {"map", other_map}


def test_what_this_process_left_does_not_mix_with_the_new(tmp_path: Path) -> None:
    """A container's processes have the same few ids again and again."""
    write(tmp_path / f".map.building-{os.getpid()}", "left")
    with replacing_folder(tmp_path / "map") as folder:
        assert list(folder.iterdir()) == []


def test_killed_between_two_renames_the_old_folder_comes_back(tmp_path: Path) -> None:
    """Without the atomic exchange, a crash can leave the old one under its third name only."""
    write(tmp_path / f".map.building-{dead_process_id()}" / "map-old", "old")

    def fail() -> None:
        with replacing_folder(tmp_path / "map", anything):
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert content(tmp_path / "map") == {"inner/file.txt": "old"}


_OTHER_WRITER = (
    "import sys, time; from pathlib import Path; from vizloc_ros.files import replacing_folder\n"
    "with replacing_folder(Path(sys.argv[1])) as folder:\n"
    "    print(flush=True); sys.stdin.readline(); (folder / 'theirs').write_text('theirs')"
)


def other_writer(target: Path) -> "subprocess.Popen[str]":
    """Another process in the middle of writing a folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", _OTHER_WRITER, target],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "\n"
    return process


def test_a_second_writer_is_refused_by_name_until_the_first_ends_or_is_killed(tmp_path: Path) -> None:
    target = tmp_path / "map"
    first = other_writer(target)

    def write_too() -> None:
        with replacing_folder(target, anything) as folder:
            (folder / "ours").write_text("ours")

    message = rf"map: another vizloc process \(pid {first.pid}\) is writing it: wait for it"
    with pytest.raises(OutputError, match=message):
        write_too()
    first.communicate("go on\n", timeout=60)
    assert content(target) == {"theirs": "theirs"}
    killed = other_writer(tmp_path / "other")
    killed.kill()
    killed.wait()
    assert (tmp_path / f".other.building-{killed.pid}").is_dir()
    with replacing_folder(tmp_path / "other"):
        pass
    write_too()
    assert content(target) == {"ours": "ours"}
    assert {path.name for path in tmp_path.iterdir()} == {"map", "other"}


def test_blocks_can_be_nested(tmp_path: Path) -> None:
    """A command has one around the functions that have one themselves."""
    with replacing_folder(tmp_path / "map") as outer, replacing_folder(outer) as inner:
        (inner / "file").write_text("new")
    assert content(tmp_path / "map") == {"file": "new"}
    assert [path.name for path in tmp_path.iterdir()] == ["map"]


def test_what_comes_to_the_target_while_it_is_written_stays(tmp_path: Path) -> None:
    def fill() -> None:
        with replacing_folder(tmp_path / "map") as folder:
            (folder / "ours").write_text("ours")
            write(tmp_path / "map", "precious")

    with pytest.raises(OutputError, match="map: exists already"):
        fill()
    assert content(tmp_path / "map") == {"inner/file.txt": "precious"}
    assert [path.name for path in tmp_path.iterdir()] == ["map"]


def test_a_target_that_cannot_be_written_is_named_before_the_work(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("precious")

    def begin(path: Path, needed: int = 0) -> None:
        with replacing_folder(path, anything, needed):
            raise AssertionError("the work has begun")

    with pytest.raises(OutputError, match=r"file/maps: cannot be a folder, because .*file is a file"):
        begin(file / "maps" / "map")
    with pytest.raises(OutputError, match=r"/proc/maps: cannot be written \(.*\): give another --out"):
        begin(Path("/proc/maps/map"))
    with pytest.raises(OutputError, match=r"needs about 1000000000000 MB, but its disk has \d+ MB"):
        begin(tmp_path / "map", 10**18)
    with pytest.raises(OutputError, match="is a folder, and a file is to be written there"):
        require_file(tmp_path)
    require_file(tmp_path / "new" / "file")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "new"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into every folder")
def test_a_folder_without_the_right_to_write_is_named_before_the_work(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match=r"cannot be written \(Permission denied\)"):
            require_folder(tmp_path)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_no_map_is_not_replaced(
    tmp_path: Path,
    point_views: list[View],
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    precious = tmp_path / "photos"
    file = precious if kind == "file" else precious / "holiday.jpg"
    file.parent.mkdir(exist_ok=True)
    file.write_text("precious")
    with pytest.raises(MapError, match=r"photos: exists and is not a map, so it is not replaced"):
        write_point_map(point_views[:4], precious)
    assert file.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [precious]
    # The command says so before it starts to work.
    build = ["map", "build", "synthetic:length=5", "--extractor", "rootsift", "--out", str(precious)]
    assert run_vizloc(*build, monkeypatch=monkeypatch) == 1
    said = capsys.readouterr().err
    assert "is not a map" in said
    assert "extracting" not in said


def test_an_empty_folder_and_a_broken_map_may_be_replaced(tmp_path: Path, point_views: list[View]) -> None:
    out = tmp_path / "map"
    out.mkdir()
    write_point_map(point_views[:4], out)
    (out / "landmark_positions.npy").unlink()
    write_point_map(point_views[:5], out)
    assert map_problems(out) == []
    assert read_info(out).keyframes == 5


def test_a_map_that_is_open_outlives_its_replacement(tmp_path: Path, point_views: list[View]) -> None:
    out = tmp_path / "map"
    write_point_map(point_views[:5], out)
    opened = VisualMap.open(out)
    before = opened.landmark_positions.copy()
    write_point_map(point_views[:4], out)
    assert (opened.landmark_positions == before).all()
    assert VisualMap.open(out).info.keyframes == 4


@pytest.mark.parametrize("last_file", ["keyframe_poses.npy", "map.yaml"], ids=["at the start", "at the end"])
def test_a_build_that_is_killed_leaves_the_old_map_whole(
    point_map: VisualMap, street_folder: Path, tmp_path: Path, last_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL while files are written beside the map; the next build removes what was left."""
    out = Path(shutil.copytree(point_map.folder, tmp_path / "map"))
    build = ["map", "build", f"folder:{street_folder}", "--extractor", "rootsift", "--every", "2", "--out", str(out)]
    process = subprocess.Popen([sys.executable, "-m", "vizloc_ros.cli.main", *build], cwd=REPOSITORY)
    staging = tmp_path / f".map.building-{process.pid}"
    try:
        while not any(staging.rglob(last_file)):
            assert process.poll() is None, "the build must live until it writes"
            time.sleep(0.0005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert run_vizloc("map", "check", str(out), monkeypatch=monkeypatch) == 0
    if last_file != "map.yaml":  # with everything written, the swap may just have happened
        assert read_info(out) == point_map.info
        assert staging.is_dir()
    assert run_vizloc(*build, monkeypatch=monkeypatch) == 0
    assert list(tmp_path.iterdir()) == [out]
    assert map_problems(out) == []
    assert read_info(out).dataset == f"folder:{street_folder}"


def run_vizloc(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["vizloc", *arguments])
    with pytest.raises(SystemExit) as exit_info:
        cli.main()
    return int(exit_info.value.code or 0)
