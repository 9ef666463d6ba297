"""Images of a rolled camera: HF-Net localizes them upright, and the poses are those of the camera as it is."""

from pathlib import Path

import numpy as np
import pytest
from cli_helpers import Vizloc
from pixloc_helpers import small_extractor, with_references
from rolled_records import rolled_by

from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.evaluation.offline_localization import OfflineRun, evaluate_localization, localize_records
from vizloc_ros.evaluation.offline_tracking import track_records
from vizloc_ros.features.device import Device
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.geometry.quarter_turns import Roll
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.mapping.builder import build_map
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.pixloc.pose_refiner import PoseRefiner

pytestmark = pytest.mark.e2e
ROLLED = [Roll.CLOCKWISE, Roll.UPSIDE_DOWN, Roll.COUNTERCLOCKWISE]
AUTO = tuple(Roll)


@pytest.fixture(scope="module")
def queries(street: SyntheticStreet) -> list[Record]:
    return [rolled_by(record, Roll.NONE) for record in street.records("query")[3:9:2]]


def built(records: list[Record], folder: Path, dataset: str) -> VisualMap:
    build_map(records, open_extractor("hfnet", device=Device(threads=1)), folder, dataset=dataset)
    return VisualMap.open(folder, Device(threads=1))


@pytest.fixture(scope="module")
def hfnet_map(street: SyntheticStreet, tmp_path_factory: pytest.TempPathFactory) -> VisualMap:
    return built(street.records("map")[:12], tmp_path_factory.mktemp("upright") / "map", street.name)


@pytest.fixture(scope="module")
def upright(queries: list[Record], hfnet_map: VisualMap) -> OfflineRun:
    return localize_records(queries, hfnet_map, HierarchicalLocalizer(hfnet_map))


def expect_right(run: OfflineRun, records: list[Record]) -> None:
    assert run.unlocalized == {}
    for record in records:
        distance, angle = pose_error(run.estimates[record.name], record.world_from_cam)
        assert distance < 0.02
        assert angle < 0.1


@pytest.mark.parametrize("roll", ROLLED)
def test_rolled_images_localize_with_auto_and_not_without(
    queries: list[Record], hfnet_map: VisualMap, upright: OfflineRun, roll: Roll
) -> None:
    localizer, rolled = HierarchicalLocalizer(hfnet_map), [rolled_by(query, roll) for query in queries]
    without = localize_records(rolled, hfnet_map, localizer)
    assert without.estimates == {}
    run = localize_records(rolled, hfnet_map, localizer, keep_features=True, rolls=AUTO)
    expect_right(run, rolled)
    assert run.counts_by_roll == {roll.value: len(rolled)}
    for query, record in zip(queries, rolled, strict=True):
        features = run.features[record.name]
        assert features.image_size == record.camera.size
        assert (features.keypoints <= np.array(record.camera.size)).all()
        same = pose_error(run.estimates[record.name], upright.estimates[query.name] * roll.upright_from_cam)
        assert same == pytest.approx((0, 0), abs=1e-3)
    named = localize_records(rolled, hfnet_map, localizer, rolls=(roll,))
    assert named.estimates.keys() == run.estimates.keys()
    for name, pose in named.estimates.items():
        np.testing.assert_array_equal(pose.matrix(), run.estimates[name].matrix())


def test_auto_costs_nothing_for_upright_images(
    queries: list[Record], hfnet_map: VisualMap, upright: OfflineRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    extracted = []
    extract = type(hfnet_map.extractor).extract
    monkeypatch.setattr(
        type(hfnet_map.extractor),
        "extract",
        lambda self, image: (extracted.append(image.shape), extract(self, image))[1],
    )
    run = localize_records(queries, hfnet_map, HierarchicalLocalizer(hfnet_map), rolls=AUTO)
    assert len(extracted) == len(queries)
    for name, pose in upright.estimates.items():
        np.testing.assert_array_equal(run.estimates[name].matrix(), pose.matrix())


def test_the_roll_that_localized_last_is_tried_first(
    queries: list[Record], hfnet_map: VisualMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A phone that is turned while it is used."""
    extracted = []
    extract = type(hfnet_map.extractor).extract
    monkeypatch.setattr(
        type(hfnet_map.extractor),
        "extract",
        lambda self, image: (extracted.append(image.shape), extract(self, image))[1],
    )
    images = [rolled_by(queries[0], Roll.CLOCKWISE), rolled_by(queries[1], Roll.CLOCKWISE), queries[2]]
    run = localize_records(images, hfnet_map, HierarchicalLocalizer(hfnet_map), rolls=AUTO)
    expect_right(run, images)
    assert len(extracted) == 2 + 1 + 2


def test_a_map_of_sideways_images_localizes_sideways_images_as_ever_and_upright_ones_with_auto(
    street: SyntheticStreet, queries: list[Record], tmp_path: Path
) -> None:
    mapped = [rolled_by(record, Roll.COUNTERCLOCKWISE) for record in street.records("map")[:12]]
    sideways = built(mapped, tmp_path / "map", street.name)
    localizer = HierarchicalLocalizer(sideways)
    same = [rolled_by(query, Roll.COUNTERCLOCKWISE) for query in queries]
    expect_right(localize_records(same, sideways, localizer), same)
    assert localize_records(queries, sideways, localizer).estimates == {}
    run = localize_records(queries, sideways, localizer, rolls=AUTO)
    expect_right(run, queries)
    assert run.counts_by_roll == {Roll.CLOCKWISE.value: len(queries)}  # against the map


@pytest.fixture(scope="module")
def tracked_hfnet_map(
    hfnet_map: VisualMap, street: SyntheticStreet, tmp_path_factory: pytest.TempPathFactory
) -> VisualMap:
    folder = tmp_path_factory.mktemp("tracked") / "map"
    return VisualMap.open(with_references(hfnet_map.folder, street.records("map")[:12], folder), Device(threads=1))


def test_rolled_images_are_tracked_and_refined(
    street: SyntheticStreet, queries: list[Record], tracked_hfnet_map: VisualMap
) -> None:
    """The tracker's network sees upright images, too: the roll comes from the predicted pose and the keyframes."""
    localizer, extractor = HierarchicalLocalizer(tracked_hfnet_map), small_extractor()
    drive = [rolled_by(record, Roll.NONE) for record in street.records("query")[2:9]]
    ways = {}
    for roll in (Roll.NONE, Roll.CLOCKWISE):
        records = [rolled_by(record, roll) for record in drive]
        run = track_records(records, tracked_hfnet_map, localizer, extractor, rolls=AUTO)
        assert run.late == [records[0].name]  # it waits for a second localization
        assert len(run.estimates) == len(records), run.reasons
        assert run.localizations == 2
        ways[roll] = [run.estimates[record.name] for record in records[1:]]
        refiner = PoseRefiner(tracked_hfnet_map, extractor)
        refined = refiner.refine(records[3].read_image(), records[3].camera, records[3].world_from_cam)
        assert refined.reason == ""
        assert pose_error(refined.map_from_cam, records[3].world_from_cam)[0] < 0.1
    for upright, sideways in zip(ways[Roll.NONE], ways[Roll.CLOCKWISE], strict=True):
        assert pose_error(sideways, upright * Roll.CLOCKWISE.upright_from_cam) == pytest.approx((0, 0), abs=2e-3)


def test_the_report_says_which_rolls_localized(queries: list[Record], hfnet_map: VisualMap, tmp_path: Path) -> None:
    mixed = [rolled_by(queries[0], Roll.UPSIDE_DOWN), queries[1], queries[2]]
    report = evaluate_localization(hfnet_map, mixed, tmp_path / "auto", rolls=AUTO)
    assert report["rolls"] == {"none": 2, "upside_down": 1}
    assert report["num_failed"] == 0
    assert (tmp_path / "auto" / "overlay.png").is_file()
    assert "rolls" not in evaluate_localization(hfnet_map, queries[:1], tmp_path / "plain")


def test_the_command_knows_the_rolls(
    vizloc: Vizloc, hfnet_map: VisualMap, street: SyntheticStreet, tmp_path: Path
) -> None:
    arguments = ("localize", hfnet_map.folder, street.name, "--every", "8", "--out", tmp_path / "out")
    ended = vizloc(*arguments, "--roll", "auto")
    assert ended.code == 0, ended.err
    assert "rolls" in ended.out
    refused = vizloc(*arguments, "--roll", "90")
    assert refused.code == 2
    assert "roll 90: there is no such roll; there is auto, none, clockwise" in " ".join(refused.err.split())
