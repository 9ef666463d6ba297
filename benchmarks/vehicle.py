"""Nodes on a vehicle: latency and CPU of each process at 10 and 30 images a second, and maps loaded while it drives."""

import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import endurance
import numpy as np
from measure import Cell, Table
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from vizloc_ros.errors import RosError
from vizloc_ros.mapping.map_format import read_info, write_info
from vizloc_ros.replay.recorder import Recorder
from vizloc_ros.ros.node_options import VISUAL_MAP_SERVER
from vizloc_ros.timing import NANOSECONDS, percentiles

RATES = (10.0, 30.0)  # images a second
MINUTES = 1.5
_BETWEEN_LOADS_S, _ANSWER_S = 12.0, 60.0


def benchmark(out: Path) -> list[Table]:
    """Drive in both modes at both rates, and once more while maps are loaded."""
    maps = out / "vehicle_maps"
    rows: list[list[Cell]] = []
    for rate in RATES:
        for composed in (False, True):
            name = f"{'one process' if composed else 'processes'}, {rate:.0f} Hz"
            folder = out / f"vehicle_{'composed' if composed else 'processes'}_{rate:.0f}"
            rows.append([name, *_figures(_driven(folder, rate, maps, composed=composed))])
    columns = ["", "poses", "wrong", "dropped", "p50 [ms]", "p99 [ms]", "cores by process"]
    notes = [f"{MINUTES} minutes each on the street of `benchmarks/endurance.py`; cores: CPU time over time."]
    return [Table("On a vehicle: rates", columns, rows, notes), _loads_table(out, maps)]


def _driven(folder: Path, rate: float, maps: Path, **arguments: Any) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    return endurance.run(folder, MINUTES, rate, 0, maps=maps, **{"composed": False, **arguments})


def _figures(report: dict[str, Any]) -> list[Cell]:
    samples = report["latency"].get("all_ms", {})
    cores = ", ".join(f"{name} {process['cores']:.2f}" for name, process in report["memory"].items())
    dropped = max(report["dropped"].values())
    return [report["poses"] / report["images"], report["wrong"], dropped, samples["p50"], samples["p99"], cores]


@dataclass
class Loads:
    """Maps that were loaded, one after the other.

    Attributes:
        asked_ns: times of the calls, as ``time.time_ns()``.
        answered_ns: times of the answers.
    """

    asked_ns: list[int] = field(default_factory=list)
    answered_ns: list[int] = field(default_factory=list)

    @contextmanager
    def made(self, recorder: Recorder, folder: Path) -> Iterator[None]:
        """Context in which another map of the place, and the map, are loaded in turn; ``RosError`` if one is not."""
        copy = folder.with_name(f"{folder.name}_copy")
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        info = read_info(folder)
        write_info(copy, info.model_copy(update={"dataset": f"{info.dataset}, copied"}))  # to the nodes, another map
        ended, problems = threading.Event(), list[str]()

        def load_in_turn() -> None:
            number = 0
            while not ended.wait(_BETWEEN_LOADS_S):
                number += 1
                try:
                    answer = self._load(recorder, copy if number % 2 else folder)
                except RosError as error:
                    problems.append(str(error))
                    return
                if not answer.success:
                    problems.append(answer.message)

        thread = threading.Thread(target=load_in_turn)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
        if problems:
            raise RosError(problems[0])

    def _load(self, recorder: Recorder, folder: Path) -> Any:
        parameter = Parameter("map_path", value=str(folder)).to_parameter_msg()
        request = SetParametersAtomically.Request(parameters=[parameter])
        _call(recorder, SetParametersAtomically, "set_parameters_atomically", request)
        asked_ns, answer = _call(recorder, Trigger, "load_map", Trigger.Request())
        self.asked_ns.append(asked_ns)
        self.answered_ns.append(time.time_ns())
        return answer


def _call(recorder: Recorder, kind: Any, name: str, request: Any) -> tuple[int, Any]:
    """Call a service of the map server, and return when, and its answer; the recorder spins in another thread."""
    client = recorder.create_client(kind, f"{VISUAL_MAP_SERVER}/{name}")
    try:
        client.wait_for_service(_ANSWER_S)
        answered = threading.Event()
        time.sleep(0.5)  # until the service knows the client, too
        asked_ns = time.time_ns()
        future = client.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(_ANSWER_S):
            raise RosError(f"{VISUAL_MAP_SERVER}/{name} did not answer in {_ANSWER_S:.0f} s")
        return asked_ns, future.result()
    finally:
        recorder.destroy_client(client)


def _loads_table(out: Path, maps: Path) -> Table:
    loads, folder = Loads(), out / "vehicle_loads"
    report = _driven(folder, RATES[0], maps, beside=loads.made)
    samples = json.loads((folder / "samples.json").read_text())
    posed_ns = report["begin_ns"] + np.array(samples["at_s"]) * NANOSECONDS
    asked, answered = np.array(loads.asked_ns), np.array(loads.answered_ns)
    # Without a pose: from the last image with one before the answer to the first image with one after it.
    missing = [
        posed_ns[posed_ns >= end].min() - posed_ns[posed_ns < end].max() for end in answered[answered < posed_ns[-1]]
    ]
    answers, gaps = (percentiles(np.array(times) / NANOSECONDS) for times in (answered - asked, missing))
    rows: list[list[Cell]] = [
        ["answer after", answers["p50"], float(np.max(answered - asked) / NANOSECONDS)],
        ["without a pose for", gaps["p50"], float(np.max(missing) / NANOSECONDS)],
    ]
    notes = [
        f"{len(asked)} maps loaded, each {_BETWEEN_LOADS_S:.0f} s after the answer before, while {report['images']} "
        f"images came at {RATES[0]:.0f} Hz; {report['poses']} have a pose, {report['wrong']} of them wrong.",
    ]
    return Table("On a vehicle: load_map while driving", ["", "median [s]", "longest [s]"], rows, notes)
