"""Folders that are built aside and take their place in one step."""

import ctypes
import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_OLD = "-old"


@contextmanager
def built_aside(target: Path) -> Iterator[Path]:
    """Gives an empty folder beside ``target`` and, if the block succeeds, swaps it in.

    Whatever happens in the block, ``target`` is either as it was or wholly new. What a killed build left behind is
    removed by the next one.
    """
    target = target.resolve()  # a link to a map stays a link
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}.building-"
    for left_over in target.parent.glob(f"{prefix}*"):
        if _is_alive(left_over.name.removeprefix(prefix).removesuffix(_OLD)):
            continue
        if left_over.name.endswith(_OLD) and not target.exists():
            left_over.rename(target)  # killed between the renames of an exchange that was not atomic
        else:
            shutil.rmtree(left_over, ignore_errors=True)
    staging = target.parent / f"{prefix}{os.getpid()}"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        yield staging
        _sync(staging)
        if target.exists():
            _exchange(staging, target)
        else:
            staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _exchange(a: Path, b: Path) -> None:
    """Swaps two folders; atomic where the file system can (Linux renameat2), else by way of a third name."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renameat2"):
        if libc.renameat2(_AT_FDCWD, bytes(a), _AT_FDCWD, bytes(b), _RENAME_EXCHANGE) == 0:
            return
        if ctypes.get_errno() not in (errno.EINVAL, errno.ENOSYS, errno.EPERM):
            raise OSError(ctypes.get_errno(), f"cannot swap {a} and {b}")
    aside = a.with_name(f"{a.name}{_OLD}")
    b.rename(aside)
    a.rename(b)
    aside.rename(a)


def _sync(folder: Path) -> None:
    """Flushes every file, so that a power cut after the swap cannot lose the content."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
