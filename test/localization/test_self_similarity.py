"""Places of a map that look alike: a bend with the same points twice, and one without."""

import shutil
from pathlib import Path

import pytest
from cli_helpers import Vizloc

from vizloc_ros.localization.self_similarity import add_self_similarity, self_similarity
from vizloc_ros.mapping.prune import choose_part, pruned_report
from vizloc_ros.mapping.self_similarity_report import BUILD_KEY
from vizloc_ros.mapping.visual_map import VisualMap


def test_a_repeated_stretch_is_found_from_both_sides(repeated_map: VisualMap, tmp_path: Path, vizloc: Vizloc) -> None:
    folder = tmp_path / "map"
    shutil.copytree(repeated_map.folder, folder)
    checked = vizloc("map", "check", folder)  # not stored yet, so it is computed
    found = add_self_similarity(folder)
    assert found.compared == 42
    assert len(found.stretches) == 2
    first, second = sorted(found.stretches, key=lambda stretch: stretch.start)
    assert first.start == 0
    assert 4 <= first.end <= 24
    assert 48 <= second.start <= 64
    name, like = (float(each.removeprefix("street/").removesuffix(".png")) for each in (first.first, first.like_first))
    assert like - name == pytest.approx(60, abs=2)
    for out in (checked.out, vizloc("map", "info", folder).out):
        assert found.text in out
        assert str(first) in out
    assert BUILD_KEY not in pruned_report(choose_part(VisualMap.open(folder), 0.5), 0.5)


def test_a_street_whose_places_differ_has_no_warning(point_map: VisualMap) -> None:
    found = self_similarity(point_map)
    assert (found.alike, found.stretches, found.warnings()) == (0, [], [])
    assert found.compared == point_map.info.keyframes
