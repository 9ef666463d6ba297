"""GNSS fixes and running nodes: the area of a fix is searched, a wrong one is given up, and poses are fixes again."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from node_helpers import Bench, bench
from pixloc_helpers import LONG_SIDE, truth
from pycolmap import Rigid3d
from sensor_msgs.msg import NavSatFix, NavSatStatus

from vizloc_ros.datasets.record import Record
from vizloc_ros.geometry.geodesy import earth_from_enu, ecef_from_geodetic, geodetic_from_ecef
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.mapping.georeference import Georeference, Wgs84
from vizloc_ros.mapping.map_writer import add_to_map
from vizloc_ros.ros.messages import header_of, stamp_to_ns
from vizloc_ros.ros.node_options import NODES, VISUAL_MAP_SERVER
from vizloc_ros.ros.qos import POSE, SENSOR

pytestmark = [pytest.mark.ros, pytest.mark.alone]
PERIOD = 0.1
_MOST = 100
EARTH_FROM_MAP = earth_from_enu(48, 11, 500)
LONG_NS = 100_000_000_000  # after it, nothing of before counts


class Drive:
    """A drive with fixes among running nodes."""

    def __init__(self, running: Bench) -> None:
        self.running, self.sent = running, dict[int, Record]()
        self.fixes: list[NavSatFix] = []
        self._fix = running.node.create_publisher(NavSatFix, "fix", SENSOR)
        running.node.create_subscription(NavSatFix, "pose/fix", self.fixes.append, POSE)
        running.spin_until(lambda: self._fix.get_subscription_count() > 0)

    @property
    def poses(self) -> dict[int, Rigid3d]:
        """Poses of the localizer since the last beginning, by their stamps."""
        return {at: one.map_from_base for at, one in self.running.recorder.poses.items() if at in self.sent}

    def said(self, key: str) -> str:
        status = self.running.recorder.statuses.get(VISUAL_MAP_SERVER)
        return next((pair.value for pair in status.values if pair.key == key), "") if status else ""

    def begin(self, meant: Record, **fields: Any) -> None:
        """Begin anew, with a fix on the record."""
        self.running.stamp_ns += LONG_NS
        self.sent.clear()
        self.fixes.clear()
        self.send_fix(meant, **fields)
        self._spin(0.3)

    def send_fix(self, meant: Record, **fields: Any) -> None:
        position = EARTH_FROM_MAP * truth(meant).translation
        latitude, longitude, altitude = geodetic_from_ecef(position)
        given = {
            "header": header_of(self.running.stamp_ns, "gps"),
            "status": NavSatStatus(status=NavSatStatus.STATUS_FIX, service=NavSatStatus.SERVICE_GPS),
            "position_covariance": np.diag([4.0, 4.0, 9.0]).ravel(),
            "position_covariance_type": NavSatFix.COVARIANCE_TYPE_DIAGONAL_KNOWN,
        }
        self._fix.publish(NavSatFix(latitude=latitude, longitude=longitude, altitude=altitude, **{**given, **fields}))

    def drive(self, record: Record, meant: Record, **fields: Any) -> None:
        """Send an image, and a fix of its time."""
        begun = time.monotonic()
        self.running.send_camera_info(record)
        self.sent[self.running.send_image(record.read_image())] = record
        self.send_fix(meant, **fields)
        self._spin(PERIOD - (time.monotonic() - begun))

    def drive_until(
        self, condition: Callable[[], object], records: list[Record], meant: Record | None = None, **fields: Any
    ) -> None:
        """Drive up and down the street, with fixes where the vehicle is or on another record."""
        for number in range(_MOST):
            record = records[number % len(records)]
            self.drive(record, meant or record, **fields)
            if condition():
                return
        pytest.fail(f"fix: {self.said('fix')}; poses: {len(self.poses)}; {self.running.recorder.messages[-5:]}")

    def _spin(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        self.running.spin_until(lambda: time.monotonic() >= until)


@pytest.fixture(scope="module")
def driving(two_streets, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drive]:
    folder = tmp_path_factory.mktemp("earth") / "map"
    shutil.copytree(two_streets[0], folder)
    place = Georeference(datum=Wgs84(latitude=48, longitude=11, altitude=500))
    add_to_map(folder, [], lambda _: None, {"georeference": place})
    tracker = {"long_side": LONG_SIDE, "threads": 1, "publish_fix": True}
    log: Path = tmp_path_factory.mktemp("log") / "log"
    with bench(folder, log, NODES, pixloc_tracker=tracker) as made:
        yield Drive(made)


def are_right(driving: Drive) -> bool:
    return all(pose_error(pose, truth(driving.sent[at]))[0] < 0.5 for at, pose in driving.poses.items())


def test_a_fix_on_another_street_does_not_lock_the_localizer_out(driving: Drive, two_streets) -> None:
    """Ten images are looked for there, in vain; then some everywhere, and their pose is believed."""
    _, first, other = two_streets
    driving.begin(other[0])
    driving.drive_until(lambda: driving.poses and driving.said("fix").endswith("m off"), first, other[0])
    assert driving.said("fix").startswith("not used: it is ")
    assert min(driving.poses) >= sorted(driving.sent)[10]
    assert are_right(driving)


def test_a_right_fix_leaves_the_street_that_is_meant(driving: Drive, two_streets) -> None:
    _, first, _ = two_streets
    driving.begin(first[0])
    driving.drive_until(lambda: driving.poses and driving.said("fix") == "used", first)
    assert 0 < int(driving.said("searched_keyframes")) <= len(first) < int(driving.said("keyframes"))
    assert are_right(driving)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"status": NavSatStatus(status=NavSatStatus.STATUS_NO_FIX)}, "not used: the receiver has no position"),
        ({"position_covariance": np.diag([1e6, 1e6, 1e6]).ravel()}, "not used: its error is 1.41e+03 m"),
        ({"header": header_of(1_000_000_000, "gps")}, "older than the image"),
    ],
)
def test_what_is_no_position_is_as_nothing(driving: Drive, two_streets, fields: dict[str, Any], reason: str) -> None:
    """The wrong street, but nobody is misled; while the tracker tracks, there is an image in three seconds."""
    _, first, other = two_streets
    driving.begin(other[0], **fields)
    driving.drive_until(lambda: driving.poses and reason in driving.said("fix"), first, other[0], **fields)
    assert int(driving.said("searched_keyframes")) == int(driving.said("keyframes"))
    assert are_right(driving)


def test_poses_of_the_tracker_are_fixes_too(driving: Drive, two_streets) -> None:
    _, first, _ = two_streets
    driving.begin(first[0])
    for record in first:
        driving.drive(record, record)

    def fixes() -> dict[int, Any]:  # one of the drive before may come late
        by_stamp = {stamp_to_ns(fix.header.stamp): fix for fix in driving.fixes}
        return {stamp: fix for stamp, fix in by_stamp.items() if stamp in driving.sent}

    driving.running.spin_until(lambda: len(fixes()) > 2)
    for stamp, fix in fixes().items():
        assert fix.header.frame_id == "base_link"
        on_earth = ecef_from_geodetic(np.array([[fix.latitude, fix.longitude, fix.altitude]]))[0]
        assert np.linalg.norm(EARTH_FROM_MAP.inverse() * on_earth - truth(driving.sent[stamp]).translation) < 0.25
        assert fix.status.status == NavSatStatus.STATUS_FIX
        assert fix.position_covariance_type == NavSatFix.COVARIANCE_TYPE_KNOWN
        assert 0 < np.max(fix.position_covariance) < 0.1
