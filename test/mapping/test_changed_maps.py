"""Maps whose files are changed in place while they are in use: noticed by name, and never the end of the process."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from repository import REPOSITORY

from vizloc_ros.errors import MapError
from vizloc_ros.mapping.bus_guard import GUARD
from vizloc_ros.mapping.visual_map import ARRAYS, VisualMap

LARGEST = "observation_descriptors.npy"


@pytest.fixture
def in_use(point_map: VisualMap, tmp_path: Path) -> VisualMap:
    return VisualMap.open(shutil.copytree(point_map.folder, tmp_path / "map"))


def test_an_array_that_is_cut_off_is_read_as_zeros_by_any_thread(in_use: VisualMap) -> None:
    """Reading it would end the process with SIGBUS."""
    GUARD.protect(in_use.mapped_arrays)
    before = np.array(in_use.observation_descriptors)
    os.truncate(in_use.folder / LARGEST, 8192)
    read: list[np.ndarray] = []
    query = np.ones(before.shape[1], np.float32)
    threads = [
        threading.Thread(target=lambda: read.append(np.array(in_use.observation_descriptors))),
        threading.Thread(target=lambda: read.append(in_use.observation_descriptors @ query)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = max(read, key=np.ndim)
    assert np.array_equal(whole[:50], before[:50]), "what is left of the file"
    assert not whole[-50:].any()
    assert before[-50:].any()
    with pytest.raises(MapError, match=r"observation_descriptors\.npy: has 8192 bytes .*changed in place.*no pose"):
        in_use.watch.require_unchanged()


def test_other_bus_errors_end_the_process_as_before(tmp_path: Path) -> None:
    code = (
        "import os, sys, numpy as np; from vizloc_ros.mapping.bus_guard import GUARD\n"
        "path = sys.argv[1] + '/a.npy'; np.save(path, np.ones(90_000)); a = np.load(path, mmap_mode='r')\n"
        "GUARD.protect([np.zeros(9)]); os.truncate(path, 0); print(a.sum())"
    )
    ended = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=REPOSITORY, capture_output=True, timeout=120)
    assert ended.returncode == -7


@pytest.mark.parametrize("name", [n for n in ARRAYS if not n.startswith("keyframe_") and n != "observation_offsets"])
def test_a_change_of_any_mapped_file_is_noticed(in_use: VisualMap, name: str) -> None:
    in_use.watch.require_unchanged()
    path = in_use.folder / f"{name}.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(0, 0))  # an earlier time, too
    for _ in range(2):
        with pytest.raises(MapError, match=rf"{name}\.npy: has other bytes than when it was opened"):
            in_use.watch.require_unchanged()


def test_the_same_bytes_and_a_swap_are_no_change(in_use: VisualMap, tmp_path: Path) -> None:
    path = in_use.folder / LARGEST
    content = path.read_bytes()
    before = np.array(in_use.observation_descriptors)
    with path.open("r+b") as file:  # as rsync --inplace of the same map
        file.write(content)
    in_use.watch.require_unchanged()
    in_use.folder.rename(tmp_path / "old")
    (tmp_path / "old" / LARGEST).unlink()
    in_use.watch.require_unchanged()
    assert np.array_equal(in_use.observation_descriptors, before)


def test_what_there_is_of_keyframes_is_in_memory(in_use: VisualMap) -> None:
    poses = in_use.keyframe_poses.copy()
    os.truncate(in_use.folder / "keyframe_poses.npy", 0)
    assert np.array_equal(in_use.keyframe_poses, poses)
