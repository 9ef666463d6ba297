"""What several test files share: a small map of the synthetic street, one of points, and the real data if it is there.

``VIZLOC_DATA`` names the folder with the real data; ``../shared/data`` beside the repository by default.
"""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_helpers import Vizloc
from hypothesis import settings
from machine_turns import turn
from pixloc_helpers import in_memory, with_references
from point_street import PointStreet, RepeatedStreet, View, write_point_map
from posed_folder import write_posed_folder
from repository import DATA
from rich.console import Console, ConsoleDimensions
from ros_domains import own_domain

from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import SyntheticStreet, open_synthetic
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.mapping.build_report import BuildReport
from vizloc_ros.mapping.builder import build_map
from vizloc_ros.mapping.visual_map import VisualMap

settings.register_profile("tests", deadline=None)  # an example takes longer on a busy machine
settings.load_profile("tests")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what has no test of nodes when only those are asked for: importing all files takes long."""
    only_ros = config.option.markexpr == "ros" and collection_path.name.startswith("test_")
    return True if only_ros and "mark.ros" not in collection_path.read_text() else None


def pytest_collection_finish() -> None:
    """Spare the garbage collector what stays: modules and tests, millions of objects."""
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with long tests first, so that several workers end together."""
    long = {item.path for item in items if item.get_closest_marker("e2e")}
    items.sort(key=lambda item: item.path not in long)


def is_worker(config: pytest.Config) -> bool:
    """Return True in one of several processes of a run, whose temporary folders are beside each other."""
    return hasattr(config, "workerinput")


@pytest.fixture(autouse=True)
def _turn_of_nodes(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Tests that start nodes have a ROS domain each, and the machine for themselves if they measure time."""
    if request.node.get_closest_marker("ros") is None:
        yield
        return
    alone, folder = request.node.get_closest_marker("alone") is not None, tmp_path_factory.getbasetemp()
    with turn(folder.parent if is_worker(request.config) else folder, alone=alone), own_domain() as domain_id:
        monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
        yield


@pytest.fixture
def vizloc(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Vizloc:
    monkeypatch.setattr(Console, "size", ConsoleDimensions(200, 50))  # also of those that exist already
    monkeypatch.setattr("vizloc_ros.evaluation.plots.DPI", 50)  # small figures are drawn sooner
    return Vizloc(monkeypatch, capsys)


@pytest.fixture(scope="session")
def kitti00() -> Path:
    """Folder of the real street; skips where it is not."""
    folder = DATA / "kitti00"
    if not (folder / "poses.csv").is_file():
        pytest.skip(f"no real data at {folder}: set VIZLOC_DATA to the folder that holds kitti00")
    return folder


@pytest.fixture(scope="session")
def street() -> SyntheticStreet:
    """The first metres of the synthetic street in small images."""
    return open_synthetic("length=12&width=400&height=250")


@pytest.fixture(scope="session")
def street_build(street: SyntheticStreet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, BuildReport]:
    """The map of its first lap, and what the build said."""
    folder = tmp_path_factory.mktemp("street") / "map"
    return folder, build_map(street.records("map"), open_extractor("rootsift"), folder, dataset=street.name)


@pytest.fixture(scope="session")
def street_map(street_build: tuple[Path, BuildReport]) -> VisualMap:
    """The same map, opened. Do not change its files."""
    return VisualMap.open(street_build[0])


@pytest.fixture(scope="session")
def street_folder(street: SyntheticStreet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some frames of both laps as a posed folder: eight to map, three to localize."""
    folder = tmp_path_factory.mktemp("posed")
    write_posed_folder(folder, [*street.records("map")[2:10], *street.records("query")[3:9:2]])
    return folder


@pytest.fixture(scope="session")
def point_views() -> list[View]:
    """Twelve views of points, with pixel noise and clutter."""
    return PointStreet(seed=1).views(12, noise_px=0.3, clutter=150)


@pytest.fixture(scope="session")
def point_map(point_views: list[View], tmp_path_factory: pytest.TempPathFactory) -> VisualMap:
    """A map of them that was made in a moment. Do not change its files."""
    folder = tmp_path_factory.mktemp("points") / "map"
    write_point_map(point_views, folder)
    return VisualMap.open(folder)


@pytest.fixture(scope="session")
def repeated_map(tmp_path_factory: pytest.TempPathFactory) -> VisualMap:
    """A map of 42 views of points whose first 24 m are there twice. Do not change its files."""
    folder = tmp_path_factory.mktemp("repeated") / "map"
    write_point_map(RepeatedStreet().views(42), folder)
    return VisualMap.open(folder)


@pytest.fixture(scope="session")
def tracked_map(
    street_build: tuple[Path, BuildReport], street: SyntheticStreet, tmp_path_factory: pytest.TempPathFactory
) -> VisualMap:
    """The map of the synthetic street with references for the tracker. Do not change its files."""
    folder = tmp_path_factory.mktemp("tracked") / "map"
    return VisualMap.open(with_references(street_build[0], street.records("map"), folder))


@pytest.fixture(scope="session")
def two_streets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record], list[Record]]:
    """Map of two stretches of the street without common landmarks, and the second lap's images of both.

    They are 7 m long each, and on opposite sides of the block.
    """
    dataset, stretches = open_synthetic("width=400&height=250"), (slice(2, 16), slice(150, 164))
    mapped, queries = dataset.records("map"), dataset.records("query")
    records = [record for stretch in stretches for record in mapped[stretch]]
    folder = tmp_path_factory.mktemp("two")
    build_map(records, open_extractor("rootsift"), folder / "plain", dataset=dataset.name)
    first, other = (list(map(in_memory, queries[stretch])) for stretch in stretches)
    return with_references(folder / "plain", records, folder / "map"), first, other
