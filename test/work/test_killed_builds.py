"""Whole builds: killed and resumed, and by processes; the maps are equal, but for times."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from cli_helpers import Vizloc
from posed_folder import write_posed_folder
from repository import REPOSITORY

from vizloc_ros.datasets.synthetic import open_synthetic
from vizloc_ros.errors import ImageError
from vizloc_ros.features.device import Device
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.mapping.builder import BuildOptions, build_map
from vizloc_ros.mapping.map_format import INFO_FILE
from vizloc_ros.pixloc.extractors.pyramid_extractor import open_pyramid_extractor
from vizloc_ros.readers import open_dataset
from vizloc_ros.work.stage_arrays import dumps, loads
from vizloc_ros.work.work_folder import work_folder
from vizloc_ros.work.workers import open_processes


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Posed folder of eight small images: other processes read them in a moment, and need no world to render."""
    folder = tmp_path_factory.mktemp("images")
    write_posed_folder(folder, open_synthetic("length=4&width=320&height=200").records("map"))
    return folder


def content(folder: Path) -> dict[str, Any]:
    """Bytes of every file of a map, and map.yaml without times."""
    files: dict[str, Any] = {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
    info = yaml.safe_load(files.pop(INFO_FILE))
    info.pop("created"), info.pop("checksum")  # of map.yaml itself
    info["build"].pop("seconds")
    return files | {INFO_FILE: info}


@pytest.mark.e2e
def test_a_build_that_was_killed_goes_on(vizloc: Vizloc, images: Path, tmp_path: Path) -> None:
    """SIGKILL while features are extracted, and again later."""
    build = ["map", "build", f"folder:{images}", "--extractor", "rootsift", "--no-pixloc", "--processes", "1", "--out"]
    assert vizloc(*build, tmp_path / "whole").code == 0
    out, work = tmp_path / "map", tmp_path / "map.build"
    kill(build, out, lambda: len(list(work.glob("extract-*.parts/[0-9]*.npz"))) >= 3)
    parts = {path.name for path in work.glob("extract-*.parts/[0-9]*.npz")}
    assert 3 <= len(parts) < len(list(images.rglob("*.png")))
    kill(build, out, lambda: bool(list(work.glob("match-*"))))
    ended = vizloc(*build, out)
    assert ended.code == 0, ended.err
    assert not work.exists()
    assert content(out) == content(tmp_path / "whole")


def kill(command: list[str], out: Path, condition: Callable[[], bool]) -> None:
    """Start a command, and kill it as soon as the condition holds."""
    program = subprocess.Popen(
        [sys.executable, "-m", "vizloc_ros.cli.main", *command, out],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    end = time.monotonic() + 300
    while not condition():
        assert program.poll() is None
        assert time.monotonic() < end
        time.sleep(0.002)
    program.kill()
    assert program.wait() == -9
    assert not out.exists()


@pytest.mark.e2e
def test_processes_equal_memory(images: Path, tmp_path: Path) -> None:
    """An image that is wrong is named as without processes."""
    dataset, extractor = open_dataset(f"folder:{images}"), open_extractor("rootsift")
    records, options = dataset.records("map"), BuildOptions(seed=1)
    build_map(records, extractor, tmp_path / "memory", dataset=dataset.name, options=options)
    with open_processes(2) as processes, work_folder(tmp_path / "work", processes) as work:
        build_map(records, extractor, tmp_path / "map", dataset=dataset.name, options=options, work=work)
        assert content(tmp_path / "map") == content(tmp_path / "memory")
        smaller = PinholeCamera(100, 80, 90.0, 90.0, 50.0, 40.0)
        wrong = [replace(records[0], camera=smaller), *records[1:]]
        with pytest.raises(ImageError, match=r"^map/000000.png: is 320x200, but its calibration is for 100x80"):
            build_map(wrong, extractor, tmp_path / "wrong", dataset=dataset.name, options=options, work=work)


def test_extractors_go_to_other_processes(images: Path, tmp_path: Path) -> None:
    image = open_dataset(f"folder:{images}").records("map")[0].read_image()
    extractors = [open_extractor("rootsift"), open_extractor("hfnet", device=Device(threads=1))]
    for extractor in extractors:
        extractor.extract(image)  # once it was used, too
        other = loads(dumps(extractor, tmp_path), tmp_path)
        assert other.feature_id == extractor.feature_id
        assert np.array_equal(other.extract(image).descriptors, extractor.extract(image).descriptors)
    dense = open_pyramid_extractor(device=Device(threads=1))
    copied = loads(dumps(dense, tmp_path), tmp_path)
    assert np.array_equal(copied.extract(image).levels[0].features, dense.extract(image).levels[0].features)
