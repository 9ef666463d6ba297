"""Visited parts of a map do not stay in the memory of the process."""

import sys
from pathlib import Path

import numpy as np
import pytest

from vizloc_ros.arrays import release_pages
from vizloc_ros.mapping.visual_map import ARRAYS, VisualMap


def _mapped_mb() -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(1.024e-3 * float(line.split()[1]) for line in status if line.startswith("RssFile"))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_read_pages_are_given_back(tmp_path: Path) -> None:
    np.save(tmp_path / "large.npy", np.ones(40_000_000, np.int8))
    array = np.load(tmp_path / "large.npy", mmap_mode="r")
    before = _mapped_mb()
    assert array.sum() == 40_000_000
    assert _mapped_mb() > before + 35
    release_pages(array)
    assert _mapped_mb() < before + 5
    assert array[::4096].sum() == len(array[::4096])


def test_a_map_reads_the_same_after_its_pages_are_given_back(point_map: VisualMap) -> None:
    visual_map = VisualMap.open(point_map.folder)
    before = {name: np.array(getattr(visual_map, name)) for name in ARRAYS}
    visual_map.release_pages()
    for name, array in before.items():
        np.testing.assert_array_equal(getattr(visual_map, name), array)
    release_pages(before["landmark_positions"])  # in memory: nothing happens
    assert len(before["landmark_positions"]) == visual_map.info.landmarks
