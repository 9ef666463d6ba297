"""Workers on a cluster of Ray, or on one that is started on this machine."""

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from vizloc_ros.errors import ConfigError, MapError, VizlocError
from vizloc_ros.parallel import usable_cores
from vizloc_ros.work.workers import Chunk, as_they_finish, compute_elsewhere

LOCAL = "local"
_CHUNKS_A_CPU = 2


class RayWorkers:
    """Tasks of Ray, one CPU each."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._task = ray.remote(num_cpus=1)(compute_elsewhere)

    def run(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        """Compute the chunks, see ``Workers``. Raises ``MapError`` if a worker or its machine is lost for good."""
        window = _CHUNKS_A_CPU * max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        try:
            for chunk in as_they_finish(lambda c: self._task.remote(*c.order).future(), chunks, window):
                if not (chunk.folder / chunk.file).is_file():
                    raise MapError(
                        f"{chunk.folder / chunk.file}: a worker of Ray wrote it, and it is not here: the work folder "
                        "must be on a disk that all machines share, at the same path (--work)"
                    )
                yield chunk
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, VizlocError):
                raise cause from error  # its text names the image; that of Ray is a traceback
            if isinstance(cause, ImportError):
                raise MapError(
                    f"a worker of Ray lacks a module ({cause}): install the same version of vizloc_ros on all machines"
                ) from error
            raise
        except self._ray.exceptions.RayError as error:
            raise MapError(
                f"a worker of Ray was lost ({' '.join(str(error).split())[:300]}). The same command goes on where this "
                "one ended"
            ) from error


@contextmanager
def open_ray(address: str, processes: int | None = None) -> Iterator[RayWorkers]:
    """Give the workers of a cluster; the connection ends with the block.

    Args:
        address: address of the cluster, such as ``auto`` or ``192.168.1.5:6379``; ``local`` starts one here.
        processes: number of workers of a local one; None for all cores.

    Raises:
        ConfigError: Ray is not installed, or there is no such cluster.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        import ray
    except ImportError as error:
        raise ConfigError("--ray needs Ray: pip install 'vizloc_ros[ray]'") from error
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address == LOCAL:
            count = processes or usable_cores()
            ray.init(address=LOCAL, num_cpus=count, include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except Exception as error:  # Ray has no class of its own for this
        raise ConfigError(f"--ray {address}: does not start or answer ({' '.join(str(error).split())})") from error
    for number, handler in handlers.items():
        if callable(handler):
            signal.signal(number, handler)  # Ray's own ends the process with an exit code of its own
    try:
        yield RayWorkers(ray)
    finally:
        ray.shutdown()
