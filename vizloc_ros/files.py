"""Files and folders that are written whole or not at all: beside their target, flushed to the disk, then renamed.

Here is all of the package that replaces or deletes. A folder is replaced only if a function of its kind says that the
program wrote everything in it. Targets that cannot be written are noticed before the work that would be lost.
"""

import ctypes
import errno
import fcntl
import glob
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from vizloc_ros.errors import OutputError

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_BUILDING = ".building-"  # between the name of a folder and the id of the process that writes it
_OLD = "-old"
_UNFINISHED: set[Path] = set()  # what this process writes just now
_LOCK = "lock"
_PROBE = 4096  # bytes
LEAST_SPACE = 1 << 20  # bytes that any command needs


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


def require_folder(path: Path, needed: int = LEAST_SPACE) -> None:
    """Make a folder unless it is there, and check that files can be written into it: now, and not after the work.

    Args:
        path: the folder.
        needed: space that its disk must have [bytes].

    Raises:
        OutputError: the path is that of a file or below one, the folder cannot be made or written, or the disk is full.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".vizloc-{secrets.token_hex(4)}"
        try:
            with probe.open("xb") as file:
                file.write(bytes(_PROBE))
                file.flush()
                os.fsync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)
        free = shutil.disk_usage(path).free
    except (FileExistsError, NotADirectoryError) as error:
        found = next(parent for parent in (path, *path.parents) if parent.exists())
        raise OutputError(f"{path}: cannot be a folder, because {found} is a file: give another --out") from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}): give another --out") from error
    if free < needed:
        raise OutputError(
            f"{path}: needs about {needed / 1e6:.0f} MB, but its disk has {free / 1e6:.0f} MB: give another --out"
        )


def require_file(path: Path) -> None:
    """Check that a file can be written to a path: now, and not after the work. Raises ``OutputError``."""
    if path.is_dir():
        raise OutputError(f"{path}: is a folder, and a file is to be written there: give another --out")
    require_folder(path.parent)


def require_new(path: Path) -> None:
    """Raise ``OutputError`` unless there is nothing at a path, or an empty folder."""
    if os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir())):
        raise OutputError(f"{path}: exists already: remove it, or give another --out")


def others_in(folder: Path, known: Iterable[str]) -> list[str]:
    """Files in a folder and its folders, by relative path, but for the known ones: replacing it would lose them."""
    own = set(known)
    found = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return sorted(name for name in found if name not in own)


@contextmanager
def replacing_folder(
    path: Path, require: Callable[[Path], None] = require_new, needed: int = LEAST_SPACE
) -> Iterator[Path]:
    """Give an empty folder that becomes ``path`` if the block succeeds, replacing an old one.

    Whatever happens in the block, ``path`` is either as it was or wholly new. No other process can write it meanwhile.
    The new folder is in a folder beside ``path``, which may hold more that is needed on the way. That one is locked,
    which ends with the process, however it ends. The next call removes what a killed process left behind.

    Args:
        path: the folder.
        require: function that raises an error if what is at the path must not be replaced; called before the block
            and after it.
        needed: space that its disk must have [bytes].

    Raises:
        OutputError: another process writes the folder, or its parent cannot be written.
        OSError: the folder cannot be written or renamed.
    """
    require(path)
    target = path.resolve()  # a link to a map stays a link
    require_folder(target.parent, needed)
    with _locked_staging(target) as staging:
        new = staging / target.name
        new.mkdir()
        yield new
        _flush_files(new)
        require(path)
        if target.exists():
            _exchange(new, target)
        else:
            new.rename(target)


@contextmanager
def _locked_staging(target: Path) -> Iterator[Path]:
    """Give a new folder beside a target that no other process has at the same time; it is removed in the end."""
    staging = target.parent / f".{target.name}{_BUILDING}{os.getpid()}"
    is_ours, lock = False, -1
    try:  # a signal may come at any line, so what is made here is removed below
        parent = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(parent, fcntl.LOCK_EX)  # for a moment: of two that begin at once, one must see the other
            for leftover in target.parent.glob(f".{glob.escape(target.name)}{_BUILDING}*"):
                _recover(leftover, target)
            if staging.exists():  # of a process in another container
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(staging))
            is_ours = True
            _UNFINISHED.add(staging)
            staging.mkdir()
            lock = os.open(staging / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
            lock_file(lock)
        finally:
            os.close(parent)
        yield staging
    finally:
        if is_ours:
            remove(staging)
            _UNFINISHED.discard(staging)
        if lock >= 0:
            os.close(lock)


def remove_unfinished() -> None:
    """Remove the files and folders that this process has begun, for one that ends without leaving the blocks."""
    for path in list(_UNFINISHED):
        remove(path)


def _recover(leftover: Path, target: Path) -> None:
    """Remove what a killed process has left; bring back the old folder if there is no other."""
    writer = leftover.name.rpartition("-")[2]
    with suppress(FileNotFoundError, NotADirectoryError):
        lock = os.open(leftover / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        try:
            locked = lock_file(lock)
        finally:
            os.close(lock)
        if locked is False or (locked is None and _is_alive(writer)):
            raise OutputError(
                f"{target}: another vizloc process (pid {writer}) is writing it: wait for it, or give another --out"
            )
    old = leftover / f"{target.name}{_OLD}"
    if old.exists() and not target.exists():
        old.rename(target)  # killed between the renames of an exchange that was not atomic
    remove(leftover)


def lock_file(descriptor: int) -> bool | None:
    """Lock an open file until it is closed or the process ends.

    Returns:
        False if another process has the lock; None if the disk has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        return None
    return True


def _exchange(new: Path, target: Path) -> None:
    """Swap two folders: atomically if the system can (Linux renameat2), else through a third name beside the new."""
    libc = ctypes.CDLL(None, use_errno=True)
    if hasattr(libc, "renameat2"):
        if libc.renameat2(_AT_FDCWD, bytes(new), _AT_FDCWD, bytes(target), _RENAME_EXCHANGE) == 0:
            return
        if ctypes.get_errno() not in (errno.EINVAL, errno.ENOSYS, errno.EPERM):
            raise OSError(ctypes.get_errno(), f"cannot swap {new} and {target}")
    target.rename(new.with_name(f"{new.name}{_OLD}"))
    new.rename(target)


def remove(path: Path) -> None:
    """Remove a folder that this program has made, or a file that a folder has replaced, if there is one."""
    if path.is_symlink() or path.is_file():
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
