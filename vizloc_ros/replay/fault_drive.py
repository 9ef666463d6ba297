"""Drive through running nodes with messages that may be late, wrong, or of someone else: ``vizloc evaluate trust``.

Messages are published here and not played from a bag, because a bag cannot hold those that are wrong in time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
from nav_msgs.msg import Odometry
from pycolmap import Rigid3d
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import VizlocError
from vizloc_ros.evaluation.altered_records import with_image
from vizloc_ros.geometry.poses import array_of
from vizloc_ros.replay.bag_replay import is_ready, private_domain, spinning_recorder, wait_until
from vizloc_ros.replay.player import CLOCK_TOPIC
from vizloc_ros.replay.processes import NodeProcesses
from vizloc_ros.replay.recorder import Recorder
from vizloc_ros.ros.messages import header_of, pose_to_msg, rectified_camera_to_msg, stamp_from_ns
from vizloc_ros.ros.node_options import HFNET, LOCALIZER, NODES, TRACKER, VISUAL_MAP_SERVER
from vizloc_ros.ros.qos import POSE
from vizloc_ros.ros.runner import ros
from vizloc_ros.timing import NANOSECONDS

_FRAME = "camera"
_START_SECONDS = 120.0
_CLOCK_NS = 50_000_000
_LAST_NS = NANOSECONDS  # time for the last images
_CLOCK_QOS = POSE


@dataclass(frozen=True)
class Shot:
    """Image that is sent, with what is sent before it.

    Attributes:
        at_ns: time at which it is sent [ns].
        stamp_ns: stamp of all its messages [ns].
        record: image, calibration, and true pose.
        camera_info: changes of the fields of camera_info; None to send no camera_info.
        jpeg: function that makes the bytes of a compressed image; None for a raw one.
        odom_from_base: odometry; None to send none.
    """

    at_ns: int
    stamp_ns: int
    record: Record
    camera_info: Mapping[str, Any] | None
    jpeg: Callable[[UInt8], bytes] | None = None
    odom_from_base: Rigid3d | None = None


@dataclass(frozen=True)
class Action:
    """Something that is done to the processes at a time since the begin of the drive [s]."""

    seconds: float
    do: Callable[[NodeProcesses], None]


@dataclass(frozen=True)
class Driven:
    """Poses map_from_cam by stamp, of the tracker and of the localizer, and what the nodes said."""

    tracked: dict[int, Rigid3d]
    localized: dict[int, Rigid3d]
    reasons: dict[str, int]


def shots_of(records: Sequence[Record], odometry: bool) -> list[Shot]:
    """Shots of the records at their own times; with ``odometry``, their true poses are the odometry."""
    return [
        Shot(r.timestamp_ns, r.timestamp_ns, r, {}, odom_from_base=r.world_from_cam if odometry else None)
        for r in records
    ]


def _rendered(shots: Sequence[Shot]) -> list[Shot]:
    """Shots whose images are in memory, so that rendering does not delay them; those that cannot be read are not."""

    def in_memory(shot: Shot) -> Shot:
        try:
            image = shot.record.read_image()
        except VizlocError:
            return shot
        return replace(shot, record=with_image(shot.record, lambda: image))

    return [in_memory(shot) for shot in shots]


def drive_nodes(
    shots: Sequence[Shot],
    map_path: Path,
    log: Path,
    *,
    rate: float = 1.0,
    actions: Sequence[Action] = (),
    second_map: Path | None = None,
    provider: str = "cpu",
    long_side: int | None = None,
) -> Driven:
    """Start the nodes, send the shots, and collect the poses.

    Args:
        shots: in order of the times at which they are sent.
        map_path: map with reference features.
        log: file for the nodes' output.
        rate: speed of the drive; 1 is real time.
        actions: what is done to the processes meanwhile, in order of time.
        second_map: map of a second map server; None for no second one.
        provider: device of the networks.
        long_side: longer side of the tracker's images [px]; None for the default.

    Raises:
        RosError: a node ended or did not start.
    """
    shots = _rendered(shots)
    compressed, odometry = shots[0].jpeg is not None, any(shot.odom_from_base is not None for shot in shots)
    domain = private_domain()
    environment = {"ROS_DOMAIN_ID": str(domain)}
    parameters = _parameters(map_path, provider, compressed=compressed, odometry=odometry, long_side=long_side)
    with ExitStack() as stack:
        stack.enter_context(ros([], domain))
        processes = NodeProcesses(parameters, use_sim_time=True, log=log, environment=environment)
        stack.enter_context(processes)
        recorder = stack.enter_context(spinning_recorder())
        sender = _Sender(recorder, compressed=compressed)
        wait_until(lambda: is_ready(recorder, NODES), _START_SECONDS, processes, "the nodes did not start")
        if second_map is not None:
            of_second = {VISUAL_MAP_SERVER: {"map_path": str(second_map.absolute())}}
            second = NodeProcesses(of_second, {}, (VISUAL_MAP_SERVER,), use_sim_time=True, environment=environment)
            stack.enter_context(replace(second, log=log.with_suffix(".second.log")))
            wait_until(
                lambda: recorder.count_publishers("candidates") > 1,
                _START_SECONDS,
                processes,
                "the second map server did not start",
            )
        recorder.forget_problems()
        sender.send(shots, actions, processes, rate)
    return Driven(
        {stamp: pose.map_from_base for stamp, pose in recorder.tracked.items()},
        {stamp: pose.map_from_base for stamp, pose in recorder.poses.items()},
        {**recorder.reasons.images, **recorder.reasons.warnings},
    )


def _parameters(
    map_path: Path, provider: str, *, compressed: bool, odometry: bool, long_side: int | None
) -> dict[str, Mapping[str, Any]]:
    """Parameters of the nodes: the camera is the base, so that odometry and poses are those of the camera."""
    mounting = {"base_from_cam": array_of(Rigid3d()).tolist()}
    of_map = {"map_path": str(map_path.absolute())}
    of_images = {"image_transport": "compressed" if compressed else "raw", "provider": provider, "max_image_age": 0.0}
    size = {} if long_side is None else {"long_side": long_side}
    return {
        HFNET: {**of_map, **of_images, **mounting},
        VISUAL_MAP_SERVER: of_map,
        LOCALIZER: {**mounting, "path_length": 0, "use_odometry": odometry},
        TRACKER: {**of_map, **of_images, **mounting, **size, "use_odometry": odometry},
    }


class _Sender:
    """Publishers of the camera, the odometry and the clock."""

    def __init__(self, node: Recorder, *, compressed: bool) -> None:
        kind, topic = (CompressedImage, "image/compressed") if compressed else (Image, "image")
        self._image = node.create_publisher(kind, topic, POSE)
        self._camera_info = node.create_publisher(CameraInfo, "camera_info", POSE)
        self._odometry = node.create_publisher(Odometry, "odom", POSE)
        self._clock = node.create_publisher(Clock, CLOCK_TOPIC, _CLOCK_QOS)

    def send(self, shots: Sequence[Shot], actions: Sequence[Action], processes: NodeProcesses, rate: float) -> None:
        """Send everything at its time; the clock ticks every 50 ms and starts half a second early."""
        begin_ns = shots[0].at_ns
        clock = begin_ns - NANOSECONDS // 2
        started, left = time.monotonic(), list(actions)
        ends = [*(shot.at_ns for shot in shots), shots[-1].at_ns + _LAST_NS]
        due = list(shots)
        while clock < ends[-1]:
            now = begin_ns - NANOSECONDS // 2 + round((time.monotonic() - started) * rate * NANOSECONDS)
            clock = max(clock, min(now, due[0].at_ns if due else ends[-1]))
            self._clock.publish(Clock(clock=stamp_from_ns(clock)))
            while left and clock >= begin_ns + left[0].seconds * NANOSECONDS:
                left.pop(0).do(processes)
            if due and clock >= due[0].at_ns:
                self._send(due.pop(0))
                continue
            time.sleep(min(_CLOCK_NS / NANOSECONDS / rate, 0.05))

    def _send(self, shot: Shot) -> None:
        header = header_of(shot.stamp_ns, _FRAME)
        if shot.odom_from_base is not None:
            odometry = Odometry(header=header_of(shot.stamp_ns, "odom"), child_frame_id=_FRAME)
            odometry.pose.pose = pose_to_msg(shot.odom_from_base)
            self._odometry.publish(odometry)
        if shot.camera_info is not None:
            camera_info = rectified_camera_to_msg(shot.record.camera, header)
            for field, value in shot.camera_info.items():
                setattr(camera_info, field, value)
            self._camera_info.publish(camera_info)
        try:
            image = shot.record.read_image()
        except VizlocError:  # of a file that cannot be read, a driver sends nothing
            return
        if shot.jpeg is not None:
            self._image.publish(CompressedImage(header=header, format="jpeg", data=shot.jpeg(image)))
            return
        message = Image(header=header, height=image.shape[0], width=image.shape[1], step=image[0].nbytes)
        message.encoding = "mono8" if image.ndim == 2 else "bgr8"
        message.data.frombytes(image.tobytes())
        self._image.publish(message)


def jpeg(image: UInt8) -> bytes:
    """Bytes of the JPEG of an image."""
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])[1])
