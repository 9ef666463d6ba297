"""Bags of a drive on a circle, as it is and rewritten, and of images of noise."""

from collections.abc import Callable
from pathlib import Path

import pytest
from bag_helpers import rewrite
from circle_drive import COUNT, make_record
from noise_drive import make_records
from rosbags.rosbag2 import StoragePlugin

from vizloc_ros.bags.writer import write_bag


@pytest.fixture(scope="session")
def circle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bag. Do not change it."""
    path = tmp_path_factory.mktemp("circle") / "bag"
    write_bag([make_record(index) for index in range(COUNT)], path)
    return path


@pytest.fixture
def circle_bag(circle: Path, tmp_path: Path) -> Callable[..., Path]:
    """Function that changes it, into one file of mcap, which is opened in a moment."""
    return lambda *changes: rewrite(circle, tmp_path / "bag", *changes, storage=StoragePlugin.MCAP) / "bag.mcap"


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    """Bag of five images of noise."""
    write_bag(make_records(), tmp_path / "bag")
    return tmp_path / "bag"
