"""Search through an index: what it finds, which maps use it, and what is said where it cannot be used."""

import logging
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from point_street import CAMERA, PointStreet, View

from vizloc_ros.cli import main as cli
from vizloc_ros.errors import ConfigError, FeatureError, MapError
from vizloc_ros.localization import global_search
from vizloc_ros.localization.faiss_index import INDEX_FILE, FaissIndex, write_index
from vizloc_ros.localization.global_search import EXACT_UP_TO, open_search
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.localization.localization_options import RetrievalOptions
from vizloc_ros.localization.places import PlaceFinder
from vizloc_ros.localization.retrieval import GlobalIndex
from vizloc_ros.mapping.check import map_problems
from vizloc_ros.mapping.map_format import FileInfo
from vizloc_ros.mapping.map_writer import add_to_map
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.timing import Stopwatch

pytestmark = pytest.mark.e2e

KEYFRAMES, SIZE, QUERIES = 5000, 64, 200
EXACT, FAISS = (RetrievalOptions(top_k=4, spacing=0, search=search, shortlist=10) for search in ("exact", "faiss"))


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def drive() -> np.ndarray:
    """Descriptors of a drive: each the sum of the random vectors of its neighborhood."""
    sums = np.cumsum(np.random.default_rng(0).standard_normal((KEYFRAMES + 11, SIZE)), axis=0)
    return unit(sums[11:] - sums[:KEYFRAMES])


@pytest.fixture(scope="module")
def queries(drive: np.ndarray) -> np.ndarray:
    """Places of the drive seen again, at a cosine of about 0.85."""
    rng = np.random.default_rng(1)
    return unit(drive[rng.integers(0, KEYFRAMES, QUERIES)] + 0.62 * unit(rng.standard_normal((QUERIES, SIZE))))


@pytest.fixture(scope="module")
def drive_index(drive: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("faiss")
    path = tmp_path_factory.mktemp("drive") / INDEX_FILE
    write_index(drive, path)
    return path


@pytest.fixture
def faiss_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)


def recall(search: FaissIndex, exact: GlobalIndex, queries: np.ndarray, k: int) -> float:
    """Share of the exact search's best k that the other finds."""
    return float(np.mean([np.isin(exact.search(q, k)[0], search.search(q, k)[0]).mean() for q in queries]))


def test_the_index_finds_what_exact_search_finds(drive: np.ndarray, queries: np.ndarray, drive_index: Path) -> None:
    exact = GlobalIndex(drive)
    by_shortlist = [recall(FaissIndex(drive_index, drive, n), exact, queries, 10) for n in (10, 30, 100)]
    assert by_shortlist == sorted(by_shortlist)
    assert by_shortlist[0] < 0.95, "a bit an element does not order them exactly"
    assert by_shortlist[-1] >= 0.98
    assert recall(FaissIndex(drive_index, drive, 100), exact, queries, 1) == 1


def test_a_shortlist_of_all_gives_the_exact_answer(drive: np.ndarray, queries: np.ndarray, drive_index: Path) -> None:
    exact, index = GlobalIndex(drive), FaissIndex(drive_index, drive, shortlist=2 * KEYFRAMES)
    for query in queries[:50]:
        (expected, cosines), (found, similarities) = exact.search(query, 10), index.search(query, 10)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_allclose(similarities, cosines, atol=1e-6)  # exact although the index holds bits


def test_the_same_seed_gives_the_same_index(drive: np.ndarray, drive_index: Path, tmp_path: Path) -> None:
    write_index(drive, tmp_path / INDEX_FILE)
    again = FaissIndex(tmp_path / INDEX_FILE, drive, 10)
    first = FaissIndex(drive_index, drive, 10)
    for query in drive[::50]:
        np.testing.assert_array_equal(again.search(query, 10)[0], first.search(query, 10)[0])


def test_the_lower_keyframe_comes_first_among_equals(tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    descriptors = np.tile(np.eye(4, dtype=np.float32), (3, 1))
    write_index(descriptors, tmp_path / INDEX_FILE)
    index = FaissIndex(tmp_path / INDEX_FILE, descriptors, 1)
    assert index.search(descriptors[1], 3)[0].tolist() == [1, 5, 9]
    keyframes, similarities = index.search(descriptors[1], 100)
    assert keyframes.tolist() == [1, 5, 9, 0, 2, 3, 4, 6, 7, 8, 10, 11], "all that there are"
    assert similarities.tolist() == [1.0] * 3 + [0.0] * 9


def test_a_query_of_another_kind_is_refused(drive: np.ndarray, drive_index: Path) -> None:
    index = FaissIndex(drive_index, drive, 100)
    for query, message in (
        (np.ones(SIZE + 1, np.float32), f"has {SIZE + 1} elements, the map's have {SIZE}"),
        (np.full(SIZE, np.nan, np.float32), "zero or not finite"),
    ):
        with pytest.raises(FeatureError, match=message):
            index.search(query, 10)


@pytest.mark.parametrize("size", [1, 31, 513])
def test_descriptors_of_any_size_can_be_indexed(tmp_path: Path, size: int) -> None:
    pytest.importorskip("faiss")
    descriptors = unit(np.random.default_rng(2).standard_normal((40, size)))
    write_index(descriptors, tmp_path / INDEX_FILE)
    keyframes, similarities = FaissIndex(tmp_path / INDEX_FILE, descriptors, 1).search(descriptors[7], 5)
    assert len(keyframes) == 5
    np.testing.assert_allclose(similarities, descriptors[keyframes] @ descriptors[7], atol=1e-6)
    assert similarities[0] == pytest.approx(1)


@pytest.mark.parametrize("kept", [0, 3, 1000, -1])
def test_an_index_that_is_cut_off_is_named(drive: np.ndarray, drive_index: Path, tmp_path: Path, kept: int) -> None:
    path = tmp_path / INDEX_FILE
    path.write_bytes(drive_index.read_bytes()[:kept])
    with pytest.raises(MapError, match=rf"^{path}: cannot be read \(.*\): run 'vizloc map index {tmp_path}' again$"):
        FaissIndex(path, drive, 100)


def test_another_kind_of_index_is_named(drive: np.ndarray, tmp_path: Path) -> None:
    faiss = pytest.importorskip("faiss")
    flat = faiss.IndexFlatIP(SIZE)
    flat.add(drive)
    faiss.write_index(flat, str(tmp_path / INDEX_FILE))
    with pytest.raises(MapError, match=f"^{tmp_path / INDEX_FILE}: is another kind of index"):
        FaissIndex(tmp_path / INDEX_FILE, drive, 100)


def test_an_index_of_other_descriptors_is_named(drive: np.ndarray, drive_index: Path) -> None:
    for descriptors, shape in ((drive[:-1], "4999 of 64"), (drive[:, :32], "5000 of 32")):
        with pytest.raises(MapError, match=f"^{drive_index}: holds 5000 descriptors of 64 elements.*has {shape}"):
            FaissIndex(drive_index, descriptors, 100)


# --- in a map


@pytest.fixture
def map_folder(point_map: VisualMap, tmp_path: Path) -> Path:
    """A copy of the map of points to add to."""
    return Path(shutil.copytree(point_map.folder, tmp_path / "map"))


@pytest.fixture
def indexed(map_folder: Path) -> Path:
    """The copy with an index."""
    pytest.importorskip("faiss")
    assert map_index(map_folder) == 0
    return map_folder


def map_index(folder: Path) -> int:
    """Exit code of ``vizloc map index``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["vizloc", "map", "index", str(folder)])
        try:
            cli.main()
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0


def test_an_indexed_map_is_whole_and_finds_the_same_places(indexed: Path, point_map: VisualMap) -> None:
    query = PointStreet(seed=1).view(9.3, noise_px=0.5, clutter=60).keyframe.features
    visual_map, features = VisualMap.open(indexed), point_map.extractor.describe(query)
    assert map_problems(indexed) == []
    exact, found = (
        PlaceFinder(visual_map, options).find(features.global_descriptor, Stopwatch()) for options in (EXACT, FAISS)
    )
    np.testing.assert_array_equal(found.keyframes, exact.keyframes)
    np.testing.assert_allclose(found.similarities, exact.similarities, atol=1e-6)
    for a, b in zip(found.places, exact.places, strict=True):
        np.testing.assert_array_equal(a.landmark_ids, b.landmark_ids)
    poses = [
        HierarchicalLocalizer(visual_map, options).localize(features, CAMERA).pose.map_from_cam.matrix()
        for options in (EXACT, FAISS)
    ]
    np.testing.assert_array_equal(*poses)


def test_only_the_index_and_map_yaml_change(indexed: Path, point_map: VisualMap) -> None:
    before, after = point_map.info, VisualMap.open(indexed).info
    assert after.files.keys() == {*before.files, INDEX_FILE}
    assert after.model_copy(update={"files": before.files}) == before
    assert {name: FileInfo.of(indexed / name) for name in before.files} == before.files
    assert [path.name for path in indexed.parent.iterdir()] == [indexed.name], "nothing is left aside"


def test_an_index_can_be_replaced(indexed: Path) -> None:
    (indexed / INDEX_FILE).write_bytes(b"broken")
    assert map_index(indexed) == 0
    assert map_problems(indexed) == []


def test_a_map_in_use_stays_as_it_was(map_folder: Path) -> None:
    opened, text = VisualMap.open(map_folder), (map_folder / "map.yaml").open()
    descriptors = np.array(opened.global_descriptors)
    add_to_map(map_folder, [INDEX_FILE], lambda folder: write_bytes(folder / INDEX_FILE, b"new"))
    np.testing.assert_array_equal(opened.global_descriptors, descriptors)
    assert INDEX_FILE not in text.read(), "the old map.yaml, still open, was not written into"
    text.close()
    assert (map_folder / INDEX_FILE).read_bytes() == b"new"


def test_a_failed_addition_leaves_the_map(map_folder: Path) -> None:
    def full(folder: Path) -> None:
        (folder / INDEX_FILE).write_bytes(b"half")
        raise OSError("no space left on device")

    with pytest.raises(MapError, match=f"^{map_folder}: the map cannot be written: no space left on device"):
        add_to_map(map_folder, [INDEX_FILE], full)
    assert map_problems(map_folder) == []
    assert not (map_folder / INDEX_FILE).exists()


def test_files_are_copied_where_they_cannot_be_linked(map_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError("operation not supported")

    monkeypatch.setattr("os.link", refused)
    add_to_map(map_folder, [INDEX_FILE], lambda folder: write_bytes(folder / INDEX_FILE, b"new"))
    assert map_problems(map_folder) == []


def write_bytes(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def test_a_flipped_bit_of_the_index_is_found(indexed: Path) -> None:
    path = indexed / INDEX_FILE
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (problem,) = map_problems(indexed)
    assert problem.startswith(f"{path}: its bytes are not those that were written")
    with pytest.raises(MapError, match=f"^{path}: is not the file that map.yaml names.*run 'vizloc map index"):
        open_search(VisualMap.open(indexed), FAISS)
    open_search(VisualMap.open(indexed), RetrievalOptions())  # the exact search does not read it


def test_a_missing_index_is_named(indexed: Path) -> None:
    (indexed / INDEX_FILE).unlink()
    (problem,) = map_problems(indexed)
    assert problem == f"{indexed / INDEX_FILE}: missing"
    with pytest.raises(MapError, match=f"^{indexed / INDEX_FILE}: missing: run 'vizloc map index"):
        open_search(VisualMap.open(indexed), FAISS)


def test_the_index_of_another_map_is_named(indexed: Path, drive_index: Path) -> None:
    """Even if somebody has written it into map.yaml."""
    add_to_map(indexed, [INDEX_FILE], lambda folder: write_bytes(folder / INDEX_FILE, drive_index.read_bytes()))
    with pytest.raises(MapError, match=rf"^{indexed / INDEX_FILE}: holds 5000 descriptors.*the map has 12 of"):
        open_search(VisualMap.open(indexed), FAISS)


def test_faiss_without_an_index_is_a_wrong_parameter(point_map: VisualMap) -> None:
    with pytest.raises(ConfigError, match=r"parameter 'search' is faiss, but the map .* has no index: run 'vizloc map"):
        open_search(point_map, FAISS)


@pytest.fixture
def large_map(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], VisualMap]:
    """Opens a map as if its twelve keyframes were too many."""
    monkeypatch.setattr(global_search, "EXACT_UP_TO", 11)
    return VisualMap.open


def test_small_maps_are_searched_exactly(indexed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    visual_map = VisualMap.open(indexed)
    assert EXACT_UP_TO == 100_000
    assert isinstance(open_search(visual_map, RetrievalOptions()), GlobalIndex)
    monkeypatch.setattr(global_search, "EXACT_UP_TO", 12)
    assert isinstance(open_search(visual_map, RetrievalOptions()), GlobalIndex)


def test_large_maps_are_searched_through_their_index(
    indexed: Path, large_map: Callable[[Path], VisualMap], caplog: pytest.LogCaptureFixture
) -> None:
    assert isinstance(open_search(large_map(indexed), RetrievalOptions()), FaissIndex)
    assert isinstance(open_search(large_map(indexed), RetrievalOptions(search="exact")), GlobalIndex)
    assert caplog.messages == []


def test_a_large_map_without_an_index_says_so(
    map_folder: Path, large_map: Callable[[Path], VisualMap], caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("faiss")
    with caplog.at_level(logging.WARNING):
        assert isinstance(open_search(large_map(map_folder), RetrievalOptions()), GlobalIndex)
    (message,) = caplog.messages
    assert f"run 'vizloc map index {map_folder}'" in message


@pytest.mark.usefixtures("faiss_not_installed")
class TestWithoutFaiss:
    """On a machine where the optional package is not installed."""

    def test_maps_are_localized_in(self, point_map: VisualMap, point_views: list[View]) -> None:
        query = point_map.extractor.describe(point_views[3].keyframe.features)
        assert HierarchicalLocalizer(point_map).localize(query, CAMERA).pose is not None

    def test_asking_for_it_names_the_parameter_and_the_package(self, point_map: VisualMap) -> None:
        files = {**point_map.info.files, INDEX_FILE: FileInfo(bytes=1, sha256="")}
        info = point_map.info.model_copy(update={"files": files})
        with pytest.raises(ConfigError, match=r"pip install faiss-cpu, or set the parameter 'search' to exact"):
            open_search(replace(point_map, info=info), FAISS)

    def test_a_large_map_says_so(
        self, point_map: VisualMap, large_map: Callable[[Path], VisualMap], caplog: pytest.LogCaptureFixture
    ) -> None:
        assert isinstance(open_search(large_map(point_map.folder), RetrievalOptions()), GlobalIndex)
        (message,) = caplog.messages
        assert "pip install faiss-cpu" in message

    def test_indexing_ends_with_1_and_leaves_the_map(
        self, map_folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert map_index(map_folder) == 1
        assert "pip install faiss-cpu" in capsys.readouterr().err
        assert map_problems(map_folder) == []
