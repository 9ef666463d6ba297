"""Share of the route that can be localized, the stretches that cannot, and the keyframes that see nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import Vizloc
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.mapping.builder import build_map
from vizloc_ros.mapping.route_coverage import coverage_of_map, route_coverage
from vizloc_ros.mapping.visual_map import VisualMap

SEEN = np.arange(40, dtype=np.int32)
NOTHING = SEEN[:0]


def row(landmarks: list[np.ndarray], step: float = 2.0, folder: str = "") -> tuple:
    """Arguments for keyframes in a row along x."""
    names = [f"{folder}{i}.png" for i in range(len(landmarks))]
    centers = np.array([[step * i, 0.0, 0.0] for i in range(len(landmarks))])
    return names, centers, np.arange(len(landmarks)), [0] * len(landmarks), landmarks


def test_a_step_needs_landmarks_at_both_ends_and_in_common() -> None:
    """Steps of 2 m. The third and fourth end at a keyframe that sees nothing, the sixth leads to other landmarks."""
    other = SEEN + 35  # has five in common
    coverage = route_coverage(*row([SEEN, SEEN, SEEN, NOTHING, SEEN, SEEN, other, other]))
    assert coverage.length == pytest.approx(14)
    assert coverage.localizable == pytest.approx(8)
    assert list(map(str, coverage.stretches)) == ["4.0 to 8.0 m (2.png to 4.png)", "10.0 to 12.0 m (5.png to 6.png)"]
    empty, poor = coverage.warnings()
    assert "1 of 8 keyframes see no landmark: 3.png" in empty
    assert "57 % of the route of 14 m can be localized; not 4.0 to 8.0 m (2.png to 4.png), 10.0" in poor


def test_a_keyframe_with_few_landmarks_counts_as_none() -> None:
    assert route_coverage(*row([SEEN, SEEN[:29], SEEN])).share == 0
    assert route_coverage(*row([SEEN, SEEN[:30], SEEN])).share == 1


def test_a_whole_route_gives_no_warning_in_whatever_order_it_is_stored() -> None:
    names, centers, stamps, cameras, landmarks = row([SEEN] * 10)
    order = np.random.default_rng(0).permutation(10)
    shuffled = ([names[k] for k in order], centers[order], stamps[order], cameras, landmarks)
    assert route_coverage(*shuffled).warnings() == []
    assert route_coverage(*shuffled).length == pytest.approx(18)


def test_the_way_to_another_drive_or_camera_is_no_route() -> None:
    a, b = row([SEEN] * 6, folder="a/"), row([SEEN + 100] * 6, folder="b/")
    far = b[1] + [0, 900, 0]
    drives = (a[0] + b[0], np.concatenate([a[1], far]), np.arange(12), a[3] + b[3], a[4] + b[4])
    assert (route_coverage(*drives).length, route_coverage(*drives).share) == (pytest.approx(20), 1)
    one_folder = ([name.replace("/", "-") for name in drives[0]], *drives[1:])
    assert (route_coverage(*one_folder).length, route_coverage(*one_folder).share) == (pytest.approx(20), 1)


def test_pictures_in_no_order_need_nothing_in_common_with_the_next() -> None:
    """Two rows of pictures that look in opposite directions, in turn from either end."""
    there, back = row([SEEN] * 20, step=0.1), row([SEEN + 100] * 20, step=0.1)
    centers = np.stack([there[1], back[1] + [9, 1, 0]], axis=1).reshape(-1, 3)
    names, landmarks = [f"{i}.png" for i in range(40)], [SEEN, SEEN + 100] * 20
    assert route_coverage(names, centers, np.arange(40), [0] * 40, landmarks).share == 1


def test_keyframes_at_one_place_are_localizable_or_not() -> None:
    assert route_coverage(*row([SEEN, SEEN], step=0)).share == 1
    assert route_coverage(*row([NOTHING, NOTHING], step=0)).share == 0


def test_build_and_check_name_the_stretch_that_a_covered_lens_leaves(
    street: SyntheticStreet, tmp_path: Path, vizloc: Vizloc
) -> None:
    records = street.records("map")[2:11]
    size = records[0].camera.size
    blind = [replace(r, read_image=lambda: np.full(size[::-1], 90, np.uint8)) for r in records[4:6]]
    moved = Rigid3d(Rotation3d(), np.array([5e5, 4e6, 0.0]))  # a world far away: names and lengths are the same
    posed = [replace(r, world_from_cam=moved * r.world_from_cam) for r in [*records[:4], *blind, *records[6:]]]
    extractor = open_extractor("rootsift", {"max_keypoints": 600})
    report = build_map(posed, extractor, tmp_path / "map", dataset="street")
    assert report.localizable_share == pytest.approx(5 / 8, abs=0.05)
    assert any(f"2 of 9 keyframes see no landmark: {blind[0].name}, {blind[1].name}" in w for w in report.warnings)
    shown = vizloc("map", "check", tmp_path / "map")
    assert shown.code == 0
    assert f"{records[3].name} to {records[6].name}" in shown.out
    assert f"{100 * report.localizable_share:.0f} % of the route" in shown.out
    assert shown.out.count("see no landmark") == 1
    coverage = coverage_of_map(VisualMap.open(tmp_path / "map"))
    assert coverage.share == pytest.approx(report.localizable_share)
    assert coverage.length == pytest.approx(report.route_m)
