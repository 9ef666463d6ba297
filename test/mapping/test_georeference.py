"""Maps around an origin of their own, with the poses of all outputs in the coordinates of the dataset."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from moved_records import UTM_ORIGIN, moved
from pixloc_helpers import small_extractor, with_references
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import ConfigError, MapError
from vizloc_ros.evaluation.image_results import ImageResults
from vizloc_ros.evaluation.offline_localization import evaluate_localization
from vizloc_ros.evaluation.offline_tracking import evaluate_tracking
from vizloc_ros.evaluation.recall import ground_truth
from vizloc_ros.evaluation.trajectories import read_visuallocalization
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.mapping.builder import build_map
from vizloc_ros.mapping.georeference import Georeference, Utm, Wgs84, parse_datum
from vizloc_ros.mapping.map_format import read_info, write_info
from vizloc_ros.mapping.visual_map import VisualMap


@pytest.fixture(scope="module")
def queries(street: SyntheticStreet) -> list[Record]:
    return street.records("query")[3:7:3]


@pytest.fixture(scope="module")
def maps(street: SyntheticStreet, tmp_path_factory: pytest.TempPathFactory) -> tuple[VisualMap, VisualMap]:
    """Maps of some meters of the street, at the origin and in UTM coordinates, with references for the tracker."""
    folder, datum = tmp_path_factory.mktemp("georeference"), Utm(zone=32, hemisphere="N")
    records = street.records("map")[2:10]
    for name, mapped in (("near", records), ("utm", moved(records, UTM_ORIGIN))):
        extractor, placed = open_extractor("rootsift"), None if name == "near" else datum
        build_map(mapped, extractor, folder / f"{name}0", dataset=street.name, datum=placed)
        with_references(folder / f"{name}0", mapped, folder / name)
    return VisualMap.open(folder / "near"), VisualMap.open(folder / "utm")


@pytest.fixture(scope="module")
def utm_map(maps: tuple[VisualMap, VisualMap]) -> VisualMap:
    return maps[1]


def test_a_map_in_utm_is_the_map_at_the_origin(maps: tuple[VisualMap, VisualMap]) -> None:
    near_map, utm_map = maps
    info = utm_map.info
    assert info.place.world_from_map == (456_000, 5_428_000, 0, 0, 0, 0, 1)
    assert info.place.datum == Utm(zone=32, hemisphere="N", easting=456_000, northing=5_428_000)
    assert near_map.info.georeference is None
    assert info.build["warnings"] == near_map.info.build["warnings"]
    # Coordinates in UTM are doubles that are a nanometer apart.
    assert utm_map.keyframe_poses == pytest.approx(near_map.keyframe_poses, abs=2e-9)
    assert info.landmarks == near_map.info.landmarks
    assert np.abs(utm_map.landmark_positions - near_map.landmark_positions).max() < 1e-4
    assert (utm_map.observation_pixels == near_map.observation_pixels).all()


def test_localizer_and_tracker_are_as_exact_in_utm_and_write_poses_in_utm(
    maps: tuple[VisualMap, VisualMap], queries: list[Record], tmp_path: Path
) -> None:
    near_map, utm_map = maps
    near, far = tmp_path / "near", tmp_path / "far"
    in_utm, extractor = moved(queries, UTM_ORIGIN), small_extractor()

    def track(visual_map: VisualMap, records: list[Record], out: Path) -> dict[str, Any]:
        return evaluate_tracking(visual_map, records, out, extractor, localizer_alone=False)

    def localize(visual_map: VisualMap, records: list[Record], out: Path) -> dict[str, Any]:
        return evaluate_localization(visual_map, records, out, refine_with=extractor)

    for waiting, evaluate in ((0, localize), (1, track)):  # the first pose waits for a second localization
        at_origin, in_utm_report = evaluate(near_map, queries, near), evaluate(utm_map, in_utm, far)
        assert at_origin.get("retrieval") == in_utm_report.get("retrieval")
        assert at_origin["num_poses"] == in_utm_report["num_poses"] == len(queries) - waiting
        assert in_utm_report["median_translation_m"] == pytest.approx(at_origin["median_translation_m"], abs=1e-3)
        assert in_utm_report["median_rotation_deg"] == pytest.approx(at_origin["median_rotation_deg"], abs=1e-3)
        written, truth = read_visuallocalization(far / "poses_visuallocalization.txt"), ground_truth(in_utm)
        assert max(pose_error(pose, truth[name])[0] for name, pose in written.items()) < 0.3
        tum = np.loadtxt(far / "poses_tum.txt", ndmin=2)[:, 1:4]
        assert tum == pytest.approx(np.array([pose.translation for pose in written.values()]), abs=1e-6)
        for image in ImageResults.read(far / "images.npz").images[waiting:]:  # for viewers, in the map
            assert image.truth is not None
            assert image.estimate is not None
            assert pose_error(image.estimate, image.truth)[0] < 0.3
            assert np.abs(image.truth.translation).max() < 100


@pytest.mark.parametrize(
    ("positions", "origin"),
    [
        ([[9_999.0, 0, 0], [-9_999.0, 5, 5]], None),
        ([[10_001.0, 0, 0], [-10_001.0, 5, 5]], None),  # far on both sides: nothing to gain
        ([[11_000.0, 200, 90], [12_000.0, 400, 110]], [12_000, 0, 0]),  # halves are rounded to even thousands
        ([[620_100.0, 5_735_600, 1_650], [620_300.0, 5_735_400, 1_550]], [620_000, 5_736_000, 2_000]),
    ],
)
def test_the_origin_by_hand(positions: list[list[float]], origin: list[float] | None) -> None:
    found = Georeference.around(np.array(positions))
    assert (None if found is None else list(found.world_from_map[:3])) == origin


def _write_yaml(folder: Path, content: dict[str, object]) -> None:
    text = yaml.safe_dump(content, sort_keys=False)
    (folder / "map.yaml").write_text(f"{text}checksum: {hashlib.sha256(text.encode()).hexdigest()}\n")


def test_map_yaml_keeps_every_digit_and_old_maps_have_none(utm_map: VisualMap, tmp_path: Path) -> None:
    exact = Georeference(
        world_from_map=(456_000.123456789, 5_428_000.000000001, -0.1, 0.6, 0.0, 0.0, 0.8),
        datum=Wgs84(latitude=49.0123456789012, longitude=8.1, altitude=115.5, enu_from_frame=(0.0, 0.0, 0.6, 0.8)),
    )
    write_info(tmp_path, utm_map.info.model_copy(update={"georeference": exact}))
    assert read_info(tmp_path).georeference == exact
    write_info(tmp_path, utm_map.info.model_copy(update={"georeference": None}))
    assert "georeference: null" in (tmp_path / "map.yaml").read_text()
    assert not read_info(tmp_path).place.is_moved
    without = {key: value for key, value in utm_map.info.model_dump(mode="json").items() if key != "georeference"}
    _write_yaml(tmp_path, without)
    assert read_info(tmp_path).georeference is None
    _write_yaml(tmp_path, {**without, "georeference": {"world_from_map": [1.0, 2.0]}})
    with pytest.raises(MapError, match=r"map.yaml.*georeference"):
        read_info(tmp_path)


def test_a_moved_datum_by_hand() -> None:
    turned = Utm(zone=32, hemisphere="N", easting=400_000, northing=5e6, grid_from_frame=(0, 0, 0.5**0.5, 0.5**0.5))
    ahead = turned.moved(Rigid3d(Rotation3d(), [10.0, 0, 2]))  # ahead is the grid's north
    assert (ahead.easting, ahead.northing, ahead.altitude) == pytest.approx((400_000, 5_000_010, 2))
    # 1 degree of the equator to the east: axes turn with the earth.
    radius = 6_378_137.0
    one = np.radians(1)
    step = Rigid3d(Rotation3d(np.array([0.0, one, 0])), [radius * np.sin(one), 0, radius * (np.cos(one) - 1)])
    there = Wgs84(latitude=0, longitude=10, altitude=0).moved(step)
    assert (there.latitude, there.longitude, there.altitude) == pytest.approx((0, 11, 0), abs=1e-8)
    assert there.enu_from_frame == pytest.approx((0, 0, 0, 1), abs=1e-12)


@pytest.mark.parametrize("text", ["32X", "61N", "49.0,8.4", "91,0,0", "49,8,inf", "here"])
def test_a_datum_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match=rf"--datum {text}: "):
        parse_datum(text)


def test_texts_of_a_datum() -> None:
    assert parse_datum("") is None
    assert parse_datum("utm:33s") == Utm(zone=33, hemisphere="S")
    assert parse_datum("49.0,8.4,115") == Wgs84(latitude=49.0, longitude=8.4, altitude=115)
