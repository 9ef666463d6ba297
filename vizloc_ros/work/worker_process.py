"""Process that computes chunks for the one that started it, and ends with that.

It is a new interpreter and imports only what its orders need. A process of ``multiprocessing`` imports the main module
of its parent first, which is the whole command line; and a fork is no way, as sessions of ONNX Runtime do not survive
it.
"""

import os
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from multiprocessing import Pipe, spawn
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import cv2

from vizloc_ros.errors import VizlocError

Order = tuple[str, str, bytes, str]  # ``Chunk.order``
_MAIN = b"__main__"
_START = "from vizloc_ros.work.worker_process import main; main({})"
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class WorkerProcess:
    """Process that starts with its first order."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection[Any, Any] | None = None

    def compute(self, order: Order) -> None:
        """Compute a chunk. Raises the error of the computation, or ``EOFError`` if the process was killed."""
        connection = self._connection or self._start()
        try:
            connection.send(order)
            error = connection.recv()
        except OSError as broken:
            raise EOFError from broken
        if error is not None:
            raise error

    def end(self) -> None:
        """End the process, also in the middle of a chunk; the next order starts another one."""
        process, connection = self._process, self._connection
        self._process = self._connection = None
        if process is not None:
            process.kill()  # its files are written whole or not at all
            process.wait()
        if connection is not None:
            connection.close()

    def _start(self) -> "Connection[Any, Any]":
        own, other = Pipe()
        with other:
            self._process = subprocess.Popen(
                [spawn.get_executable(), "-c", _START.format(other.fileno())],
                env={**os.environ, **_ONE_THREAD, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)},
                stdin=subprocess.DEVNULL,
                pass_fds=[other.fileno()],
                start_new_session=True,  # Ctrl-C is for the program alone
            )
        preparation = spawn.get_preparation_data("worker")
        own.send({name: value for name, value in preparation.items() if name != "authkey"})  # which is not for sending
        self._connection = own
        return own


def main(descriptor: int) -> None:
    """Compute the orders of a connection. Its end is the end of this process, also in the middle of a chunk."""
    cv2.setNumThreads(1)
    connection: Connection[Any, Any] = Connection(descriptor)
    with ThreadPoolExecutor(1) as pool:
        try:
            preparation = connection.recv()
            while True:
                done = pool.submit(_compute, preparation, connection.recv())
                done.add_done_callback(lambda done: connection.send(_portable(done.exception())))
        except (EOFError, OSError):
            os._exit(1)


def _compute(preparation: dict[str, Any], order: Order) -> None:
    from vizloc_ros.work.workers import compute_chunk

    if preparation and _is_of_main(order):
        spawn.prepare(preparation)  # imports the main module of the program
        preparation.clear()
    compute_chunk(*order)


def _is_of_main(order: Order) -> bool:
    """True if the function or an item is of the main module of the program, as in a script."""
    folder, function_file, items, _ = order
    return _MAIN in items or _mentions_main(Path(folder) / function_file)


@lru_cache(maxsize=1)
def _mentions_main(path: Path) -> bool:
    return path.is_file() and _MAIN in path.read_bytes()


def _portable(error: BaseException | None) -> BaseException | None:
    """Error that can be pickled; one that is a fault of the program is its traceback."""
    if error is None or isinstance(error, (VizlocError, OSError)):
        return error
    return RuntimeError("".join(traceback.format_exception(type(error), error, error.__traceback__)))
