"""map -> odom of running nodes, by tf2's rules: right while it drives, and steady when the camera is silent."""

import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from nav_msgs.msg import Odometry
from node_helpers import COMPOSED, bench
from pixloc_helpers import truth
from pycolmap import Rigid3d
from swerving_drive import MAP_FROM_ODOM, odometry_message
from tf2_buffer import Tf2Buffer

from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.geometry.trajectory import Trajectory
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.ros.messages import stamp_to_ns
from vizloc_ros.ros.qos import POSE, TF

pytestmark = [pytest.mark.ros, pytest.mark.alone]
PERIOD_NS, LATE_NS = 200_000_000, 90_000_000


def test_the_localizer_alone_corrects_the_odometry(
    street_map: VisualMap, street: SyntheticStreet, tmp_path: Path
) -> None:
    """Odometry comes 90 ms late, on a topic of another name; so is /tf. After the drive, no image comes any more."""
    tf2_msgs = pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not installed: run make setup")
    records = street.records("query")[2:14]
    images = [record.read_image() for record in records]
    given = {"use_odometry": True, "publish_tf": True, "tf_rate": 20.0}
    renamed = {"/tf": "/robot/tf", "odom": "/wheels"}
    with bench(street_map.folder, tmp_path / "log", COMPOSED, remappings=renamed, localizer=given) as made:
        wheels = made.node.create_publisher(Odometry, "/wheels", POSE)
        heard, buffer = [], Tf2Buffer()

        def on_transform(msg: object) -> None:
            heard.append((time.monotonic(), msg))
            buffer.add(msg)

        made.node.create_subscription(tf2_msgs.TFMessage, "/robot/tf", on_transform, TF)
        made.spin_until(lambda: wheels.get_subscription_count() > 0)
        made.send_camera_info(records[0])
        made.spin_until(lambda: made.recorder.value("hfnet", "rejected") is not None)
        begun_ns = time.time_ns()
        drive = Trajectory.of(
            {begun_ns + number * PERIOD_NS: truth(record) for number, record in enumerate(records)}, PERIOD_NS
        )

        def send_odometry(now_ns: int) -> None:
            """The vehicle stands before the drive, and after it."""
            at_ns = now_ns - LATE_NS
            pose = drive.at(min(max(at_ns, drive.stamps_ns[0]), drive.stamps_ns[-1]))
            assert pose is not None
            odom_from_base = MAP_FROM_ODOM.inverse() * pose
            wheels.publish(odometry_message(at_ns, odom_from_base))
            buffer.insert("odom", "base_link", at_ns, odom_from_base)

        def spin_to(until_ns: int) -> None:
            while time.time_ns() < until_ns:
                send_odometry(time.time_ns())
                until = time.monotonic() + 0.05
                made.spin_until(lambda until=until: time.monotonic() >= until)  # type: ignore[misc]

        for number, image in enumerate(images):
            spin_to(begun_ns + number * PERIOD_NS)
            made.send_image(image, stamp_ns=begun_ns + number * PERIOD_NS)
        spin_to(time.time_ns() + 1_000_000_000)
        silent_from = time.monotonic()
        spin_to(time.time_ns() + 2_000_000_000)
        asked_ns = time.time_ns()

        assert made.recorder.poses, made.recorder.messages[-5:]
        last = buffer.lookup("map", "odom", asked_ns)
        assert pose_error(last, MAP_FROM_ODOM)[1] < 1.0
        newest_odometry = buffer.links["base_link"][1][-1][0]
        now = buffer.lookup("map", "base_link", newest_odometry)
        assert pose_error(now, truth(records[-1]))[0] < 0.15
        first = buffer.links["odom"][1][0][0]
        while_driving = [
            pose_error(buffer.lookup("map", "base_link", stamp), drive.at(stamp) or Rigid3d())[0]
            for stamp, _ in buffer.links["base_link"][1]
            if max(first, drive.stamps_ns[0]) <= stamp <= drive.stamps_ns[-1]
        ]
        assert len(while_driving) > 10
        assert np.percentile(while_driving, 99) < 0.3
        arrivals = [at for at, _ in heard if at >= silent_from]
        assert len(arrivals) >= 30, "twenty times in each of two seconds"
        assert max(after - before for before, after in pairwise(arrivals)) < 0.3
        stamps = [stamp_to_ns(msg.transforms[0].header.stamp) for _, msg in heard]  # type: ignore[attr-defined]
        assert all(before < after for before, after in pairwise(stamps))
