"""Localization by others beside ours: hloc's algorithm, hloc itself where it is installed, and the report of both."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from point_street import CAMERA, PointStreet, View
from pycolmap import Rigid3d
from repository import REPOSITORY

from vizloc_ros.errors import VizlocError
from vizloc_ros.features.types import dequantize
from vizloc_ros.geometry.poses import pose_error, pose_of
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.timing import Stopwatch

if TYPE_CHECKING:
    from peers.setting import Setting

_DISTANCES = (5.0, 11.0, 15.0, 19.0)  # m, two of them between keyframes


@pytest.fixture(scope="module", autouse=True)
def _benchmarks() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(REPOSITORY / "benchmarks"))
        yield


@pytest.fixture(scope="module")
def views(point_map: VisualMap) -> list[View]:
    """Views of the map's points with their global descriptors."""
    street, describe = PointStreet(seed=1), point_map.extractor.describe
    views = [street.view(distance, noise_px=0.3, clutter=150) for distance in _DISTANCES]
    return [replace(v, keyframe=replace(v.keyframe, features=describe(v.keyframe.features))) for v in views]


@pytest.fixture(scope="module")
def truth(views: list[View]) -> dict[str, Rigid3d]:
    return {v.keyframe.name: v.keyframe.map_from_cam for v in views}


@pytest.fixture(scope="module")
def setting(
    point_map: VisualMap, point_views: list[View], views: list[View], tmp_path_factory: pytest.TempPathFactory
) -> "Setting":
    from peers.setting import Query, Setting

    setting = Setting(tmp_path_factory.mktemp("peers"), point_map.folder)
    setting.write(
        [Query(v.keyframe.name, v.keyframe.features, CAMERA) for v in views], [v.keyframe.features for v in point_views]
    )
    return setting


def test_mutual_neighbors_are_those_of_a_search_by_row_and_by_column() -> None:
    from peers.pairwise import mutual_nearest

    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(n, 8)).astype(np.float32) for n in (60, 40))
    a[17] = a[3]  # equally near: the first counts
    similarity = a @ b.T
    expected = [(i, j) for i, j in enumerate(similarity.argmax(axis=1)) if similarity[:, j].argmax() == i]
    assert 10 < len(expected) < 40
    assert list(zip(*(found.tolist() for found in mutual_nearest(a, b)), strict=True)) == expected
    assert [len(found) for found in mutual_nearest(a[:0], b)] == [0, 0]


def test_the_query_is_matched_with_each_keyframe_and_no_pair_counts_twice(setting: "Setting") -> None:
    from peers.pairwise import Pairwise

    peer, query = Pairwise(setting), next(iter(setting.queries.values()))
    retrieved = peer.retrieve(query)
    cosines = setting.visual_map.global_descriptors @ query.features.global_descriptor
    assert retrieved.tolist() == [k for k in np.argsort(-cosines)[:10].tolist() if cosines[k] >= 0]
    landmarks_of: dict[int, list[int]] = defaultdict(list)
    for k in retrieved.tolist():
        keyframe = setting.keyframes[k]
        similarity = dequantize(query.features.descriptors) @ dequantize(keyframe.features.descriptors).T
        for i, j in enumerate(similarity.argmax(axis=1).tolist()):
            landmark = int(keyframe.landmarks[j])
            if similarity[:, j].argmax() == i and landmark >= 0 and landmark not in landmarks_of[i]:
                landmarks_of[i].append(landmark)
    expected = {(i, landmark) for i, landmarks in landmarks_of.items() for landmark in landmarks}
    found = list(map(tuple, peer.match(query, retrieved).tolist()))
    assert len(found) == len(set(found)) > 100
    assert set(found) == expected


@pytest.mark.parametrize("method", ["pycolmap", "clusters", "opencv"])
def test_the_pose_is_found(method: str, setting: "Setting", truth: dict[str, Rigid3d]) -> None:
    from peers.pairwise import Pairwise, by_opencv, by_pycolmap

    peer = Pairwise(setting, by_opencv if method == "opencv" else by_pycolmap, clusters=method == "clusters")
    for name, query in setting.queries.items():
        clock = Stopwatch()
        pose = peer.localize(query, clock)
        assert pose is not None
        metres, degrees = pose_error(pose, truth[name])
        assert metres < 0.1
        assert degrees < 0.5
        assert {"retrieve", "match", "pose"} <= clock.milliseconds.keys()


def test_without_a_pose_the_most_similar_keyframe_stands_for_it_but_not_with_clusters(setting: "Setting") -> None:
    from peers.pairwise import Pairwise

    query = next(iter(setting.queries.values()))
    peer, with_clusters = Pairwise(setting), Pairwise(setting, clusters=True)
    nearest = pose_of(setting.visual_map.keyframe_poses[peer.retrieve(query)[0]])
    for count in (0, 2):
        lost = replace(query, features=query.features.best(count))
        pose = peer.localize(lost, Stopwatch())
        assert pose is not None
        assert pose_error(pose, nearest) == pytest.approx((0, 0), abs=1e-9)
        assert with_clusters.localize(lost, Stopwatch()) is None


def test_processes_report_recall_that_wrong_features_change(
    setting: "Setting", truth: dict[str, Rigid3d], views: list[View], point_views: list[View], tmp_path: Path
) -> None:
    from peers.comparison import compare, comparison_tables
    from peers.setting import Query, Setting
    from peers.worker import ALGORITHM, HLOC, OURS, Worker

    queries = [Query(v.keyframe.name, v.keyframe.features, CAMERA) for v in views]
    wrong = replace(queries[0].features, keypoints=np.roll(queries[0].features.keypoints, 7, axis=0))
    changed = Setting(tmp_path, setting.map_folder)
    changed.write([replace(queries[0], features=wrong), *queries[1:]], [v.keyframe.features for v in point_views])
    measured = compare(changed, truth, [OURS, ALGORITHM])
    assert [set(m.accuracy.recall.values()) for m in measured.values()] == [{0.75}, {0.75}]
    accuracy, times = (table.as_dict() for table in comparison_tables(measured, "points"))
    rows: Any = accuracy["rows"]
    assert [row[""] for row in rows] == [OURS, ALGORITHM, f"{HLOC}: not installed"]
    assert rows[0].keys() == {"", "poses", "0.25m_2deg", "0.5m_5deg", "5m_10deg", "median [m]", "median [deg]"}
    assert set(rows[2].values()) == {f"{HLOC}: not installed", None}
    rows = times["rows"]
    stages = {f"{s} {p} [ms]" for s in ("retrieval", "matching", "pose", "total") for p in ("p50", "p99")}
    assert rows[0].keys() == {"", *stages, "times ours", "CPU p50 [ms]", "times ours, CPU", "peak memory [MB]"}
    assert all(isinstance(cell, float) and cell > 0 for row in rows[:2] for cell in list(row.values())[1:])
    assert rows[0]["times ours"] == 1
    lost = Worker(OURS, changed)
    with pytest.raises(VizlocError, match=r"ours: its process ended; see .*ours\.log"):
        lost.localize("no such query")
    lost.kill()
    assert "no such query" in (tmp_path / "ours.log").read_text()


def test_hloc_itself_finds_the_same_matches_and_poses(setting: "Setting", truth: dict[str, Rigid3d]) -> None:
    pytest.importorskip("hloc")
    pytest.importorskip("h5py")
    from hloc.utils.io import get_matches
    from peers.hloc_itself import HlocItself, write_files
    from peers.pairwise import Pairwise

    write_files(setting)
    hloc, algorithm, names = HlocItself(setting), Pairwise(setting), setting.visual_map.keyframe_names
    for name, query in setting.queries.items():
        clock, retrieved = Stopwatch(), algorithm.retrieve(query)
        assert hloc.retrieve(name) == [names[k] for k in retrieved]
        pose = hloc.localize(query, clock)
        assert pose is not None
        assert pose_error(pose, truth[name])[0] < 0.1
        assert clock.milliseconds.keys() == {"retrieve", "read", "match", "write", "pose"}
        found = set()
        for k in retrieved.tolist():
            pairs, _ = get_matches(setting.folder / "matches.h5", name, names[k])
            landmarks = setting.keyframes[k].landmarks[pairs[:, 1]]
            found |= {
                (int(i), int(landmark)) for (i, _), landmark in zip(pairs, landmarks, strict=True) if landmark >= 0
            }
        assert found == {(int(i), int(landmark)) for i, landmark in algorithm.match(query, retrieved)}
