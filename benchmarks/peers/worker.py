"""Process of one method: it localizes the queries that it is told, and says how long that took and its memory.

``python -m peers.worker METHOD FOLDER MAP`` reads names of queries from its input, one a line, and answers each with a
line of JSON; at the end of its input, it answers with its peak memory.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from pycolmap import Rigid3d

from peers.setting import Peer, Query, Setting
from vizloc_ros.errors import VizlocError
from vizloc_ros.geometry.poses import array_of, pose_of
from vizloc_ros.timing import Stopwatch

THREADS = 1  # of the linear algebra in each process, as in the nodes


class Ours:
    """Our localizer with its default options."""

    def __init__(self, setting: Setting) -> None:
        from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer

        self._localizer = HierarchicalLocalizer(setting.visual_map)

    def localize(self, query: Query, clock: Stopwatch) -> Rigid3d | None:
        """Pose map_from_cam of a query, or None without a verified one."""
        outcome, _ = self._localizer.localize_with_candidates(query.features, query.camera, clock)
        return None if outcome.pose is None else outcome.pose.map_from_cam


def _pairwise(setting: Setting, clusters: bool = False) -> Peer:
    from peers.pairwise import Pairwise

    return Pairwise(setting, clusters=clusters)


def _opencv(setting: Setting) -> Peer:
    from peers.pairwise import Pairwise, by_opencv

    return Pairwise(setting, by_opencv)


def _hloc(setting: Setting) -> Peer:
    from peers.hloc_itself import HlocItself

    return HlocItself(setting)


OURS, ALGORITHM, CLUSTERS = "ours", "hloc's algorithm", "hloc's algorithm, clusters"
OPENCV, HLOC = "its matches, OpenCV's PnP", "hloc itself"
METHODS: dict[str, Callable[[Setting], Peer]] = {
    OURS: Ours,
    ALGORITHM: _pairwise,
    CLUSTERS: partial(_pairwise, clusters=True),
    OPENCV: _opencv,
    HLOC: _hloc,
}


class Worker:
    """Process of a method. Ended by ``close``; what it prints is in a file of the setting's folder."""

    def __init__(self, method: str, setting: Setting) -> None:
        """Start the process."""
        self._log = setting.folder / f"{re.sub('[^a-z]+', '_', method.lower())}.log"
        self._method = method
        path = os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "peers.worker", method, str(setting.folder), str(setting.map_folder)],
                env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(THREADS)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def localize(self, name: str) -> tuple[Rigid3d | None, dict[str, float]]:
        """Pose map_from_cam of a query, and the milliseconds of the stages, in "total", and of all threads in "CPU"."""
        answer = self._ask(name)
        return None if answer["pose"] is None else pose_of(answer["pose"]), answer["milliseconds"]

    def close(self) -> float | None:
        """End the process and return its peak memory [MB]; None where the system does not say."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        peak: float | None = self._answer()["peak_mb"]
        self._process.wait()
        return peak

    def kill(self) -> None:
        """End the process at once, in any state."""
        self._process.kill()
        with suppress(OSError), self._process:  # closes its pipes and waits
            pass

    def _ask(self, name: str) -> dict[str, Any]:
        with suppress(OSError):  # it ended: what it said is in the log
            print(name, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise VizlocError(f"{self._method}: its process ended; see {self._log}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def main(method: str, folder: str, map_folder: str) -> None:
    """Answer until the end of the input."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries may print
    setting = Setting(Path(folder), Path(map_folder))
    queries, peer = setting.queries, METHODS[method](setting)
    for name in map(str.strip, sys.stdin):
        clock, cpu = Stopwatch(), time.process_time()
        with clock("total"):
            pose = peer.localize(queries[name], clock)
        milliseconds = {**clock.milliseconds, "CPU": 1e3 * (time.process_time() - cpu)}
        answer = {"pose": None if pose is None else array_of(pose).tolist(), "milliseconds": milliseconds}
        print(json.dumps(answer), file=answers, flush=True)
    print(json.dumps({"peak_mb": _peak_mb()}), file=answers, flush=True)


def _peak_mb() -> float | None:
    """Peak memory of this process alone: ``ru_maxrss`` of a new process includes its parent's."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((1e-3 * float(line.split()[1]) for line in lines if line.startswith("VmHWM")), None)


if __name__ == "__main__":
    main(*sys.argv[1:])
