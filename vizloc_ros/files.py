"""Files and folders that are written whole or not at all: beside their target, flushed to the disk, then renamed."""

import ctypes
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_OLD = "-old"
_UNFINISHED: set[Path] = set()  # what this process writes just now


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Give a new file, open for writing, that becomes ``path`` if the block succeeds.

    Until then, and after an error, ``path`` is as it was. Missing folders are made. The new file has a random name
    beside ``path``, so that runs that share a folder (from containers with equal process ids, too) do not collide.

    Raises:
        OSError: the file cannot be written or renamed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    _UNFINISHED.add(part)
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
        _UNFINISHED.discard(part)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder beside ``path`` that becomes ``path`` if the block succeeds, replacing an old one.

    Whatever happens in the block, ``path`` is either as it was or wholly new. The next call removes what a killed
    process left behind.

    Raises:
        OSError: the folder cannot be written or renamed.
    """
    target = path.resolve()  # a link to a map stays a link
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}.building-"
    for leftover in target.parent.glob(f"{prefix}*"):
        if _is_alive(leftover.name.removeprefix(prefix).removesuffix(_OLD)):
            continue
        if leftover.name.endswith(_OLD) and not target.exists():
            leftover.rename(target)  # killed between the renames of an exchange that was not atomic
        else:
            _remove(leftover)
    staging = target.parent / f"{prefix}{os.getpid()}"
    _remove(staging)
    _UNFINISHED.add(staging)
    try:
        staging.mkdir()
        yield staging
        _flush_files(staging)
        if target.exists():
            _exchange(staging, target)
        else:
            staging.rename(target)
    finally:
        _remove(staging)
        _UNFINISHED.discard(staging)


def remove_unfinished() -> None:
    """Remove the files and folders that this process has begun, for one that ends without leaving the blocks."""
    for path in list(_UNFINISHED):
        _remove(path)


def _exchange(a: Path, b: Path) -> None:
    """Swap the paths of two folders: atomically if the system can (Linux renameat2), else through a third name."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renameat2"):
        if libc.renameat2(_AT_FDCWD, bytes(a), _AT_FDCWD, bytes(b), _RENAME_EXCHANGE) == 0:
            return
        if ctypes.get_errno() not in (errno.EINVAL, errno.ENOSYS, errno.EPERM):
            raise OSError(ctypes.get_errno(), f"cannot swap {a} and {b}")
    old = a.with_name(f"{a.name}{_OLD}")
    b.rename(old)
    a.rename(b)
    old.rename(a)


def _remove(path: Path) -> None:
    """Remove a folder, or a file that a folder has replaced, if there is one."""
    if path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def _flush_files(folder: Path) -> None:
    """Write every file to the disk, so that a power cut after the swap cannot lose the content."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def _is_alive(pid: str) -> bool:
    """Return true if a process has this id."""
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
