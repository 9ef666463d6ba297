"""Places in different months: what is read, and figures that were worked out by hand."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from cli_helpers import Vizloc

from vizloc_ros.datasets.displacements import SeasonImage, open_displacements
from vizloc_ros.errors import DatasetError
from vizloc_ros.evaluation.season_matching import evaluate_seasons
from vizloc_ros.features.types import Features

HEADER = "image,place,month,displacement_px\n"


class Scripted:
    """Extractor whose features are written down for every image; the gray value of an image is its number."""

    name = "scripted"

    def __init__(self, features: list[Features]) -> None:
        self.features, self.learned = features, 0

    def extract(self, image: np.ndarray) -> Features:
        return self.features[int(image[0, 0])]

    def learn(self, features: list[Features], seed: int) -> "Scripted":
        self.learned = len(features)
        return self

    def describe(self, features: Features) -> Features:
        return features


def features(columns: list[float], place: list[float]) -> Features:
    """Keypoints in these columns, each with a descriptor of its own that all images share."""
    points = np.array([[column, 10.0] for column in columns], np.float32)
    descriptors = (127 * np.eye(8)[: len(columns)]).astype(np.int8)
    vector = np.array(place, np.float32)
    return Features(points, np.ones(len(columns), np.float32), descriptors, vector / np.linalg.norm(vector), (400, 20))


def images(folder: Path, rows: list[tuple[str, int, float]]) -> list[SeasonImage]:
    found = []
    for i, (place, month, displacement) in enumerate(rows):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((20, 400), i, np.uint8))
        found.append(SeasonImage(folder / f"{i}.png", place, month, displacement))
    return found


def test_figures_are_those_worked_out_by_hand(tmp_path: Path) -> None:
    """Place A moves by 50 px: two matches of four are right; place B moves by 0: none of two, and 100 px off."""
    seasons = images(tmp_path, [("A", 1, 10), ("A", 7, 60), ("B", 1, 0), ("B", 7, 0)])
    extractor = Scripted(
        [
            features([10, 20, 30, 40], [1, 0]),
            features([61, 88, 190, 20], [0.9, 0.1]),
            features([10, 20], [0, 1]),
            features([110, 120], [1, 0.2]),  # looks like place A
        ]
    )
    found = evaluate_seasons(extractor, seasons)
    assert found.pairs == 2
    assert found.matches == 3
    assert found.right_matches == pytest.approx((2 / 4 + 0 / 2) / 2)
    assert found.right_per_pair == 1
    assert found.displacement_found == 0.5
    assert found.r1 == pytest.approx(3 / 4)  # B7 finds A1
    assert extractor.learned == 4  # months 1 and 7


def test_one_month_or_one_place_is_refused(tmp_path: Path) -> None:
    extractor = Scripted([features([1], [1, 0])] * 2)
    for rows in ([("A", 1, 0.0), ("B", 1, 0.0)], [("A", 1, 0.0), ("A", 2, 0.0)]):
        with pytest.raises(DatasetError, match="at least two months and two places"):
            evaluate_seasons(extractor, images(tmp_path, rows))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "cannot be read"),
        ("image,place\na.png,1\n", "needs the columns"),
        (HEADER, "needs the columns"),
        (HEADER + "b.png,1,1,0\n", "displacements.csv:2: the image .*b.png is not there"),
        (HEADER + "a.png,1,x,0\n", "displacements.csv:2"),
        (HEADER + "a.png,1,1,0\n", "no place has two images"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said(tmp_path: Path, text: str | None, reason: str) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((4, 4), np.uint8))
    if text is not None:
        (tmp_path / "displacements.csv").write_text(text)
    with pytest.raises(DatasetError, match=reason):
        open_displacements(f"months:{tmp_path}")


@pytest.mark.e2e
def test_the_command_reports_seasons(vizloc: Vizloc, tmp_path: Path) -> None:
    rng, rows = np.random.default_rng(0), []
    for place in "AB":
        scene = cv2.resize(rng.integers(0, 256, (40, 90), dtype=np.uint8), (720, 320), interpolation=cv2.INTER_CUBIC)
        for month, shift in ((1, 0), (2, 30), (3, -20)):
            cv2.imwrite(str(tmp_path / f"{place}{month}.png"), scene[:, 100 - shift : 500 - shift])
            rows.append(f"{place}{month}.png,{place},{month},{shift}\n")
    (tmp_path / "displacements.csv").write_text(HEADER + "".join(rows))
    out = tmp_path / "out"
    ended = vizloc("evaluate", "matching", "--extractor", "rootsift", f"months:{tmp_path}", "--out", out)
    assert ended.code == 0
    assert "R@1" in ended.out
    found = json.loads((out / "report.json").read_text())["seasons"]["rootsift"]
    assert found["displacement_found"] == 1
    assert found["right_matches"] > 0.9
    assert found["r1"] == 1
