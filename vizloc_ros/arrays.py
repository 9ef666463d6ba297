"""Array types of signatures (shapes and units are in the docstrings), order of integers, and memory given back."""

import ctypes
import mmap
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Errors of numpy.load for files that are missing, cut off or damaged; the last two are for a damaged header.
UNREADABLE_ARRAY = (OSError, ValueError, EOFError, SyntaxError, TokenError)

Float64 = NDArray[np.float64]
Float16 = NDArray[np.float16]
Float32 = NDArray[np.float32]
Int8 = NDArray[np.int8]
UInt8 = NDArray[np.uint8]
UInt16 = NDArray[np.uint16]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]

_SIMILARITY_STEPS = 2**29  # finer than float32 where similarities matter
_INDEX_BITS = 32


def evenly(length: int, count: int) -> Int64:
    """Indices (count,) spread evenly over a sequence of ``length``; from two on with its first and last element."""
    return np.linspace(0, length - 1, count).round().astype(np.int64)


def ordered(values: NDArray[np.integer[Any]]) -> Int64:
    """Indices (N,) that sort (N,) integers of 0 to 2**31 - 1; equal ones keep their order.

    The values are sorted with their indices in one integer, which takes a tenth of the time of ``argsort``.
    """
    keys = values.astype(np.int64)
    keys <<= _INDEX_BITS
    keys |= np.arange(len(keys))
    keys.sort()
    keys &= (1 << _INDEX_BITS) - 1
    return keys


def most_similar_first(similarities: Float32) -> Int64:
    """Indices (N,) that sort (N,) similarities of -1 to 1, the largest first; equal ones keep their order."""
    return ordered(((1.0 - similarities.astype(np.float64)) * _SIMILARITY_STEPS).clip(0).astype(np.int64))


def first_of_each(labels: NDArray[np.integer[Any]], count: int) -> Bool:
    """Mask (N,) of the first of all entries with one label, of (N,) labels 0 to ``count`` - 1."""
    indices, first = np.arange(len(labels)), np.empty(count, np.int64)
    first[labels[::-1]] = indices[::-1]  # of several values for one element, the last one stays
    return first[labels] == indices


def ranges(first: Int64, counts: Int64) -> tuple[Int64, Int64]:
    """Members of ranges of integers, one range after the other, and the index of the range for each of them."""
    owner = np.repeat(np.arange(len(counts)), counts)
    before = np.cumsum(counts) - counts
    return np.arange(len(owner)) + (first - before)[owner], owner


def release_pages(array: NDArray[Any]) -> None:
    """Give the pages of a memory-mapped array back to the system; its cache keeps them while memory is free.

    Pages that were read count as the process's memory until then. Nothing changes for who reads the array, and nothing
    happens if it is in memory or the system has no such advice.
    """
    mapped: Any = array.base  # NumPy types it as an array
    while isinstance(mapped, np.ndarray):
        mapped = mapped.base
    if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def release_freed_memory() -> None:
    """Give memory that was freed back to the system: glibc keeps it for the process."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # another C library has none
        trim(0)
