"""Recall, trajectories, timings, reports and plots."""

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycolmap import Rigid3d, Rotation3d
from rich.console import Console
from trajectory_readers import read_tum, read_visuallocalization

from vizloc_ros.datasets.image_files import read_image
from vizloc_ros.evaluation.plots import plot_errors, plot_overlay, plot_trajectory
from vizloc_ros.evaluation.recall import evaluate_poses
from vizloc_ros.evaluation.report import report_table, write_report
from vizloc_ros.evaluation.trajectories import write_tum, write_visuallocalization
from vizloc_ros.geometry.poses import pose_error

pytestmark = pytest.mark.e2e


def pose(x: float = 0.0, degrees: float = 0.0) -> Rigid3d:
    return Rigid3d(Rotation3d(np.array([0, 0, 1]) * math.radians(degrees)), np.array([x, 0, 0]))


def random_pose(seed: int) -> Rigid3d:
    random = np.random.default_rng(seed)
    quaternion = random.normal(size=4)
    return Rigid3d(Rotation3d(quaternion / np.linalg.norm(quaternion)), random.normal(size=3) * 1e5)


def test_recall_counts_missing_as_wrong_and_wants_both_errors_small() -> None:
    truth = {name: pose() for name in ("right", "coarse", "turned", "far", "missing")}
    estimates = {
        "right": pose(0.2, 1.0),
        "coarse": pose(0.3, 4.0),
        "turned": pose(0.0, 9.0),
        "far": pose(6.0, 0.0),
        "without truth": pose(),
    }
    report = evaluate_poses(estimates, truth)
    assert report.recall == {"0.05m_5deg": 0, "0.25m_2deg": 1 / 5, "0.5m_5deg": 2 / 5, "5m_10deg": 3 / 5}
    assert report.num_wrong == report.as_dict()["num_wrong"] == 2
    assert (report.num_images, report.num_poses) == (5, 4)
    assert report.median_translation_m == pytest.approx(0.25)
    assert report.median_rotation_deg == pytest.approx(2.5)
    assert report.errors["coarse"] == pytest.approx((0.3, 4.0))
    assert set(report.errors) == set(estimates) - {"without truth"}


def test_recall_of_nothing() -> None:
    report = evaluate_poses({}, {"a": pose()})
    assert report.recall == {"0.05m_5deg": 0, "0.25m_2deg": 0, "0.5m_5deg": 0, "5m_10deg": 0}
    assert report.num_wrong == 0
    assert report.median_translation_m is None
    assert report.median_rotation_deg is None
    assert evaluate_poses({"a": pose()}, {}).recall == {}


def test_an_error_at_the_tolerance_is_right() -> None:
    assert evaluate_poses({"a": pose(0.25)}, {"a": pose()}).recall["0.25m_2deg"] == 1


@given(st.lists(st.integers(0, 2**31 * 10**9 - 1), max_size=5))
def test_tum_gives_stamps_back_exactly(tmp_path_factory: pytest.TempPathFactory, stamps: list[int]) -> None:
    path = tmp_path_factory.mktemp("tum") / "poses.txt"
    poses = [(stamp, random_pose(index)) for index, stamp in enumerate(stamps)]
    write_tum(path, poses)
    read = read_tum(path)
    assert [stamp for stamp, _ in read] == stamps
    for (_, expected), (_, actual) in zip(poses, read, strict=True):
        np.testing.assert_allclose(actual.matrix(), expected.matrix(), rtol=0, atol=1e-9)


def test_tum_holds_world_from_cam(tmp_path: Path) -> None:
    write_tum(tmp_path / "poses.txt", [(1_500_000_000, Rigid3d(Rotation3d(), np.array([1.0, 2.5, -3.0])))])
    assert (tmp_path / "poses.txt").read_text().splitlines()[1] == "1.500000000 1.0 2.5 -3.0 0.0 0.0 0.0 1.0"


def test_visuallocalization_holds_cam_from_world(tmp_path: Path) -> None:
    path = tmp_path / "poses.txt"
    poses = {"plain.png": Rigid3d(Rotation3d(), np.array([1.0, 2, 3])), "with blank.png": random_pose(1)}
    write_visuallocalization(path, poses)
    assert path.read_text().splitlines()[0] == "plain.png 1.0 0.0 0.0 0.0 -1.0 -2.0 -3.0"
    read = read_visuallocalization(path)
    assert list(read) == list(poses)
    translation, rotation = pose_error(read["with blank.png"], poses["with blank.png"])
    assert translation < 1e-9
    assert rotation < 1e-5


def test_report_is_plain_json_without_nan(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    write_report(
        path,
        {
            "num_images": np.int64(3),
            "median_translation_m": np.float32(0.5),
            "errors": np.array([1.0, np.nan]),
            "recall": {"5m_10deg": math.inf},
            "num_failed": (1, None),
            "out": Path("a/b"),
        },
    )
    assert json.loads(path.read_text()) == {
        "num_images": 3,
        "median_translation_m": 0.5,
        "errors": [1.0, None],
        "recall": {"5m_10deg": None},
        "num_failed": [1, None],
        "out": "a/b",
    }
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]


def test_a_report_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    with pytest.raises(TypeError):
        write_report(path, {"seed": object()})
    assert path.read_text() == "old"


def test_report_table_shows_the_figures() -> None:
    console = Console(file=io.StringIO(), width=100)
    console.print(
        report_table(
            {
                "num_images": 76,
                "recall": {"0.25m_2deg": 0.98765},
                "median_translation_m": 0.04321,
                "median_rotation_deg": None,
                "latency_ms": {"p50": 41.234, "p99": 99.9},
                "timings_ms": {"match": {"p50": 1.0, "p99": 2.0}, "catch_up": {"p50": 0.5, "p99": 4321.0}},
                "retrieval": {"r1_5m": 0.5, "r10_5m": 1.0},
                "map_bytes_per_keyframe": 436123.4,
                "localizer": {"num_poses": 3, "recall": {"5m_10deg": 0.25}},
            }
        )
    )
    text = console.file.getvalue()
    rows = [[cell.strip() for cell in line.strip("│ ").split("│")] for line in text.splitlines() if "│" in line]
    assert rows == [
        ["images", "76"],
        ["recall: 0.25 m, 2 deg", "98.8 %"],
        ["median translation [m]", "0.0432"],
        ["median rotation [deg]", "-"],
        ["latency [ms]", "p50 41.2, p99 99.9"],
        ["timings [ms]: match", "p50 1, p99 2"],
        ["timings [ms]: catch up", "p50 0.5, p99 4321"],
        ["retrieval: R@1, 5 m", "50.0 %"],
        ["retrieval: R@10, 5 m", "100.0 %"],
        ["map size per keyframe", "436 kB"],
        ["localizer: poses", "3"],
        ["localizer: recall: 5 m, 10 deg", "25.0 %"],
    ]


def pixels_like(path: Path, red: int, green: int, blue: int) -> int:
    """Number of pixels of a figure with about this color."""
    return int((np.abs(read_image(path)[..., ::-1] - np.array([red, green, blue])) < 40).all(axis=-1).sum())


RED = (220, 38, 38)  # of the marks of missing poses


@pytest.mark.parametrize("up", [(0, 1, 2), (0, 2, 1), (1, 2, 0)], ids=["z up", "y up", "x up"])
def test_trajectory_picture_lies_flat_whichever_axis_is_up_and_marks_missing(
    tmp_path: Path, up: tuple[int, int, int]
) -> None:
    random = np.random.default_rng(0)
    trajectory = np.zeros((30, 3))
    trajectory[:, up[0]] = np.arange(30)
    landmarks = np.zeros((500, 3))
    landmarks[:, list(up)] = random.uniform((-5, -15, 0), (35, 15, 6), (500, 3))
    truth = {str(i): Rigid3d(Rotation3d(), position) for i, position in enumerate(trajectory)}
    estimates = {name: Rigid3d(Rotation3d(), pose.translation + 0.1) for name, pose in truth.items()}
    plot_trajectory(tmp_path / "all.png", landmarks, trajectory, truth, estimates)
    del estimates["15"], estimates["16"]
    plot_trajectory(tmp_path / "missing.png", landmarks, trajectory, truth, estimates)
    assert pixels_like(tmp_path / "all.png", *RED) == 0
    assert pixels_like(tmp_path / "missing.png", *RED) > 20
    height, width = read_image(tmp_path / "all.png").shape[:2]
    assert width > height


@pytest.mark.parametrize("length", [5.0, 20.0, 30.0])
def test_trajectory_picture_has_room_for_its_title(tmp_path: Path, length: float) -> None:
    around = np.linspace(0, 2 * np.pi, 60)
    truth = {
        str(i): Rigid3d(Rotation3d(), np.array([15 * np.cos(angle), length / 2 * np.sin(angle), 0]))
        for i, angle in enumerate(around)
    }
    estimates = {name: pose for name, pose in truth.items() if name != "7"}
    positions = np.array([pose.translation for pose in truth.values()])
    plot_trajectory(tmp_path / "a.png", positions * 1.2, positions, truth, estimates)
    image = read_image(tmp_path / "a.png")
    assert (image[:5] == 255).all()
    assert (image[:60] < 100).any()


def test_trajectory_picture_of_little(tmp_path: Path) -> None:
    nothing = np.zeros((0, 3))
    plot_trajectory(tmp_path / "empty.png", nothing, nothing, {}, {})
    plot_trajectory(tmp_path / "a.png", nothing, np.zeros((1, 3)), {}, {})
    plot_trajectory(tmp_path / "b.png", nothing, nothing, {}, {"a": pose(1), "b": pose(2)})
    assert pixels_like(tmp_path / "b.png", 37, 99, 235) > pixels_like(tmp_path / "a.png", 37, 99, 235)


def test_error_picture_marks_missing_poses(tmp_path: Path) -> None:
    truth = {str(i): pose(i) for i in range(5)}
    for count in (0, 3, 5):
        estimates = {name: pose(float(name) + 0.1, 3.0) for name in list(truth)[:count]}
        report = evaluate_poses(estimates, truth)
        plot_errors(tmp_path / f"{count}.png", report, list(truth), np.arange(5) * 0.1)
    pale_red = (246, 201, 201)
    marks = [pixels_like(tmp_path / f"{count}.png", *pale_red) for count in (0, 3, 5)]
    assert marks[0] > marks[1] > marks[2]


@pytest.mark.parametrize("shape", [(120, 160), (120, 160, 3)])
def test_overlay_picture_shows_matches_on_the_image(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = tmp_path / "overlay.png"
    keypoints = np.random.default_rng(0).uniform(20, 100, (20, 2))
    image = np.full(shape, 90, np.uint8)
    plot_overlay(path, image, keypoints, np.arange(20) < 12, keypoints + 1.0, "0.1 m")
    green, yellow, gray = (52, 211, 153), (253, 224, 71), (90, 90, 90)
    assert pixels_like(path, *green) > 50
    assert pixels_like(path, *yellow) > 50
    assert pixels_like(path, *gray) > 0.4 * read_image(path)[..., 0].size
    plot_overlay(path, image, keypoints[:0], np.zeros(0, bool))
    assert pixels_like(path, *yellow) == 0


def test_a_wild_estimate_does_not_shrink_the_trajectory_picture(tmp_path: Path) -> None:
    truth = {str(i): pose(float(i)) for i in range(30)}
    trajectory = np.array([p.translation for p in truth.values()])
    for name, x in {"tame": 15.0, "wild": 1e5}.items():
        plot_trajectory(tmp_path / f"{name}.png", trajectory, trajectory, truth, {"15": pose(x)})
    map_color = (178, 202, 248)  # of the map's trajectory on white
    tame, wild = (pixels_like(tmp_path / f"{name}.png", *map_color) for name in ("tame", "wild"))
    assert wild > 0.8 * tame > 0
