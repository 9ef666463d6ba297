"""Stages in a work folder: the results of memory, whatever the workers, and after kills, errors and damage."""

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from counted_stage import Counted, called
from repository import REPOSITORY

from vizloc_ros.errors import ImageError, MapError
from vizloc_ros.parallel import Item, silent
from vizloc_ros.work.ray_workers import open_ray
from vizloc_ros.work.stage_arrays import dumps, loads
from vizloc_ros.work.stages import IN_MEMORY, Arrays, Stages, joined
from vizloc_ros.work.work_folder import work_folder
from vizloc_ros.work.workers import Processes, Threads, Workers, open_processes

PATHS = os.pathsep.join([str(Path(__file__).parent), str(REPOSITORY)])  # for other processes
COUNT = 150  # items: more than one a chunk


def compute(work: Stages, function: Counted, count: int = COUNT) -> list[Arrays]:
    return work.map("count", function, range(count), "counting", silent)


def assert_equal(found: list[Arrays], expected: list[Arrays]) -> None:
    for some, others in zip(found, expected, strict=True):
        for a, b in zip(some, others, strict=True):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            assert np.array_equal(a, b)


@pytest.fixture(scope="module")
def processes() -> Iterator[Processes]:
    with open_processes(2) as workers:
        yield workers


@pytest.fixture(params=["threads", "one thread", "processes"])
def workers(request: pytest.FixtureRequest, processes: Processes) -> Workers:
    return {"threads": Threads(), "one thread": Threads(1), "processes": processes}[request.param]


def test_results_are_those_of_memory(tmp_path: Path, workers: Workers) -> None:
    function = Counted(tmp_path / "calls")
    expected = compute(IN_MEMORY, function)
    function.calls.unlink()
    with work_folder(tmp_path / "work", workers) as work:
        found = compute(work, function)
        assert_equal(found, expected)
        assert called(function.calls) == list(range(COUNT))
        again = compute(work, function)  # from the files
        assert called(function.calls) == list(range(COUNT))
        assert_equal(again, expected)
        first, second = joined(found)
        assert isinstance(first.base, np.memmap)  # no copy
        assert_equal([(first, second)], [tuple(map(np.concatenate, zip(*expected, strict=True)))])
    assert not (tmp_path / "work").exists()


def test_results_go_to_other_processes_as_references(tmp_path: Path, processes: Processes) -> None:
    """A later stage reads them from the files, and its name follows from theirs."""
    with work_folder(tmp_path / "work", processes) as work:
        found = compute(work, Counted(tmp_path / "calls"))
        data = dumps(found[4], (tmp_path / "work").resolve())
        assert len(data) < len(pickle.dumps(found[4])) + 100
        assert np.asarray(found[4][0]).tobytes() not in data
        assert_equal([loads(data, (tmp_path / "work").resolve())], [found[4]])
        doubled = work.map("double", double, found, "doubling", silent)
        assert_equal(doubled, [(2 * first, second) for first, second in found])


def double(arrays: Arrays) -> Arrays:
    return 2 * arrays[0], arrays[1]


def test_an_error_of_a_worker_is_the_error(tmp_path: Path, workers: Workers) -> None:
    """Results of before are kept, and not computed again."""
    function = Counted(tmp_path / "calls", bad=100)
    with pytest.raises(ImageError, match=r"^image 100: is empty$"), work_folder(tmp_path / "work", workers) as work:
        compute(work, function)
    kept = len(list((tmp_path / "work").glob("count-*.parts/*.npz")))
    assert kept >= 1
    before = len(called(function.calls))
    with pytest.raises(ImageError), work_folder(tmp_path / "work", workers) as work:
        compute(work, function)
    assert len(called(function.calls)) - before < COUNT - kept


def test_only_what_is_missing_is_computed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    function, work = Counted(tmp_path / "calls"), stopped_after(tmp_path, 40)
    parts = sorted(work.glob("count-*.parts/*.npz"))
    parts[0].write_bytes(parts[0].read_bytes()[:-30])  # as after a power cut
    damaged = parts[1].read_bytes()
    parts[1].write_bytes(damaged[:200] + bytes(8) + damaged[208:])
    function.calls.unlink()
    with work_folder(work, Threads(1)) as folder:
        found = compute(folder, function)
    done = called(function.calls)
    assert 0 < len(done) < COUNT
    assert {int(part.stem) for part in parts[:2]} <= set(done)
    assert "counting goes on" in caplog.text
    assert_equal(found, compute(IN_MEMORY, function))


def test_other_options_and_items_begin_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    work = stopped_after(tmp_path, 40)
    function = Counted(tmp_path / "calls", factor=3)
    function.calls.unlink()
    with kept_folder(work) as folder:
        assert_equal(compute(folder, function), compute(IN_MEMORY, function))
        assert "count is of other images or options" in caplog.text
        assert called(function.calls) == sorted(2 * list(range(COUNT)))
        assert len(list(work.glob("count-*"))) == 1
        assert len(compute(folder, function, COUNT - 1)) == COUNT - 1
    assert len(called(function.calls)) == 3 * COUNT - 1


def test_what_cannot_be_pickled_is_computed_here(tmp_path: Path, processes: Processes) -> None:
    with work_folder(tmp_path / "work", processes) as work:
        found = work.map("local", lambda item: (np.array([item]),), range(5), "", silent)
    assert [int(array[0]) for (array,) in found] == list(range(5))


@contextmanager
def kept_folder(path: Path) -> Iterator[Stages]:
    """Work folder that is kept, as after an error."""
    with suppress(BrokenPipeError), work_folder(path, Threads(1)) as work:
        yield work
        raise BrokenPipeError


def stopped_after(tmp_path: Path, count: int) -> Path:
    """Work folder of a run that was interrupted after some items."""

    def stop(iterable: Iterable[Item], description: str, total: int) -> Iterable[Item]:
        for number, item in enumerate(iterable):
            if number == count:
                raise KeyboardInterrupt
            yield item

    with pytest.raises(KeyboardInterrupt), work_folder(tmp_path / "work", Threads(1)) as work:
        work.map("count", Counted(tmp_path / "calls"), range(COUNT), "counting", stop)
    return tmp_path / "work"


def test_killed_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    """SIGKILL at random moments; workers end with the process that started them."""
    work, calls, count = tmp_path / "work", tmp_path / "calls", 300
    rng = np.random.default_rng()
    for share in sorted(rng.uniform(0.1, 0.9, 2)):
        program = start(work, calls, count, 2)
        wait_for(lambda share=share: len(list(work.glob("count-*.parts/[0-9]*.npz"))) >= share * count / 4)
        time.sleep(rng.uniform(0, 0.02))
        program.kill()
        program.wait()
        alive = {int(line.split()[1]) for line in calls.read_text().splitlines()}
        wait_for(lambda alive=alive: not any(Path(f"/proc/{pid}").exists() for pid in alive))
    before = len(called(calls))
    with kept_folder(work) as folder:
        found = compute(folder, Counted(calls, seconds=0.02), count)
        assert_equal(found, compute(IN_MEMORY, Counted(tmp_path / "others", seconds=0.0), count))
    assert 0 < len(called(calls)) - before < count
    assert set(called(calls)) == set(range(count))


def start(work: Path, calls: Path, count: int, processes: int) -> "subprocess.Popen[bytes]":
    code = f"import counted_stage; counted_stage.main({str(work)!r}, {str(calls)!r}, {count}, {processes})"
    return subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": PATHS})


def wait_for(condition: "Callable[[], bool]", seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_killed_worker_is_an_error_and_ctrl_c_ends_all(tmp_path: Path) -> None:
    function = Counted(tmp_path / "calls", deadly=True, spared=os.getpid())
    with (
        pytest.raises(MapError, match=r"worker processes was killed.*--processes"),
        open_processes(2) as workers,
        work_folder(tmp_path / "work", workers) as work,
    ):
        compute(work, function)
    wait_for(lambda: not others_of(function))
    function = replace(function, deadly=False, seconds=30.0)

    def interrupt(iterable: Iterable[Item], description: str, total: int) -> Iterable[Item]:
        for item in iterable:
            wait_for(lambda: bool(others_of(function)))
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            yield item

    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt), open_processes(2) as two, work_folder(tmp_path / "work", two) as work:
            work.map("count", function, range(3), "counting", interrupt)
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert not others_of(function)
    assert time.monotonic() - began < 25


def others_of(function: Counted) -> set[int]:
    """Other processes that have computed the function and are alive."""
    lines = function.calls.read_text().splitlines() if function.calls.exists() else []
    others = {int(line.split()[1]) for line in lines} - {os.getpid()}
    return {pid for pid in others if Path(f"/proc/{pid}").exists()}


def test_functions_of_a_script_go_to_other_processes(tmp_path: Path) -> None:
    """Its main module is imported there for them, as by ``multiprocessing``, and its main part is not run again."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, script, tmp_path / "work"]
    ended = subprocess.run(command, env={**os.environ, "PYTHONPATH": PATHS}, stdout=subprocess.PIPE, check=True)
    processes, results = ended.stdout.decode().splitlines()
    assert (processes, results) == ("2", str([2 * item for item in range(COUNT)]))


SCRIPT = f"""
import os, sys
from pathlib import Path
import numpy as np
from vizloc_ros.parallel import silent
from vizloc_ros.work.work_folder import work_folder
from vizloc_ros.work.workers import open_processes

def doubled(item):
    return np.array([2 * item]), np.array([os.getpid()])

if __name__ == "__main__":
    with open_processes(2) as workers, work_folder(Path(sys.argv[1]), workers) as work:
        found = work.map("double", doubled, range({COUNT}), "doubling", silent)
    print(len({{int(pid[0]) for _, pid in found}}))
    print([int(value[0]) for value, _ in found])
"""


def test_two_builds_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        work_folder(tmp_path / "work"),
        pytest.raises(MapError, match="another build works there"),
        work_folder(tmp_path / "work"),
    ):
        pass
    assert not (tmp_path / "work").exists()  # nothing was computed
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"")
    with pytest.raises(MapError, match="is not the work folder"), work_folder(tmp_path / "photos"):
        pass
    assert (tmp_path / "photos" / "a.jpg").exists()


def test_ray_equals_serial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (extra 'ray')")
    monkeypatch.setenv("PYTHONPATH", PATHS)
    function = Counted(tmp_path / "calls")
    with open_ray("local", 2) as workers:
        with work_folder(tmp_path / "work", workers) as work:
            found = compute(work, function)
            assert_equal(found, compute(IN_MEMORY, replace(function, calls=tmp_path / "others")))
        pids = {line.split()[1] for line in function.calls.read_text().splitlines()}
        assert len(pids) == 2
        with pytest.raises(ImageError, match=r"^image 100: is empty$"), work_folder(tmp_path / "work", workers) as work:
            compute(work, replace(function, bad=100))
