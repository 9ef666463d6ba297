"""Description of the machine, and its limits for the measured work, taken in the same run."""

import os
import platform
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import pycolmap
from measure import Cell, Table, milliseconds
from threadpoolctl import threadpool_info

from vizloc_ros.parallel import usable_cores

_QUERY, _PLACE, _DESCRIPTOR = 2048, 9216, 128  # sizes of the product that matches a query with a place
_STREAM_BYTES = 512 << 20  # much larger than any cache


def product_ms(rows: int, columns: int, depth: int) -> float:
    """Minimum time of a float32 product (rows, depth) by (depth, columns): median of 20, on all cores [ms]."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((rows, depth), np.float32)
    b = rng.standard_normal((depth, columns), np.float32)
    product = np.empty((rows, columns), np.float32)
    return median(milliseconds(lambda: np.matmul(a, b, out=product), 20))


def read_ms(size: int) -> float:
    """Minimum time to read an array of ``size`` bytes once: median of 20, on all cores [ms]."""
    stream, ones = np.ones((max(size // 4096, 1), 1024), np.float32), np.ones(1024, np.float32)
    return median(milliseconds(lambda: stream @ ones, 20))


def machine_table() -> Table:
    """Table about the machine of the measurements."""
    load = os.getloadavg()[0]
    gflops = 2e-6 * _QUERY * _PLACE * _DESCRIPTOR / product_ms(_QUERY, _PLACE, _DESCRIPTOR)
    rows: list[list[Cell]] = [
        ["CPU", _cpu_name()],
        ["cores", usable_cores()],
        ["load average of the last minute, at the start", load],
        [f"float32 product {_QUERY} x {_DESCRIPTOR} x {_PLACE} [GFLOP/s]", gflops],
        ["reading memory [GB/s]", 1e-6 * _STREAM_BYTES / read_ms(_STREAM_BYTES)],
        ["libraries", _libraries()],
    ]
    notes = [
        "Medians of 20 on all cores; a load above about 1 means that other processes took part of them.",
        "'limit' below is the bare arithmetic or memory traffic of a stage, timed in the same manner after the stage.",
    ]
    return Table("Machine", ("", "value"), rows, notes)


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    return names[0].partition(": ")[2] if names else platform.processor() or platform.machine()


def _libraries() -> str:
    blas = next((x for x in threadpool_info() if "numpy.libs" in x["filepath"]), None)
    product = f"{blas['internal_api']} {blas['version']} ({blas['num_threads']} threads)" if blas else "unknown BLAS"
    return (
        f"Python {platform.python_version()}, NumPy {np.__version__} with {product}, "
        f"OpenCV {cv2.__version__} ({cv2.getNumThreads()} threads), pycolmap {pycolmap.__version__}"
    )
