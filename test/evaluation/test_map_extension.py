"""Extension of a map by another session: of known poses, or localized in the map."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli_helpers import Vizloc
from pixloc_helpers import small_extractor
from posed_folder import write_posed_folder
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import MapError
from vizloc_ros.evaluation.map_comparison import recall_of_maps
from vizloc_ros.evaluation.map_extension import PosedSession, extend_map, posed_in_map
from vizloc_ros.geometry.poses import pose_error, pose_of
from vizloc_ros.mapping.check import map_problems
from vizloc_ros.mapping.visual_map import VisualMap

pytestmark = pytest.mark.e2e


def test_two_appearances_of_a_street_are_one_map(
    tracked_map: VisualMap, street: SyntheticStreet, tmp_path: Path
) -> None:
    """Images of the evening are added to the map of the morning, with which others of the evening are localized."""
    evening = street.records("query")
    added, queries = evening[::5], evening[2::20]
    session = posed_in_map(tracked_map, added)
    assert (session.records, session.localized, session.left_out) == (added, 0, [])
    _, report = extend_map(tracked_map, session, tmp_path / "map", dataset="evening:", tracker=small_extractor())
    assert (report.keyframes, report.new_places, report.no_references) == (len(added), 0, "")
    assert report.linked >= len(added) - 1
    assert map_problems(tmp_path / "map") == []
    assert [path.name for path in tmp_path.iterdir()] == ["map"]
    both = VisualMap.open(tmp_path / "map")
    count = tracked_map.info.keyframes
    assert both.info.extractor == tracked_map.info.extractor
    assert both.info.pixloc is not None
    assert both.info.pixloc.observations == both.info.observations_digest
    both.require_references(tracked_map.info.pixloc.model_id)
    assert [(s.dataset, s.keyframes) for s in both.info.sessions] == [(street.name, count), ("evening:", len(added))]
    before, after = recall_of_maps([tracked_map, both], queries)
    assert after.recall["0.25m_2deg"] >= before.recall["0.25m_2deg"]
    assert after.num_poses == len(queries)


def test_images_without_poses_are_localized_and_others_left_out(
    street_map: VisualMap, street: SyntheticStreet, tmp_path: Path, vizloc: Vizloc
) -> None:
    """Their poses are of another world, so they are ignored, and two images are of nothing."""
    evening = street.records("query")[::5]
    away = Rigid3d(Rotation3d(np.array([0.0, 0.0, 1.0])), np.array([90.0, 0.0, 0.0]))
    moved = [replace(r, split="map", world_from_cam=away * r.world_from_cam) for r in evening]
    gray = np.full((250, 400), 99, np.uint8)
    last = moved[-1]
    blank = [
        replace(last, name=f"blank{i}", timestamp_ns=last.timestamp_ns + i * 10**8, read_image=lambda: gray)
        for i in (1, 2)
    ]
    (tmp_path / "session").mkdir()
    write_posed_folder(tmp_path / "session", [*moved, *blank])
    dataset, out = f"folder:{tmp_path / 'session'}", tmp_path / "map"
    ended = vizloc("map", "extend", street_map.folder, dataset, "--out", out, "--localize")
    assert ended.code == 0, ended.err
    assert (
        f"{len(evening)} of {len(evening) + 2} images were localized; 2 were not, and are left out: blank" in ended.out
    )
    both = VisualMap.open(out)
    truth = {f"{r.name}.png": r.world_from_cam for r in evening}
    for index in range(street_map.info.keyframes, both.info.keyframes):
        pose = truth[both.keyframe_names[index]]
        assert pose is not None
        assert pose_error(pose_of(both.keyframe_poses[index]), pose)[0] < 0.1
    with pytest.raises(MapError, match="none of its 1 images was localized in"):
        extend_map(street_map, PosedSession([], 0, ["blank"]), tmp_path / "none", dataset=dataset)
    assert not (tmp_path / "none").exists()
