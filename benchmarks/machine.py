"""The machine and its limits, measured in the same run as everything that is compared with them."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import pycolmap
from measure import Cell, Table, milliseconds
from threadpoolctl import threadpool_info

from vizloc_ros.parallel import usable_cores

_STREAM_BYTES = 512 << 20  # far more than any cache holds
_PRODUCTS, _PASSES = 60, 30
_QUERY, _PLACE, _DESCRIPTOR = 2048, 9216, 128  # the product that matching a query with a place is


@dataclass(frozen=True)
class Machine:
    """What this machine can do with all its cores.

    Attributes:
        cpu: its name.
        cores: that this process may use.
        load: running processes, averaged over the last minute: above about 1, others take part of the figures.
        gflops: of a float32 matrix product of the shape that matching has [10^9/s].
        read_gbps: of reading memory once [10^9 bytes/s].
        libraries: versions and threads of what does the arithmetic.
    """

    cpu: str
    cores: int
    load: float
    gflops: float
    read_gbps: float
    libraries: str

    def product_ms(self, rows: int, columns: int, depth: int) -> float:
        """The least time of a float32 product (rows, depth) by (depth, columns) [ms]."""
        return 2e-6 * rows * columns * depth / self.gflops

    def read_ms(self, size: int) -> float:
        """The least time to read ``size`` bytes from memory [ms]."""
        return 1e-6 * size / self.read_gbps

    def table(self) -> Table:
        """All of it."""
        rows: list[list[Cell]] = [
            ["CPU", self.cpu],
            ["cores", self.cores],
            ["load average of the last minute at the start", self.load],
            [f"float32 product {_QUERY} x {_DESCRIPTOR} x {_PLACE} [GFLOP/s]", self.gflops],
            ["reading memory [GB/s]", self.read_gbps],
            ["libraries", self.libraries],
        ]
        notes = [
            f"The fastest of {_PRODUCTS} products and of {_PASSES} passes over 512 MB, all cores: the limits below."
        ]
        return Table("Machine", ("", "value"), rows, notes)


def measure_machine() -> Machine:
    """Measures; takes a few seconds."""
    load = os.getloadavg()[0]
    rng = np.random.default_rng(0)
    a = rng.standard_normal((_QUERY, _DESCRIPTOR), np.float32)
    b = rng.standard_normal((_DESCRIPTOR, _PLACE), np.float32)
    product = np.empty((_QUERY, _PLACE), np.float32)
    gflops = 2e-6 * a.size * _PLACE / min(milliseconds(lambda: np.matmul(a, b, out=product), _PRODUCTS))
    stream = np.ones((_STREAM_BYTES // 4 // 1024, 1024), np.float32)
    ones = np.ones(1024, np.float32)
    read_gbps = 1e-6 * stream.nbytes / min(milliseconds(lambda: stream @ ones, _PASSES))
    return Machine(_cpu_name(), usable_cores(), load, gflops, read_gbps, _libraries())


def spread(times: list[float]) -> tuple[float, float]:
    """Median and 99th percentile."""
    return median(times), float(np.percentile(times, 99))


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
