"""Guard of mapped arrays against files that are cut off: the process reads zeros and lives, where it would be killed.

Reading a mapped page beyond the end of its file raises SIGBUS, which ends the process, and Python's own handlers cannot
go on. This one puts a page of zeros in place of the missing one. ``MapWatch`` then tells that the file has changed, and
what was computed is thrown away. It acts on registered arrays only; any other SIGBUS ends the process as before.
"""

import ctypes
import mmap
import os
import signal
import sys
import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SIGINFO, _RESTART = 0x4, 0x10000000
_ADDRESS_OFFSET = 16  # bytes; si_addr in siginfo_t on 64-bit Linux
_PROT_READ, _PRIVATE_FIXED_ANONYMOUS = 0x1, 0x32
_Handler = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


class _Action(ctypes.Structure):
    """``struct sigaction`` of 64-bit Linux."""

    _fields_ = (
        ("handler", _Handler),
        ("mask", ctypes.c_ubyte * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


class BusGuard:
    """Guard of some arrays, as long as they exist."""

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int]] = []
        self._libc = ctypes.CDLL(None)
        self._action = _Action(_Handler(self._fill), (ctypes.c_ubyte * 128)(), _SIGINFO | _RESTART, None)

    @property
    def works_here(self) -> bool:
        """True on the systems whose structures are known: Linux on 64-bit x86 and ARM."""
        return sys.platform == "linux" and os.uname().machine in ("x86_64", "aarch64")

    def protect(self, arrays: Iterable[NDArray[Any]]) -> None:
        """Protect memory-mapped arrays, too."""
        if not self.works_here:
            return
        self._libc.mmap.restype = ctypes.c_void_p
        self._libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long)
        for array in arrays:
            start = array.__array_interface__["data"][0]
            self._ranges.append((start, start + array.nbytes))
            owner: Any = array
            while isinstance(owner.base, np.ndarray):
                owner = owner.base  # views, and an array in place of its memmap, keep this one
            weakref.finalize(owner, self._ranges.remove, self._ranges[-1])  # it may become that of something else
        self._libc.sigaction(int(signal.SIGBUS), ctypes.byref(self._action), None)

    def _fill(self, number: int, info: int, _context: int) -> None:
        """Answer the signal in the thread whose access failed."""
        filled = False
        try:
            filled = self._put_zeros(ctypes.c_void_p.from_address(info + _ADDRESS_OFFSET).value or 0)
        finally:
            if not filled:
                self._libc.signal(number, 0)  # the fault comes again, and ends the process

    def _put_zeros(self, address: int) -> bool:
        """Put zeros in place of an array from the page of an address to its end; false if it is in none."""
        for start, end in self._ranges:
            if start <= address < end:
                page = address & ~(mmap.PAGESIZE - 1)
                length = -(-(end - page) // mmap.PAGESIZE) * mmap.PAGESIZE
                mapped = self._libc.mmap(page, length, _PROT_READ, _PRIVATE_FIXED_ANONYMOUS, -1, 0)
                return bool(mapped == page)
        return False


GUARD = BusGuard()
"""The guard of this process."""
