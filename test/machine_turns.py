"""Turns on the machine for the tests of several workers: beside each other, or alone for those that measure time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def turn(folder: Path, *, alone: bool) -> Iterator[None]:
    """Context of a test; it waits for its turn. The folder for the locks is the same for all workers."""
    with (folder / "waiting").open("w") as waiting, (folder / "running").open("w") as running:
        fcntl.flock(waiting, fcntl.LOCK_EX)  # behind one who waits to be alone, no other one starts
        fcntl.flock(running, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(waiting, fcntl.LOCK_UN)
        yield
