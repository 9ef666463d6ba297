"""Run the command line in this process."""

from dataclasses import dataclass

import pytest

from vizloc_ros.cli import main as cli


@dataclass(frozen=True)
class Ended:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str


class Vizloc:
    """Run ``vizloc`` in this process, through its entry point."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: object) -> Ended:
        self._monkeypatch.setattr("sys.argv", ["vizloc", *map(str, arguments)])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as exit_info:
            cli.main()
        return Ended(int(exit_info.value.code or 0), *self._capsys.readouterr())
