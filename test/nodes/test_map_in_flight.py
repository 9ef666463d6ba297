"""Messages under way, and images at work, while the map server changes its map: none gives a pose in the one before.

The tests send what the other nodes would, in orders that running nodes take only now and then.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from node_helpers import IDENTITY, Bench, bench
from pixloc_helpers import LONG_SIDE
from point_street import CAMERA, View
from pycolmap import Rigid3d
from ros_helpers import ros_nodes, spin_until
from sensor_msgs.msg import CameraInfo, PointCloud2
from std_msgs.msg import String
from std_srvs.srv import Trigger

from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.localization.places import PlaceFinder
from vizloc_ros.mapping.map_format import read_info, write_info
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.nodes.localizer import LocalizerNode
from vizloc_ros.nodes.pixloc_tracker import PixLocTrackerNode
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.pixloc.tracking import Frame, Tracked, TrackerState
from vizloc_ros.replay.recorder import Recorder
from vizloc_ros.ros.clouds import features_to_msg, places_to_msg
from vizloc_ros.ros.messages import header_of, pose_with_covariance_to_msg, rectified_camera_to_msg, stamp_to_ns
from vizloc_ros.ros.node_options import VISUAL_MAP_SERVER
from vizloc_ros.ros.qos import FEATURES, LATCHED, POSE, STATE
from vizloc_ros.ros.served_map import FOLLOWED, SERVED, Followed, ServedMap
from vizloc_ros.timing import NANOSECONDS, Stopwatch

pytestmark = pytest.mark.ros


class Others:
    """Everyone else: they announce maps, and hear the poses and answers of one node."""

    def __init__(self, node: Any, other: Any) -> None:
        self.node, self._nodes = node, (node, other)
        self.poses: list[int] = []  # stamps [s]
        self.answers: list[Followed] = []
        node.create_subscription(PoseWithCovarianceStamped, "localization/pose", self._on_pose, POSE)
        node.create_subscription(String, FOLLOWED, self._on_answer, STATE)
        self._served = node.create_publisher(String, SERVED, LATCHED)

    def _on_pose(self, msg: PoseWithCovarianceStamped) -> None:
        self.poses.append(stamp_to_ns(msg.header.stamp) // NANOSECONDS)

    def _on_answer(self, msg: String) -> None:
        self.answers.append(Followed.model_validate_json(msg.data))

    def spin_until(self, condition: Callable[[], object]) -> None:
        spin_until(lambda: bool(condition()), *self._nodes)

    def announce(self, number: int, since_s: int, path: str = "/maps/a") -> None:
        """Announce a map, and wait for the answer."""
        self.answers.clear()
        served = ServedMap(number=number, path=path, since_ns=since_s * NANOSECONDS)
        self._served.publish(String(data=served.model_dump_json()))
        self.spin_until(lambda: self.answers)


@contextmanager
def in_process(kind: Any, monkeypatch: pytest.MonkeyPatch, **parameters: Any) -> Iterator[tuple[Any, Any]]:
    """Context with a node of this process, and a node for the others."""
    given = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    with ros_nodes("others", arguments=tuple(given)) as [others]:
        monkeypatch.setattr("rclpy.node.get_default_context", lambda *_: others.context)
        node = kind()
        try:
            yield node, others
        finally:
            node.destroy_node()


def test_the_localizer_drops_poses_of_the_map_before_by_their_stamps(
    point_map: VisualMap, point_views: list[View], monkeypatch: pytest.MonkeyPatch
) -> None:
    finder, features = PlaceFinder(point_map), point_views[4].keyframe.features
    found = finder.find(point_map.global_descriptors[4], Stopwatch())
    given = {"base_from_cam": list(IDENTITY), "check_calibration": False, "pose.min_probability": 0.0}
    with in_process(LocalizerNode, monkeypatch, **given) as (node, others):
        heard = Others(others, node)
        topics = {"features/camera_info": CameraInfo, "features": PointCloud2, "candidates": PointCloud2}
        publishers = {topic: others.create_publisher(kind, topic, FEATURES) for topic, kind in topics.items()}
        heard.spin_until(lambda: all(one.get_subscription_count() for one in publishers.values()))

        def send(second: int, *names: str) -> None:
            header = header_of(second * NANOSECONDS, "camera")
            messages = {
                "features/camera_info": rectified_camera_to_msg(CAMERA, header),
                "features": features_to_msg(features, header),
                "candidates": places_to_msg(found.places, header),
            }
            for name in names or topics:
                publishers[name].publish(messages[name])

        def processed() -> int:
            return counted(node, "processed") + counted(node, "rejected")

        heard.announce(1, since_s=-1)
        send(100)
        heard.spin_until(lambda: heard.poses == [100])
        send(101, "features/camera_info", "features")
        send(102, "features/camera_info", "features")
        heard.announce(2, since_s=101)  # the candidates of both are under way
        send(101, "candidates")
        heard.spin_until(lambda: processed() == 2)
        send(102, "candidates")
        heard.spin_until(lambda: heard.poses == [100, 102])
        heard.announce(1, since_s=103)
        heard.announce(2, since_s=104)  # there and back: the number alone would not tell
        send(104)
        heard.spin_until(lambda: processed() == 4)
        send(105)
        heard.spin_until(lambda: heard.poses == [100, 102, 105])


def counted(node: Any, name: str) -> int:
    """Count in a node's diagnostics."""
    return int(next(pair.value for pair in node.diagnostics.take_status().values if pair.key == name))


def prior(second: int) -> PoseWithCovarianceStamped:
    return pose_with_covariance_to_msg(Rigid3d(), 1e-4 * np.eye(6), header_of(second * NANOSECONDS, "map"))


def test_the_tracker_drops_images_at_work_and_poses_of_the_map_before(
    tracked_map: VisualMap, street: SyntheticStreet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tracker's own result stands still here: what the node does with it is tested."""
    record, number = street.records("query")[3], tracked_map.info.number
    meanwhile: list[Callable[[], None]] = []

    def track(self: Tracker, frame: Frame, _features: object = None, **_options: object) -> Tracked:
        for act in meanwhile:
            act()
        return Tracked(TrackerState.TRACKING, Rigid3d(), 1e-4 * np.eye(6), "")

    monkeypatch.setattr(Tracker, "track", track)
    given = {"map_path": tracked_map.folder, "long_side": LONG_SIDE, "threads": 1, "base_from_cam": list(IDENTITY)}
    with in_process(PixLocTrackerNode, monkeypatch, withhold_frozen=False, max_image_age=0.0, **given) as (
        node,
        others,
    ):
        heard, recorder = Others(others, node), Recorder(context=others.context)
        camera = Bench(others, recorder, None, ())  # type: ignore[arg-type]
        priors = others.create_publisher(PoseWithCovarianceStamped, "localization/pose", POSE)
        try:
            heard._nodes = (others, node, recorder)
            heard.spin_until(lambda: priors.get_subscription_count() and node.count_publishers("image"))
            heard.announce(number, since_s=-1, path=str(tracked_map.folder))
            last = heard.answers[-1]
            assert (last.node, last.number, last.problem) == ("/pixloc_tracker", number, "")
            camera.send_camera_info(record)

            def show() -> int:
                """Send an image, and wait for its pose; return its stamp [ns]."""
                stamp = camera.send_image(record.read_image())
                heard.spin_until(lambda: stamp in recorder.tracked)
                return stamp

            heard.spin_until(lambda: camera.send_image(record.read_image()) and recorder.tracked)
            show()
            loaded, before = node._loaded, counted(node, "rejected")
            meanwhile.append(node.drop_map)
            at_work = camera.send_image(record.read_image())
            heard.spin_until(lambda: counted(node, "rejected") > before)
            meanwhile.clear()
            node._loaded, node.map_number = loaded, number
            second = show() // NANOSECONDS
            assert at_work not in recorder.tracked

            heard.announce(number, since_s=second + 2, path=str(tracked_map.folder))
            for at in (second + 1, second + 2):
                priors.publish(prior(at))
            heard.spin_until(lambda: len(node._priors._poses) == 2)
            camera.stamp_ns = (second + 3) * NANOSECONDS
            show()
            assert not node._priors._poses
            assert counted(node, "priors_used") == 0
            priors.publish(prior(second + 3))
            heard.spin_until(lambda: len(node._priors._poses) == 1)
            show()
            assert counted(node, "priors_used") == 1
        finally:
            recorder.destroy_node()


def test_load_map_waits_for_the_slowest_node(point_map: VisualMap, tmp_path: Path) -> None:
    """The node of the test is one of those that follow, and takes its time."""
    other = Path(shutil.copytree(point_map.folder, tmp_path / "other"))
    write_info(other, read_info(other).model_copy(update={"dataset": "other"}))
    number = read_info(other).number
    assert number != point_map.info.number
    with bench(point_map.folder, tmp_path / "log", (VISUAL_MAP_SERVER,), managed=True) as made:
        assert made.change_state(VISUAL_MAP_SERVER, "configure")
        assert made.change_state(VISUAL_MAP_SERVER, "activate")
        served: list[ServedMap] = []
        made.node.create_subscription(
            String, SERVED, lambda msg: served.append(ServedMap.model_validate_json(msg.data)), LATCHED
        )
        followed = made.node.create_publisher(String, FOLLOWED, STATE)
        made.spin_until(lambda: bool(followed.get_subscription_count() and served))
        assert made.set_parameters(VISUAL_MAP_SERVER, map_path=str(other)).successful
        client = made.node.create_client(Trigger, f"{VISUAL_MAP_SERVER}/load_map")
        made.spin_until(client.service_is_ready)
        answer = client.call_async(Trigger.Request())
        made.spin_until(lambda: served[-1].number == number)
        begun = time.monotonic()
        made.spin_until(lambda: time.monotonic() - begun > 1.0)
        assert not answer.done()
        late = Followed(node="/bench", number=None, problem="is not there", about=number - 1)  # of the map before
        followed.publish(String(data=late.model_dump_json()))
        begun = time.monotonic()
        made.spin_until(lambda: time.monotonic() - begun > 0.5)
        assert not answer.done()
        followed.publish(String(data=Followed(node="/bench", number=number).model_dump_json()))
        made.spin_until(answer.done)
        assert answer.result().success, answer.result().message
        assert served[-1] == ServedMap(number=number, path=str(other))
