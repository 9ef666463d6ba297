"""Client of the map server's submaps: the landmarks around the predicted poses of the cameras, for the tracker."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import Pose, PoseStamped
from pycolmap import Rigid3d
from sensor_msgs.msg import PointCloud2

from vizloc_ros.arrays import Float64
from vizloc_ros.errors import RosError, VizlocError
from vizloc_ros.mapping.one_map import OneMap
from vizloc_ros.pixloc.references import References
from vizloc_ros.ros.clouds import submap_from_msg
from vizloc_ros.ros.diagnostics import Level
from vizloc_ros.ros.messages import header_of, pose_from_msg, pose_to_msg, stamp_to_ns
from vizloc_ros.ros.node_options import topic_of
from vizloc_ros.ros.pipeline_node import PipelineNode
from vizloc_ros.ros.qos import LATCHED, POSE

REQUEST_LISTENERS = "request_listeners"  # key of the diagnostics
_MAX_DISTANCE = 15.0  # m
_MAX_REQUESTS = 50  # remembered requests


@dataclass(frozen=True)
class ReceivedLandmarks:
    """Landmarks of the last message on ``submap``.

    Attributes:
        references: the landmarks with their reference features.
        center: (3,) camera position in the map that they were requested for [m]; None if the request is forgotten.
        frame: name of the map frame.
        map_number: number of their map.
    """

    references: References
    center: Float64 | None
    frame: str
    map_number: int


class SubmapClient:
    """Requests of a camera on ``submap/request``, and the last answer on ``submap``. Thread-safe.

    Attributes:
        newest: landmarks of the last answer; None before the first.
        missing: reason why ``around`` had no landmarks, if the map server is missing or there are two.
        prefetch_extrinsics: base_from_cam for the requests of ``prefetch``; None: it sends none.
    """

    def __init__(self, node: PipelineNode, max_distance: float = _MAX_DISTANCE, camera: str = "") -> None:
        """Make a client that takes landmarks of any map.

        Args:
            node: the tracker's node.
            camera: namespace of the topics; empty for the only camera.
            max_distance: distance from the requested camera beyond which landmarks are not used [m].
        """
        self.newest: ReceivedLandmarks | None = None
        self.missing = ""
        self.prefetch_extrinsics: Rigid3d | None = None
        self._node = node
        self._map_number: int | None = None
        self._lock = threading.Lock()
        self._submap, self._request = topic_of(camera, "submap"), topic_of(camera, "submap/request")
        self._topic = node.resolve_topic_name(self._submap)
        self._one_map = OneMap(self._topic, sure_first=False)
        self._max_distance = max_distance
        self._centers: OrderedDict[int, Float64] = OrderedDict()  # requested camera positions by stamp of the request

    def open(self) -> None:
        """Create the publisher and the subscription."""
        node = self._node
        self._publisher = node.create_publisher(PoseStamped, self._request, POSE)
        node.create_subscription(PointCloud2, self._submap, self._on_submap, LATCHED)
        node.diagnostics.count("submaps", 0)
        node.diagnostics.watch(REQUEST_LISTENERS, self._publisher.get_subscription_count)

    def expect(self, map_number: int) -> None:
        """Take only landmarks of one map from now on; those of other maps are forgotten."""
        with self._lock:
            self._map_number = map_number
            if self.newest is not None and self.newest.map_number != map_number:
                self.newest = None

    def request(self, map_from_cam: Rigid3d) -> None:
        """Request the landmarks around a pose of the camera."""
        stamp_ns = self._node.get_clock().now().nanoseconds
        with self._lock:
            if self._centers:  # the stamp identifies the request in the answer; a bag's clock may stand still
                stamp_ns = max(stamp_ns, next(reversed(self._centers)) + 1)
            self._centers[stamp_ns] = map_from_cam.translation
            while len(self._centers) > _MAX_REQUESTS:
                self._centers.popitem(last=False)
            frame = self.newest.frame if self.newest is not None else ""
        request = PoseStamped(header=header_of(stamp_ns, frame), pose=pose_to_msg(map_from_cam))
        self._node.diagnostics.send(self._publisher, request)

    def around(self, map_from_cam: Rigid3d) -> References | None:
        """Landmarks of the last answer; None if there is none, or it was requested for a camera too far away.

        ``missing`` then says why.
        """
        newest = self.newest
        self.missing = ""
        if problem := self._one_map.count(self._node.count_publishers(self._topic)):
            self.missing = problem
            return None
        if newest is None:
            return None
        if newest.center is not None:
            away = float(np.linalg.norm(newest.center - map_from_cam.translation))
            if away > self._max_distance:
                self.missing = (
                    f"visual_map_server has not answered on {self._topic} for the last {away:.1f} m "
                    f"(listeners on {self._request}: {self._publisher.get_subscription_count()}): is it running?"
                )
                return None
        return newest.references

    def prefetch(self, map_from_base: Pose) -> None:
        """Request the landmarks around a prior, so that they are there when the next image arrives."""
        base_from_cam = self.prefetch_extrinsics
        if base_from_cam is not None:
            with suppress(RosError):  # an invalid pose is reported when the tracker takes the prior
                self.request(pose_from_msg(map_from_base) * base_from_cam)

    def forget_requests(self) -> None:
        """Forget all requests, as after a jump of the clock: their stamps are of another time."""
        with self._lock:
            self._centers.clear()

    def _on_submap(self, msg: PointCloud2) -> None:
        try:
            received = submap_from_msg(msg)
        except VizlocError as error:
            self._node.diagnostics.report(Level.ERROR, str(error))
            return
        self._one_map.count(self._node.count_publishers(self._topic))
        if not self._one_map.take(received.references.landmark_ids, received.references.positions):
            return  # ``around`` reports it
        with self._lock:
            if self._map_number not in (None, received.map_number):
                return  # the map server has changed its map, and this node has not followed yet, or it came late
            center = self._centers.get(stamp_to_ns(msg.header.stamp))
            self.newest = ReceivedLandmarks(received.references, center, msg.header.frame_id, received.map_number)
        self._node.diagnostics.count("submaps")
        self._node.diagnostics.set_value("submap_landmarks", len(received.references))


class SubmapClients:
    """Clients of all cameras of a rig, or of the only camera, which has no name."""

    def __init__(self, node: PipelineNode, cameras: Sequence[str], max_distance: float) -> None:
        """Make the clients; as ``SubmapClient``."""
        self._clients = {camera: SubmapClient(node, max_distance, camera) for camera in cameras}

    def open(self) -> None:
        """Create the topics of all cameras."""
        for client in self._clients.values():
            client.open()

    def expect(self, map_number: int) -> None:
        """Take only landmarks of one map from now on."""
        for client in self._clients.values():
            client.expect(map_number)

    def forget(self) -> None:
        """Forget all landmarks."""
        for client in self._clients.values():
            client.newest = None

    def forget_requests(self) -> None:
        """Forget all requests, as after a jump of the clock."""
        for client in self._clients.values():
            client.forget_requests()

    def landmarks_around(self, map_from_cam: Rigid3d, camera: str) -> References | None:
        """Request the landmarks around a predicted pose, and return those of the last answer if they are near it."""
        client = self._clients[camera]
        client.request(map_from_cam)
        return client.around(map_from_cam)

    def prefetch(self, map_from_base: Pose) -> None:
        """Request the landmarks around a prior for all cameras whose pose on the vehicle is known."""
        for client in self._clients.values():
            client.prefetch(map_from_base)

    def expect_priors(self, base_from_cam: Mapping[str, Rigid3d]) -> None:
        """Know the poses of cameras on the vehicle for ``prefetch``; of no camera, it sends no request."""
        for camera, client in self._clients.items():
            client.prefetch_extrinsics = base_from_cam.get(camera)

    def of(self, camera: str) -> References | None:
        """Landmarks of the last answer for a camera."""
        newest = self._clients[camera].newest
        return newest.references if newest is not None else None

    @property
    def frame(self) -> str:
        """Name of the map frame in the answers; empty before the first one."""
        newest = [client.newest for client in self._clients.values() if client.newest is not None]
        return newest[0].frame if newest else ""

    @property
    def missing(self) -> str:
        """Reason why there were no landmarks for any camera, if the map server is missing or there are two."""
        reasons = [client.missing for client in self._clients.values()]
        return reasons[0] if all(reasons) else ""

    def forget_missing(self) -> None:
        """Forget this reason, as of an image that needed no landmarks."""
        for client in self._clients.values():
            client.missing = ""
