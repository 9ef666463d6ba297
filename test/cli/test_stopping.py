"""Ctrl-C and SIGTERM during commands: 130 or 143, one line, and nothing left over.

``signal_grid.py`` has more commands, at many times.
"""

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from signal_grid import DATASET, start, strike, wait_for, wait_for_the_package

from vizloc_ros.cli.stopping import Stoppable, Stopped
from vizloc_ros.files import replacing_folder

NUMBERS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
BUILD = ["vizloc_ros.cli.main", "map", "build", DATASET, "--extractor", "rootsift", "--out"]


@NUMBERS
def test_the_first_signal_unwinds_and_is_the_exit_code(
    number: signal.Signals, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A library that turns it into an error of its own, or an error of the clean-up, change nothing."""
    before = signal.getsignal(number)

    def build() -> None:
        with replacing_folder(tmp_path / "map"):
            try:
                os.kill(os.getpid(), number)
            except Stopped as error:
                os.kill(os.getpid(), number)  # ignored: the clean-up goes on
                raise RuntimeError("cannot import the C++ backend") from error

    with pytest.raises(SystemExit) as ended, Stoppable():
        build()
    assert ended.value.code == 128 + number
    assert capsys.readouterr().err == f"stopped by {number.name}\n"
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("signals", [1, 2])
def test_what_does_not_end_is_ended_without_its_unfinished_folder(
    signals: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """After the grace, or with a second signal that is no echo of the first."""
    codes: list[int] = []
    stoppable = Stoppable(grace_s=0.2 if signals == 1 else 20.0, end=codes.append)

    def hang() -> None:
        with stoppable, replacing_folder(tmp_path / "map") as staging:
            for _ in range(signals):
                with suppress(Stopped):  # the second one is not raised
                    os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.6 if signals == 2 else 0)
            deadline = time.monotonic() + 5
            while not codes and time.monotonic() < deadline:
                time.sleep(0.01)
            assert codes == [130]
            assert not staging.exists()
            raise Stopped

    with pytest.raises(SystemExit):
        hang()
    assert "stopped by SIGINT" in capfd.readouterr().err


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("number", "moment", "options"),
    [
        (signal.SIGINT, "", []),  # during the imports: nothing of it is there yet
        (signal.SIGINT, "map.build/*/*.npz", ["--processes", "2"]),
        (signal.SIGTERM, ".*building*", []),
    ],
)
def test_a_build_is_stopped_without_litter(
    number: signal.Signals, moment: str, options: list[str], tmp_path: Path
) -> None:
    process = start([*BUILD, str(tmp_path / "map"), *options], tmp_path)
    wait_for_the_package(process)
    if moment != "":
        wait_for(lambda: any(tmp_path.glob(moment)), process)
    struck = strike(process, [number], tmp_path)
    assert not struck.faults(number, is_node=False), struck
    assert struck.code == 128 + number
    assert not (tmp_path / "map").exists()
