"""Matching metrics on hand-made keypoints, readers of planar benchmarks, and ``vizloc evaluate matching``."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planar_sequences import LAYOUTS, write_sequence
from repository import DATA
from typer.testing import CliRunner

from vizloc_ros.cli.main import app
from vizloc_ros.datasets.homographies import open_homographies
from vizloc_ros.errors import ConfigError, DatasetError, DeviceError, ImageError
from vizloc_ros.evaluation.homography_matching import evaluate_extractor, matching_report, plot_mma, read_shrunk
from vizloc_ros.evaluation.matching_metrics import (
    MMA_THRESHOLDS_PX,
    MatchingSummary,
    PairMetrics,
    evaluate_pair,
    mutual_nearest,
    warp,
)
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.features.types import NO_GLOBAL_DESCRIPTOR, Features, quantize

pytestmark = pytest.mark.e2e

SIZE = (200, 100)
IDENTITY = np.eye(3)
SHIFT_RIGHT_50 = np.array([[1.0, 0, 50], [0, 1, 0], [0, 0, 1]])


def features(points: list[tuple[float, float]], words: list[int], similarity: float = 1.0) -> Features:
    """Keypoints whose descriptors agree where their words do; ``similarity`` is that to others of the same word."""
    axes = np.eye(17, dtype=np.float32)
    descriptors = similarity * axes[words] + math.sqrt(1 - similarity**2) * axes[16]
    return Features(
        np.array(points, np.float32).reshape(-1, 2),
        np.linspace(1, 0.5, len(points), dtype=np.float32),
        quantize(descriptors.reshape(-1, 17)),
        NO_GLOBAL_DESCRIPTOR,
        SIZE,
    )


def random_features(seed: int, count: int) -> Features:
    random = np.random.default_rng(seed)
    descriptors = random.normal(size=(count, 32)).astype(np.float32)
    return Features(
        random.uniform(0, np.array(SIZE) - 1, (count, 2)).astype(np.float32),
        np.sort(random.uniform(size=count).astype(np.float32))[::-1],
        quantize(descriptors / np.linalg.norm(descriptors, axis=1, keepdims=True)),
        NO_GLOBAL_DESCRIPTOR,
        SIZE,
    )


def test_every_metric_of_a_pair_counted_by_hand() -> None:
    # b is a moved 50 px to the right. Of a, (180, 50) leaves the image; of b, (20, 20) was not in a.
    a = features([(10, 10), (60, 10), (10, 60), (60, 60), (180, 50)], [0, 1, 2, 3, 4])
    b = features([(61, 10), (110, 12), (60, 65), (110, 90), (20, 20)], [0, 1, 2, 3, 4])
    metrics = evaluate_pair(a, b, SHIFT_RIGHT_50, 10)
    assert (metrics.keypoints, metrics.matches) == (5, 5)
    assert metrics.repeatability == pytest.approx(4 / 8)  # two of four visible ones in each image
    assert metrics.localization_error_px == pytest.approx((1 + 2) / 2)
    assert metrics.matching_score == pytest.approx(2 / 4)
    assert metrics.mma == pytest.approx((0.2, 0.4, 0.4, 0.4, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6))  # errors 1, 2, 5, 30, 210
    assert metrics.homography_error_px > 5


def test_repeatability_pools_both_images() -> None:
    a = features([(10, 10), (50, 50)], [0, 1])
    b = features([(10, 10), (11, 10), (12, 10), (90, 90)], [0, 1, 2, 3])
    metrics = evaluate_pair(a, b, IDENTITY, 10)
    assert metrics.repeatability == pytest.approx((1 + 3) / (2 + 4))
    assert metrics.localization_error_px == pytest.approx((0 + 0 + 1 + 2) / 4)


def test_matching_score_is_the_mean_of_both_images() -> None:
    a = features([(10, 10), (50, 50)], [0, 1])
    b = features([(10, 10), (50, 50), (80, 80), (90, 90)], [0, 1, 2, 3])
    assert evaluate_pair(a, b, IDENTITY, 10).matching_score == pytest.approx((2 / 2 + 2 / 4) / 2)


def test_distances_are_those_in_the_second_image() -> None:
    a, b = features([(40, 20)], [0]), features([(21.0, 10)], [0])
    half = np.diag([0.5, 0.5, 1.0])
    assert evaluate_pair(a, b, half, 1).localization_error_px == pytest.approx(1)
    assert evaluate_pair(b, a, np.linalg.inv(half), 1).localization_error_px == pytest.approx(2)


def test_average_precision_follows_the_ranking() -> None:
    points = [(10, 10), (50, 10), (90, 10), (130, 10)]
    a, b = features(points, [0, 1, 2, 3]), features([(10, 10), (50, 40), (90, 10), (160, 50)], [0, 1, 2, 3])

    def average_precision(*similarities: float) -> float:
        ranked = [features([(0, 0)], [word], s).descriptors for word, s in enumerate(similarities)]
        return evaluate_pair(a, replace(b, descriptors=np.concatenate(ranked)), IDENTITY, 4).average_precision

    # The first and the third match are right, and no more keypoints are repeated.
    assert average_precision(0.9, 0.8, 0.7, 0.6) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(0.8, 0.9, 0.7, 0.6) == pytest.approx((2 / 3 + 2 / 3) / 2)  # interpolated, not 1/2 + 2/3
    assert average_precision(0.9, 0.7, 0.8, 0.6) == 1
    assert average_precision(0.7, 0.9, 0.6, 0.8) == pytest.approx((1 / 2 + 1 / 2) / 2)


def test_a_repeated_keypoint_that_is_not_matched_lowers_recall() -> None:
    a = features([(10, 10), (50, 10)], [0, 1])
    b = features([(10, 10), (50, 10)], [0, 0])
    assert evaluate_pair(a, b, IDENTITY, 2).average_precision == pytest.approx(1 / 2)


def test_only_the_best_keypoints_count() -> None:
    a = features([(10, 10), (50, 50)], [0, 1])
    b = features([(10, 10), (90, 90)], [0, 2])
    assert evaluate_pair(a, b, IDENTITY, 1).repeatability == 1
    assert evaluate_pair(a, b, IDENTITY, 1).keypoints == 1
    assert evaluate_pair(a, b, IDENTITY, 2).repeatability == pytest.approx(1 / 2)


def test_the_homography_of_exact_matches_is_found() -> None:
    homography = np.array([[1.1, 0.1, -10], [-0.05, 0.9, 8], [2e-4, -1e-4, 1]])
    a = random_features(0, 60)
    b = replace(a, keypoints=warp(a.keypoints.astype(np.float64), homography).astype(np.float32))
    metrics = evaluate_pair(a, b, 7 * homography, 60)  # its scale is arbitrary
    assert metrics.homography_error_px < 0.01
    assert metrics.mma == (1,) * 10


@pytest.mark.parametrize(
    "points",
    [[], [(1, 1), (5, 9), (30, 40)], [(5.0 * i, 5.0 * i) for i in range(9)], [(30, 30)] * 9],
    ids=["none", "three", "on a line", "in one place"],
)
def test_matches_that_fix_no_homography_count_as_wrong(points: list[tuple[float, float]]) -> None:
    pair = features(points, list(range(len(points))))
    metrics = evaluate_pair(pair, pair, IDENTITY, 20)
    assert metrics.homography_error_px == math.inf
    assert MatchingSummary.of([metrics]).homography == (0, 0, 0)


@pytest.mark.parametrize(("in_a", "in_b"), [(0, 0), (0, 3), (3, 0)])
def test_without_keypoints_nothing_is_right(in_a: int, in_b: int) -> None:
    metrics = evaluate_pair(random_features(1, in_a), random_features(2, in_b), IDENTITY, 10)
    assert metrics == PairMetrics((in_a + in_b) / 2, 0, 0.0, None, 0.0, 0.0, (0.0,) * 10, math.inf)


def test_images_that_share_nothing() -> None:
    away = np.array([[1.0, 0, 1000], [0, 1, 0], [0, 0, 1]])
    metrics = evaluate_pair(random_features(1, 9), random_features(2, 9), away, 10)
    assert (metrics.repeatability, metrics.localization_error_px, metrics.matching_score) == (0, None, 0)
    assert metrics.mma == (0,) * 10


def test_keypoints_on_the_horizon_are_not_visible() -> None:
    homography = np.array([[1.0, 0, 0], [0, 1, 0], [0.1, 0, -1]])  # x = 10 goes to infinity, (20, 2) stays
    a, b = features([(20, 2), (10, 5), (10, 0)], [0, 1, 2]), features([(20, 2), (50, 50)], [0, 1])
    metrics = evaluate_pair(a, b, homography, 5)
    assert metrics.repeatability == pytest.approx(2 / 3)
    assert (metrics.matches, metrics.mma[-1]) == (2, 1 / 2)


def test_a_singular_homography_is_refused() -> None:
    with pytest.raises(DatasetError, match="singular"):
        evaluate_pair(random_features(1, 3), random_features(2, 3), np.ones((3, 3)), 3)


def test_matches_are_mutual() -> None:
    a, b = features([(0, 0)] * 3, [0, 0, 1], 0.9), features([(0, 0)] * 2, [1, 0])
    rows, columns, similarity = mutual_nearest(a.descriptors, b.descriptors)
    assert (rows.tolist(), columns.tolist()) == ([0, 2], [1, 0])
    assert similarity == pytest.approx(0.9, abs=0.01)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(8, 60))
def test_the_same_features_are_perfect(seed: int, count: int) -> None:
    same = random_features(seed, count)
    metrics = evaluate_pair(same, same, IDENTITY, count)
    assert metrics.matches == count
    assert (metrics.repeatability, metrics.localization_error_px, metrics.matching_score) == (1, 0, 1)
    assert (metrics.average_precision, metrics.mma) == (1, (1,) * 10)
    assert metrics.homography_error_px < 1e-3


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.integers(0, 60), st.integers(1, 60), st.floats(-3, 3))
def test_ratios_are_ratios_and_a_motion_can_be_turned_round(
    seed: int, in_a: int, in_b: int, count: int, angle: float
) -> None:
    c, s = math.cos(angle), math.sin(angle)
    motion = np.array([[c, -s, 100 - 100 * c + 50 * s], [s, c, 50 - 100 * s - 50 * c], [0, 0, 1]])
    a, b = random_features(seed, in_a), random_features(seed + 1, in_b)
    there, back = evaluate_pair(a, b, motion, count), evaluate_pair(b, a, np.linalg.inv(motion), count)
    assert there.repeatability == pytest.approx(back.repeatability)
    assert there.matching_score == pytest.approx(back.matching_score)
    assert there.localization_error_px == pytest.approx(back.localization_error_px)
    ratios = (there.repeatability, there.matching_score, there.average_precision, *there.mma)
    assert all(0 <= ratio <= 1 for ratio in ratios)
    assert list(there.mma) == sorted(there.mma)
    assert there.localization_error_px is None or 0 <= there.localization_error_px <= 3


def test_a_summary_is_the_mean_over_pairs() -> None:
    good = PairMetrics(300, 200, 0.8, 1.0, 0.6, 0.9, tuple(np.linspace(0.1, 1, 10)), 0.5)
    poor = PairMetrics(100, 0, 0.0, None, 0.0, 0.0, (0.0,) * 10, math.inf)
    fair = replace(good, localization_error_px=2.0, homography_error_px=3.0)
    summary = MatchingSummary.of([good, poor, fair])
    assert (summary.pairs, summary.keypoints, summary.matches) == (3, pytest.approx(700 / 3), pytest.approx(400 / 3))
    assert summary.localization_error_px == pytest.approx(1.5)
    assert summary.repeatability == pytest.approx(1.6 / 3)
    assert summary.homography == pytest.approx((1 / 3, 2 / 3, 2 / 3))
    assert summary.mma_at(3) == pytest.approx(0.6 / 3)
    keys = summary.as_dict()
    assert keys["homography"] == pytest.approx({"1px": 1 / 3, "3px": 2 / 3, "5px": 2 / 3})
    assert list(keys["mma"]) == [f"{t}px" for t in MMA_THRESHOLDS_PX]
    assert MatchingSummary.of([poor]).as_dict()["localization_error_px"] is None


@pytest.mark.parametrize("layout", LAYOUTS)
def test_readers_yield_the_pairs_of_all_sequences_or_of_one(layout: str, tmp_path: Path) -> None:
    for name in ("v_second", "i_first"):
        write_sequence(tmp_path / name, layout)
    (tmp_path / "README.md").write_text("not a sequence")
    (tmp_path / "pictures").mkdir()
    pairs = open_homographies(f"{layout}:{tmp_path}")
    assert [pair.sequence for pair in pairs] == ["i_first"] * 5 + ["v_second"] * 5
    assert {pair.image_a.stem[-1] for pair in pairs} == {"1"}
    assert [pair.image_b.stem[-1] for pair in pairs[:5]] == list("23456")
    np.testing.assert_array_equal(pairs[1].b_from_a, [[2, 0, -16], [0, 2, 0], [0, 0, 2]])
    assert len(open_homographies(f"{layout}:{tmp_path / 'i_first'}")) == 5


def test_a_sequence_may_be_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_sequence(tmp_path / "wall", "oxford"))
    assert open_homographies("oxford:.")[0].sequence == "wall"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("H1to3p", None, "H1to3p: cannot be read: No such file"),
        ("img4.png", None, "no image img4.png"),
        ("H1to2p", "1 0 0\n0 1\n0 0 1\n", "H1to2p:2: 2 values"),
        ("H1to2p", "1 0 0\n0 1 0\n", "H1to2p: 2 rows"),
        ("H1to2p", "1 0 0\n0 one 0\n0 0 1\n", "H1to2p:2: a value is 'one'"),
        ("H1to2p", "1 0 0\n0 1 0\n0 0 nan\n", "H1to2p:3: a value is 'nan'"),
        ("H1to2p", "1 2 3\n2 4 6\n0 0 1\n", "H1to2p: the homography is singular"),
        ("H1to2p", "\xff", "H1to2p: not a text file"),
    ],
)
def test_what_is_missing_or_malformed_is_named(file: str, content: str | None, message: str, tmp_path: Path) -> None:
    folder = write_sequence(tmp_path / "graf", "oxford")
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(content, encoding="latin-1")
    with pytest.raises(DatasetError, match=re.escape(message)):
        open_homographies(f"oxford:{tmp_path}")


@pytest.mark.parametrize("spec", ["graf", "oxford", "oxford:", "folder:/data", ""])
def test_other_readers_are_refused(spec: str) -> None:
    with pytest.raises(DatasetError, match="write one of: oxford:PATH, hpatches:PATH"):
        open_homographies(spec)


def test_folders_without_sequences_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        open_homographies(f"oxford:{tmp_path / 'none'}")
    write_sequence(tmp_path / "v_wall", "hpatches")
    with pytest.raises(DatasetError, match=r"none holds img1\.png or H1to2p"):
        open_homographies(f"oxford:{tmp_path}")


def test_an_image_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    folder = write_sequence(tmp_path / "graf", "oxford")
    (folder / "img1.png").write_text("no image")
    with pytest.raises(ImageError, match=r"img1\.png"):
        evaluate_extractor(open_extractor("rootsift"), open_homographies(f"oxford:{folder}"), [100])


def test_a_run_is_summarized_overall_and_by_sequence(tmp_path: Path) -> None:
    write_sequence(tmp_path / "i_still", "hpatches", shift=0)
    write_sequence(tmp_path / "v_moved", "hpatches")
    runs = evaluate_extractor(open_extractor("rootsift"), open_homographies(f"hpatches:{tmp_path}"), [50, 200])
    assert list(runs) == [50, 200]
    overall, still, moved = runs[50].overall, *(runs[50].sequences[name] for name in ("i_still", "v_moved"))
    assert (overall.pairs, still.pairs, moved.pairs) == (10, 5, 5)
    assert (still.repeatability, still.localization_error_px, still.mma_at(1)) == (1, 0, 1)
    assert still.homography == (1, 1, 1)
    assert 0.9 < moved.repeatability < 1
    assert 0 < moved.localization_error_px < 0.1
    assert overall.matching_score == pytest.approx((still.matching_score + moved.matching_score) / 2)
    report = matching_report({"rootsift": runs})
    assert report["matching"]["rootsift"]["200"] == runs[200].overall.as_dict()
    assert report["sequences"]["rootsift"]["50"]["v_moved"] == moved.as_dict()


def test_shrunk_images_have_shrunk_homographies(tmp_path: Path) -> None:
    """Pixels are centered on whole numbers: at half the size, pixel 0.5 of the file's image is pixel 0."""
    write_sequence(tmp_path / "v_moved", "hpatches")
    pairs = open_homographies(f"hpatches:{tmp_path}")
    (run,) = evaluate_extractor(open_extractor("rootsift"), pairs, [50], long_side=80).values()
    assert run.overall.repeatability > 0.85
    assert run.overall.localization_error_px < 0.4
    small, small_from_file = read_shrunk(pairs[0].image_a, 80)
    assert small.shape == (60, 80)
    np.testing.assert_allclose(small_from_file, [[0.5, 0, -0.25], [0, 0.5, -0.25], [0, 0, 1]])
    whole, same = read_shrunk(pairs[0].image_a, 160)
    assert whole.shape == (120, 160)
    np.testing.assert_array_equal(same, np.eye(3))


def test_the_command_writes_report_and_picture(tmp_path: Path) -> None:
    folder = write_sequence(tmp_path / "v_moved", "hpatches")
    out = tmp_path / "out"
    words = ["evaluate", "matching", f"hpatches:{folder}", "--extractor", "rootsift", "--out", str(out), "--sequences"]
    result = CliRunner().invoke(app, [*words, "--keypoints", "100", "--keypoints", "20"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "MMA@3" in result.output
    assert "v_moved" in result.output
    report = json.loads((out / "report.json").read_text())
    assert list(report["matching"]["rootsift"]) == ["20", "100"]
    assert report["matching"]["rootsift"]["100"]["pairs"] == 5
    assert report["dataset"] == f"hpatches:{folder}"
    assert "command" in report
    assert cv2.imread(str(out / "mma.png")) is not None


def test_the_picture_compares_extractors(tmp_path: Path) -> None:
    pairs = open_homographies(f"oxford:{write_sequence(tmp_path / 'graf', 'oxford')}")
    runs = evaluate_extractor(open_extractor("rootsift"), pairs, [50])
    plot_mma(tmp_path / "one.png", {"rootsift": runs})
    plot_mma(tmp_path / "two.png", {"rootsift": runs, "other [b]": runs})
    assert (tmp_path / "one.png").read_bytes() != (tmp_path / "two.png").read_bytes()


@pytest.fixture
def oxford() -> Path:
    """The real sequences; skips where they are not."""
    if not (DATA / "oxford_affine" / "ubc").is_dir():
        pytest.skip(f"no real data at {DATA / 'oxford_affine'}: set VIZLOC_DATA to the folder that holds it")
    return DATA / "oxford_affine"


def test_rootsift_on_real_images(oxford: Path) -> None:
    """Golden numbers of three pairs, with room for other versions of OpenCV."""
    pairs = [*open_homographies(f"oxford:{oxford / 'ubc'}")[:2], *open_homographies(f"oxford:{oxford / 'graf'}")[:1]]
    summary = evaluate_extractor(open_extractor("rootsift"), pairs, [1000])[1000].overall
    assert (summary.pairs, summary.keypoints) == (3, 1000)
    assert summary.repeatability == pytest.approx(0.709, abs=0.03)
    assert summary.matching_score == pytest.approx(0.596, abs=0.03)
    assert summary.mean_average_precision == pytest.approx(0.827, abs=0.03)
    assert summary.mma_at(3) == pytest.approx(0.867, abs=0.03)
    assert summary.localization_error_px == pytest.approx(0.507, abs=0.05)
    assert summary.homography[1:] == (1, 1)


def test_hfnet_matches_better_than_rootsift_on_real_images(oxford: Path) -> None:
    """The package's weights, where light and view change and the camera stays upright."""
    pairs = [pair for name in ("leuven", "wall") for pair in open_homographies(f"oxford:{oxford / name}")[:3]]
    scores = {
        name: evaluate_extractor(open_extractor(name), pairs, [1000])[1000].overall.matching_score
        for name in ("hfnet", "rootsift")
    }
    assert scores["hfnet"] > scores["rootsift"]
    assert scores["hfnet"] > 0.5


def test_settings_are_those_of_one_extractor(tmp_path: Path) -> None:
    """``--extractor-config`` changes the figures, and cannot be meant for several."""
    folder, config = write_sequence(tmp_path / "v_moved", "hpatches"), tmp_path / "few.yaml"
    config.write_text("max_keypoints: 30\n")
    command = ["evaluate", "matching", f"hpatches:{folder}", "--out", str(tmp_path), "--keypoints", "100"]
    command += ["--extractor-config", str(config), "--extractor", "rootsift"]
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    assert json.loads((tmp_path / "report.json").read_text())["matching"]["rootsift"]["100"]["keypoints"] == 30
    with pytest.raises(ConfigError, match=r"few\.yaml is for one extractor, not for rootsift, hfnet"):
        CliRunner().invoke(app, [*command, "--extractor", "hfnet"], catch_exceptions=False)


def test_the_provider_is_asked_for(tmp_path: Path) -> None:
    folder = write_sequence(tmp_path / "v_moved", "hpatches")
    command = ["evaluate", "matching", f"hpatches:{folder}", "--extractor", "rootsift", "--provider", "cuda"]
    with pytest.raises(DeviceError, match="rootsift runs on the CPU only"):
        CliRunner().invoke(app, command, catch_exceptions=False)
