"""Maps aligned with known positions, by transforms that are known."""

import shutil
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from cli_helpers import Vizloc
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.bags.bag_messages import fix_message, header
from vizloc_ros.bags.gnss_fixes import only_fix_topic, read_fixes
from vizloc_ros.bags.opened import TYPES
from vizloc_ros.datasets.record import GnssFix
from vizloc_ros.errors import BagError, DatasetError, MapError
from vizloc_ros.geometry.geodesy import earth_from_enu, geodetic_from_ecef
from vizloc_ros.geometry.poses import pose_error, pose_of
from vizloc_ros.mapping.check import map_problems
from vizloc_ros.mapping.map_alignment import KnownPositions, align_positions, positions_of_keyframes, read_positions
from vizloc_ros.mapping.map_writer import add_to_map
from vizloc_ros.mapping.visual_map import VisualMap

KNOWN = Rigid3d(Rotation3d(np.array([0.1, -0.2, 2.0])), np.array([456_000.0, 5_428_000.0, 120.0]))
EARTH = earth_from_enu(49.0, 8.4, 115.0) * Rigid3d(Rotation3d(np.array([0, 0, 0.5])), np.zeros(3))


@pytest.fixture
def own_map(point_map: VisualMap, tmp_path: Path) -> VisualMap:
    """A copy of the map of points, with a route that is bent: about a straight one, a map may turn."""
    shutil.copytree(point_map.folder, tmp_path / "map")
    poses = np.array(point_map.keyframe_poses)
    poses[:, :3] += _route(len(poses))
    add_to_map(tmp_path / "map", ["keyframe_poses.npy"], lambda folder: np.save(folder / "keyframe_poses.npy", poses))
    return VisualMap.open(tmp_path / "map")


def _route(count: int) -> np.ndarray:
    s = np.linspace(0, 4, count)[:, None]
    return np.concatenate([30 * np.cos(s), 40 * np.sin(s), 2 * np.sin(3 * s)], axis=1)


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_a_known_transform_with_outliers(scale: float) -> None:
    rng, points = np.random.default_rng(0), _route(60)
    targets = scale * points @ KNOWN.rotation.matrix().T + KNOWN.translation + rng.normal(0, 0.02, (60, 3))
    targets[::3] += rng.uniform(10, 40, (20, 3))
    found = align_positions(points, targets, "gnss.txt", max_error=0.5, similarity=scale != 1)
    assert found.agreeing.sum() == 40
    assert not found.agreeing[::3].any()
    assert found.scale == pytest.approx(scale, rel=1e-3)
    distance, angle = pose_error(found.target_from_map, KNOWN)
    assert distance < 0.03
    assert angle < 0.05
    assert found.rotation_std_deg < 0.02
    assert np.median(found.residuals[found.agreeing]) == pytest.approx(0.03, abs=0.01)


def test_alignments_that_say_nothing_are_refused() -> None:
    rng, points = np.random.default_rng(0), _route(30)
    with pytest.raises(MapError, match=r"gnss.txt: \d+ of 30 positions agree.*within 1 m.*--similarity"):
        align_positions(points, rng.uniform(-50, 50, (30, 3)), "gnss.txt", max_error=1.0)
    straight = np.linspace(0, 100, 30)[:, None] * [1.0, 0, 0]
    with pytest.raises(MapError, match="almost on a line"):
        align_positions(straight, straight, "gnss.txt", max_error=1.0)
    curved = straight + 0.05 * np.sin(straight[:, :1]) * [0, 1, 0]
    with pytest.raises(MapError, match="almost on a line, about which the map may turn by 180 deg"):
        align_positions(curved, curved + rng.normal(0, 0.5, (30, 3)), "gnss.txt", max_error=5.0)


def test_positions_between_times_by_hand(point_map: VisualMap) -> None:
    first, last = (int(f(point_map.keyframe_stamps)) for f in (np.min, np.max))
    third = int(point_map.keyframe_stamps[2])
    known = KnownPositions.by_time("a", {last: [10, 0, 0], first: [0, 0, 4]})
    keyframes, found = positions_of_keyframes(point_map, known, max_gap=1e6)
    assert len(keyframes) == point_map.info.keyframes
    ratio = (third - first) / (last - first)
    assert found[keyframes == 2] == pytest.approx(np.array([[10 * ratio, 0, 4 - 4 * ratio]]))
    with pytest.raises(MapError, match=r"a: 2 of the 12 keyframes.*is the longest gap"):
        positions_of_keyframes(point_map, known, max_gap=(last - first) / 1e9 / 2)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has no positions"),
        ("{name} 1 2\n", "txt:1: 3 fields"),
        ("{name} 1 2 x\n", "txt:1: the position is 'x'"),
        ("{name} 1 2 3\nother 1 2 3\n", "txt:2: other is no keyframe"),
        ("other,1,2,3\n", "txt:1: a time, or a name of no keyframe, is 'other'"),
    ],
)
def test_files_of_positions_that_are_wrong(point_map: VisualMap, tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "positions.txt"
    file.write_text(text.replace("{name}", point_map.keyframe_names[0]))
    with pytest.raises(DatasetError, match=problem):
        read_positions(file, point_map.keyframe_names)


def test_align_to_a_file_and_scale_the_map(own_map: VisualMap, vizloc: Vizloc, tmp_path: Path) -> None:
    """The map is half as large as the world, about which a file by names tells the truth, but for one line."""
    points, names = np.array(own_map.keyframe_poses[:, :3]), own_map.keyframe_names
    targets = 2 * points @ KNOWN.rotation.matrix().T + KNOWN.translation
    targets[3] += 50
    lines = [f"{name}, {x!r}, {y!r}, {z!r}" for name, (x, y, z) in zip(names, targets.tolist(), strict=True)]
    (tmp_path / "to.csv").write_text("# name, x, y, z\n" + "\n".join(lines) + "\n")
    ended = vizloc(
        "map",
        "align",
        own_map.folder,
        "--to",
        tmp_path / "to.csv",
        "--similarity",
        "--max-error",
        0.1,
        "--datum",
        "32N",
    )
    assert ended.code == 0, ended.err
    assert "11 of 12" in ended.out
    aligned = VisualMap.open(own_map.folder)
    assert all("observation_pixels.npy" in problem for problem in map_problems(own_map.folder)), (
        "poses were moved alone"
    )
    world_from_map = pose_of(np.array(aligned.info.place.world_from_map))
    distance, angle = pose_error(world_from_map, KNOWN)
    assert distance < 1e-3
    assert angle < 1e-3
    datum = aligned.info.place.datum
    assert datum is not None
    assert datum.system == "UTM"
    assert (datum.easting, datum.northing, datum.altitude) == pytest.approx(tuple(KNOWN.translation), abs=1e-3)
    assert aligned.keyframe_poses[:, :3] == pytest.approx(2 * points, abs=1e-6)
    assert aligned.keyframe_poses[:, 3:] == pytest.approx(own_map.keyframe_poses[:, 3:])
    assert aligned.landmark_positions == pytest.approx(2 * own_map.landmark_positions, rel=1e-6)
    model = pycolmap.Reconstruction(str(own_map.folder / "sfm"))
    center = model.image(4).cam_from_world().inverse().translation
    assert center == pytest.approx(2 * (points - _route(12))[3], abs=1e-6)
    assert model.points3D[1].xyz == pytest.approx(aligned.landmark_positions[0], rel=1e-4)


def test_align_with_fixes_of_a_bag(own_map: VisualMap, vizloc: Vizloc, tmp_path: Path) -> None:
    from rosbags.rosbag2 import StoragePlugin, Writer

    bag = tmp_path / "bag"
    stamps = np.asarray(own_map.keyframe_stamps).tolist()
    with Writer(bag, version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:
        type_name = "sensor_msgs/msg/NavSatFix"
        connection = writer.add_connection("/gnss/fix", type_name, typestore=TYPES)
        for stamp, pose in zip(stamps, own_map.keyframe_poses, strict=True):
            place = geodetic_from_ecef(EARTH * pose_of(pose).translation)
            message = fix_message(GnssFix(stamp, *place), header(stamp, "gnss"))
            writer.write(connection, stamp, TYPES.serialize_cdr(message, type_name))
    assert len(read_fixes(bag, only_fix_topic(bag))) == 12
    with pytest.raises(BagError, match=r"no fixes on /fix; topics of NavSatFix: /gnss/fix"):
        only_fix_topic(bag, "/fix")
    ended = vizloc("map", "align", own_map.folder, "--gnss", f"bag:{bag}", "--max-error", 0.5)
    assert ended.code == 0, ended.err
    place = VisualMap.open(own_map.folder).info.place
    assert not place.is_moved
    assert place.datum is not None
    distance, angle = pose_error(place.datum.earth_from_frame, EARTH)
    assert distance < 1e-3
    assert angle < 1e-3
    assert (place.datum.latitude, place.datum.longitude) == pytest.approx((49.0, 8.4), abs=1e-8)
    assert "49.0000000, 8.4000000 deg" in vizloc("map", "info", own_map.folder).out


def test_usage_of_align(own_map: VisualMap, vizloc: Vizloc, tmp_path: Path) -> None:
    file = tmp_path / "meters.txt"
    file.write_text(f"{own_map.keyframe_names[0]} 456000 5428000 1\n")
    for arguments, code, problem in (
        ((), 2, "either --gnss or --to"),
        (("--gnss", file, "--datum", "32N"), 2, "--datum 32N: is for --to"),
        (("--gnss", file), 1, "is no latitude, longitude and altitude"),
        (("--to", file), 1, "1 of the 12 keyframes have a position"),
        (("--to", file, "--antenna", "1,2"), 2, "--antenna 1,2: expected X,Y,Z"),
    ):
        ended = vizloc("map", "align", own_map.folder, *arguments)
        assert ended.code == code, arguments
        assert problem in " ".join(ended.err.split()), (arguments, ended.err)
