"""Watch over the files of an opened map: arrays are mapped, so what is written into a file is in them at once.

A map that another one replaces by a swap of folders is no change: the old files stay as long as they are open. A change
in place is, such as by ``cp`` or ``rsync --inplace``. Whoever answers with the map asks before and after.
"""

import os
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from vizloc_ros.errors import MapError
from vizloc_ros.mapping.map_format import FileInfo


@dataclass
class _Watched:
    """File with its size [bytes] and time of modification [ns] as it was opened."""

    path: Path
    descriptor: int
    listed: FileInfo
    modified_ns: int

    def __post_init__(self) -> None:
        weakref.finalize(self, os.close, self.descriptor)

    @property
    def change(self) -> str:
        """Change of the file; empty if its bytes are those that map.yaml lists."""
        now = os.fstat(self.descriptor)
        if now.st_size != self.listed.bytes:
            return f"{self.path}: has {now.st_size} bytes instead of {self.listed.bytes}"
        if now.st_mtime_ns != self.modified_ns:
            with os.fdopen(self.descriptor, "rb", closefd=False) as file:
                file.seek(0)
                found = FileInfo.of_file(file)
            if found != self.listed:
                return f"{self.path}: has other bytes than when it was opened"
            self.modified_ns = now.st_mtime_ns  # as after touch, or a copy of the same bytes
        return ""


@dataclass
class MapWatch:
    """Watch over the files of a map. Thread-safe."""

    _files: list[_Watched] = field(default_factory=list)
    _change: str = ""
    _lock: Lock = field(default_factory=Lock)

    def __reduce__(self) -> "tuple[type[MapWatch], tuple[()]]":
        return MapWatch, ()  # another process has the arrays in its own memory

    def add(self, path: Path, file: BinaryIO, listed: FileInfo) -> None:
        """Watch an open file from now on; it is duplicated."""
        descriptor = os.dup(file.fileno())
        self._files.append(_Watched(path, descriptor, listed, os.fstat(descriptor).st_mtime_ns))

    def require_unchanged(self) -> None:
        """Raise ``MapError`` if a file was changed since it was opened, also if it is as before again."""
        with self._lock:
            self._change = self._change or next(filter(None, (file.change for file in self._files)), "")
        if self._change:
            raise MapError(
                f"{self._change}: the map was changed in place while in use, so no pose comes of it: restore it and "
                "restart the nodes. Copy a map beside the old one, and rename it"
            )
