"""ROS domains that no other test, worker or run on this machine has at the same time: each has a locked file."""

import fcntl
import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_COUNT = 101  # the ports of higher domains are those that Linux gives to any program
_numbers = itertools.count(os.getpid())


@contextmanager
def own_domain() -> Iterator[int]:
    """Context with the number of a domain whose nodes hear no others; another one each time."""
    for number in itertools.islice(_numbers, _COUNT):
        domain_id = 1 + number % _COUNT
        with (Path(tempfile.gettempdir()) / f"vizloc_test_{os.getuid()}_domain_{domain_id}").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield domain_id
            return
    raise RuntimeError("no ROS domain is free: other runs of the tests have all of them")
