"""Replay of a bag through the node processes: the poses of the offline command, and a report with every key."""

import json
import shutil

import pytest
from cli_helpers import Vizloc
from repository import REPOSITORY

from vizloc_ros.bags.bag_camera import open_camera
from vizloc_ros.bags.writer import write_bag
from vizloc_ros.datasets.record import every
from vizloc_ros.evaluation.image_results import IMAGES_FILE, ImageResults
from vizloc_ros.evaluation.offline_localization import localize_records
from vizloc_ros.features.device import Device
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.mapping.builder import build_map
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.pixloc.extractors.pyramid_extractor import open_pyramid_extractor
from vizloc_ros.pixloc.reference_builder import add_references
from vizloc_ros.readers import open_dataset
from vizloc_ros.replay.bag_replay import replay_bag

pytestmark = pytest.mark.ros


def test_real_queries_through_the_nodes_are_those_of_the_offline_command(kitti00, tmp_path) -> None:
    dataset = open_dataset(f"folder:{kitti00}")
    mapped = every(dataset.records("map"), 8)[1:14]
    build_map(mapped, open_extractor("rootsift"), tmp_path / "map", dataset=dataset.name)
    visual_map = VisualMap.open(tmp_path / "map")
    queries = every(dataset.records("query"), 8)[:8]
    offline = localize_records(queries, visual_map, HierarchicalLocalizer(visual_map)).estimates
    assert len(offline) >= 5
    write_bag(queries, tmp_path / "bag")
    replay = replay_bag(open_camera(tmp_path / "bag"), tmp_path / "map", rate=0.5, tracking=False, log=tmp_path / "log")
    assert replay.num_images == len(queries)
    assert replay.dropped == 0
    names = {record.timestamp_ns: record.name for record in queries}
    through_nodes = {names[stamp]: pose for stamp, pose in replay.poses.items()}
    first = set(sorted(offline)[:2])  # the node's first poses wait until an image has confirmed the calibration
    assert offline.keys() - first <= through_nodes.keys() <= offline.keys()
    for name in through_nodes:
        translation, rotation = pose_error(through_nodes[name], offline[name])
        assert translation < 1e-3
        assert rotation < 0.01


def test_the_trackers_network_of_a_replay_can_be_chosen(vizloc: Vizloc, street, street_build, tmp_path) -> None:
    """A map with references of smaller images is refused by default, and tracked with the same image size."""
    records, folder = street.records("query")[2:12], tmp_path / "map"
    write_bag(records, tmp_path / "bag")
    shutil.copytree(street_build[0], folder)
    add_references(folder, street.records("map"), open_pyramid_extractor(device=Device(threads=1), long_side=320))
    options = ("--out", tmp_path / "out", "--rate", 0.2, "--long-side", 320)
    ended = vizloc("replay", tmp_path / "bag", folder, *options)
    assert ended.code == 0, ended.err
    assert "vizloc map add-pixloc" not in ended.out
    assert f"rviz2 -d {REPOSITORY / 'config' / 'vizloc.rviz'}" in ended.out.splitlines()[-1]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["num_poses"] >= len(records) // 2
    assert "align" in report["timings_ms"]
    localizer = report["localizer"]
    assert 1 <= localizer["num_poses"] <= localizer["num_images"] <= len(records)
    assert localizer["recall"]["5m_10deg"] == localizer["num_poses"] / localizer["num_images"]
    results = ImageResults.read(tmp_path / "out" / IMAGES_FILE)
    assert results.source["bag"] == str(tmp_path / "bag")
    assert [image.state for image in results.images].count("TRACKING") >= report["num_poses"] - 1
    refused = vizloc("replay", tmp_path / "bag", folder, "--out", tmp_path / "refused")
    assert refused.code == 1
    assert "vizloc map add-pixloc" in refused.err
