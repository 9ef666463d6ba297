"""Options ``--processes``, ``--ray`` and ``--work`` of the commands that build maps, and what they open."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from vizloc_ros.work.stages import Stages

ProcessesOption = Annotated[
    int | None,
    typer.Option(help="Processes, of which this is one; 1: one core; default: a core each, if it pays", min=1),
]
RayOption = Annotated[
    str, typer.Option(metavar="ADDRESS", help="Work on a Ray cluster: auto, HOST:PORT; local: one started here")
]
WorkOption = Annotated[
    Path | None, typer.Option(help="Folder of the work in progress, for a run after a kill; default: OUT.build")
]
_WORTHWHILE = 200  # images; for fewer, starting processes takes longer than they save (docs/performance.md)


@dataclass(frozen=True)
class WorkChoice:
    """Choice of the workers of a build, and of their folder.

    Attributes:
        processes: number of processes with this one; None: as many as pay.
        ray: address of a Ray cluster, ``local``, or empty.
        folder: work folder; None: beside the map.
    """

    processes: int | None = None
    ray: str = ""
    folder: Path | None = None


@contextmanager
def open_work(choice: WorkChoice, out: Path, images: int, provider: str) -> Iterator[Stages]:
    """Give the work folder of a build; it is removed if the block succeeds.

    Args:
        choice: options of the command.
        out: folder of the map.
        images: number of the images.
        provider: device of the networks; by default one process uses a GPU.
    """
    from vizloc_ros.mapping.map_writer import require_replaceable
    from vizloc_ros.parallel import usable_cores
    from vizloc_ros.work.ray_workers import open_ray
    from vizloc_ros.work.work_folder import work_folder
    from vizloc_ros.work.workers import Threads, Workers, open_processes

    require_replaceable(out)
    count = choice.processes
    if count is None:
        count = usable_cores() if provider == "cpu" and images >= _WORTHWHILE else 0
    opened: AbstractContextManager[Workers]
    if choice.ray:
        opened = open_ray(choice.ray, choice.processes)
    elif count > 1:
        opened = open_processes(count)
    else:
        opened = nullcontext(Threads(count))  # 0: as many as cores
    with opened as workers, work_folder(choice.folder or out.resolve().with_name(f"{out.name}.build"), workers) as work:
        yield work
