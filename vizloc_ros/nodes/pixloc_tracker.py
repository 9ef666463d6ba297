"""The tracker: follows the camera from image to image, from the localizer's pose on, and says so when it is lost."""

from __future__ import annotations

import array
import sys
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMsg
from pycolmap import Rigid3d
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header, String

from vizloc_ros.arrays import Float64, UInt8
from vizloc_ros.errors import FeatureError, RosError, VizlocError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.covariance import covariance_of_product
from vizloc_ros.mapping.map_format import MapInfo, feature_number, read_info
from vizloc_ros.pixloc.debug_image import draw_travel
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor, open_pyramid_extractor
from vizloc_ros.pixloc.references import References
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.pixloc.tracking import Frame, Tracked, TrackerState
from vizloc_ros.pixloc.verification import deviation, position_std
from vizloc_ros.ros.clouds import submap_from_msg
from vizloc_ros.ros.diagnostics import Level
from vizloc_ros.ros.extrinsics import CameraExtrinsics
from vizloc_ros.ros.image_input import ImageInput
from vizloc_ros.ros.messages import header_of, pose_from_msg, pose_to_msg, pose_with_covariance_to_msg, stamp_to_ns
from vizloc_ros.ros.node_options import TrackerNodeOptions
from vizloc_ros.ros.odometry_buffer import OdometryBuffer
from vizloc_ros.ros.parameters import declare_options
from vizloc_ros.ros.pipeline_node import PipelineNode
from vizloc_ros.ros.publishers import PathPublisher, TransformPublisher
from vizloc_ros.ros.qos import LATCHED, POSE, SENSOR, STATE
from vizloc_ros.ros.runner import run_node
from vizloc_ros.timing import Stopwatch

_SUBMAP_REACH = 15.0  # m; landmarks that were asked for farther away are of no use
_REQUESTS_KEPT = 50
_WAITING = 8  # images: one that takes long, such as one in doubt, costs none of the next
_MAX_PRIORS = 8
_INITIAL_STD = (1.0, 0.1)  # m, rad: of a pose that a person has set


@dataclass(frozen=True)
class _Landmarks:
    """What came on ``submap``, and for which camera position [m, map] it was asked for, if that is known."""

    references: References
    centre: Float64 | None
    frame: str


class PixLocTrackerNode(PipelineNode):
    """Aligns each image with the landmarks around the predicted pose.

    The tracker belongs to the worker; callbacks only leave what came for it.
    """

    def __init__(self) -> None:
        super().__init__("pixloc_tracker", self._track, _WAITING)
        self.options = declare_options(self, TrackerNodeOptions)
        self._lock = threading.Lock()  # of what the callbacks leave
        self._landmarks: _Landmarks | None = None
        self._priors: list[tuple[PoseWithCovarianceStamped, bool]] = []
        self._jumped = False
        self._searching_from: Rigid3d | None = None  # base_from_cam, while the tracker has no pose
        self._asked: OrderedDict[int, Float64] = OrderedDict()  # position by stamp of the request
        self._loaded: tuple[Tracker, PyramidExtractor, MapInfo] | None = None
        self._odometry = OdometryBuffer()
        self._extrinsics = CameraExtrinsics(self, self.options.base_frame, self.options.fixed_base_from_cam)
        self._tf = TransformPublisher(self) if self.options.publish_tf else None
        self._pose = self.create_publisher(PoseWithCovarianceStamped, "pose", POSE)
        self._odometry_out = self.create_publisher(Odometry, "odometry", POSE)
        self._path = PathPublisher(self, self.create_publisher(PathMsg, "path", POSE), self.options.path_length)
        self._state = self.create_publisher(String, "tracker/state", STATE)
        self._request = self.create_publisher(PoseStamped, "submap/request", POSE)
        self._debug = self.create_publisher(Image, "~/debug/image", POSE) if self.options.debug_image else None
        for counter in ("tracked", "failed", "became_lost", "priors_used", "submaps"):
            self.diagnostics.count(counter, 0)
        self.diagnostics.set_value("state", TrackerState.NOT_LOCALIZED.value)
        self.diagnostics.watch("request_listeners", self._request.get_subscription_count)
        self.when_possible(self._load)
        self._input = ImageInput(
            self,
            self.options.image_transport,
            self.options.silence_timeout,
            self.options.max_image_age,
            on_jump=self._on_jump,
        )
        self.create_subscription(PointCloud2, "submap", self._on_submap, LATCHED)
        self.create_subscription(PoseWithCovarianceStamped, "localization/pose", self._on_prior, POSE)
        self.create_subscription(PoseWithCovarianceStamped, "initialpose", self._on_initial_pose, POSE)
        if self.options.use_odometry:
            self.create_subscription(Odometry, "odom", self._on_odometry, SENSOR)

    def _load(self) -> None:
        folder = Path(self.options.map_path)
        info = read_info(folder)
        extractor = open_pyramid_extractor(self.options.weights, self.options.device, self.options.long_side)
        info.require_references(folder, extractor.model_id)
        for camera in info.cameras[:1]:  # images of this size are the most likely to come
            extractor.extract(np.zeros((camera.height, camera.width), np.uint8))
        self._loaded = Tracker(extractor, self._around, self.options.tracker), extractor, info
        self.diagnostics.set_value("model", extractor.model_id)
        self.diagnostics.set_value("provider", self.options.provider)
        self.get_logger().info(f"tracker: {extractor.model_id} on {self.options.provider}")

    def _on_jump(self) -> None:
        with self._lock:
            self._jumped = True
            self._priors.clear()
            self._asked.clear()
        self._path.clear()

    def _on_submap(self, msg: PointCloud2) -> None:
        loaded = self._loaded
        try:
            received = submap_from_msg(msg)
            if loaded is not None and received.model_number != feature_number(loaded[1].model_id):
                raise FeatureError(
                    f"the landmarks that arrive on submap are of another network than {loaded[1].model_id}: start "
                    f"map_server with map_path {self.options.map_path}"
                )
        except VizlocError as error:
            self.diagnostics.report(Level.ERROR, str(error))
            return
        with self._lock:
            centre = self._asked.get(stamp_to_ns(msg.header.stamp))
            self._landmarks = _Landmarks(received.references, centre, msg.header.frame_id)
        self.diagnostics.count("submaps")
        self.diagnostics.set_value("submap_landmarks", len(received.references))

    def _on_prior(self, msg: PoseWithCovarianceStamped, *, override: bool = False) -> None:
        with self._lock:
            self._priors.append((msg, override))
            del self._priors[:-_MAX_PRIORS]
            base_from_cam = self._searching_from
        if base_from_cam is not None:  # so that the landmarks are there when the next image comes
            with suppress(RosError):  # said when it is taken
                self._around(pose_from_msg(msg.pose.pose) * base_from_cam)

    def _on_initial_pose(self, msg: PoseWithCovarianceStamped) -> None:
        self.get_logger().info("an initial pose was given")
        self._on_prior(msg, override=True)

    def _on_odometry(self, msg: Odometry) -> None:
        try:
            self._odometry.add(msg)
        except RosError as error:
            self.diagnostics.report(Level.WARN, f"odom: {error}")

    def _around(self, map_from_cam: Rigid3d) -> References | None:
        """Asks the map server for landmarks around a pose; what has come so far, if it is of there."""
        stamp_ns = self.get_clock().now().nanoseconds
        with self._lock:
            if self._asked:  # the answer's stamp tells which request it is to; a bag's clock may stand still
                stamp_ns = max(stamp_ns, next(reversed(self._asked)) + 1)
            self._asked[stamp_ns] = map_from_cam.translation
            while len(self._asked) > _REQUESTS_KEPT:
                self._asked.popitem(last=False)
            landmarks = self._landmarks
        frame = landmarks.frame if landmarks is not None else ""
        request = PoseStamped(header=header_of(stamp_ns, frame), pose=pose_to_msg(map_from_cam))
        self.diagnostics.send(self._request, request)
        if landmarks is None:
            return None
        if landmarks.centre is not None and np.linalg.norm(landmarks.centre - map_from_cam.translation) > _SUBMAP_REACH:
            return None
        return landmarks.references

    def _track(self, msg: Any) -> None:
        """Runs in the worker. Raises ``VizlocError`` for images that cannot be used."""
        if self._loaded is None:
            raise FeatureError(f"there is no tracker: {self.obstacle}")
        tracker, _, info = self._loaded
        stopwatch = Stopwatch()
        with stopwatch("tracker_node_total"):
            image, camera = self._input.rectified(msg, stopwatch, "tracker")
            base_from_cam = self._extrinsics.base_from_cam(msg.header.frame_id)
            stamp_ns = stamp_to_ns(msg.header.stamp)
            before = tracker.state
            self._take_priors(tracker, base_from_cam, stamp_ns)
            odom_from_base = self._odometry.at(stamp_ns) if self.options.use_odometry else None
            odom_from_cam = None if odom_from_base is None else odom_from_base * base_from_cam
            tracked = tracker.track(Frame(image, camera, stamp_ns, info.intrinsics_correction(camera), odom_from_cam))
            with self._lock:
                self._searching_from = None if tracked.state is TrackerState.TRACKING else base_from_cam
            self.diagnostics.send(self._state, String(data=tracked.state.value))
            if tracked.map_from_cam is not None and tracked.covariance is not None:
                self._publish(tracked.map_from_cam, tracked.covariance, base_from_cam, odom_from_base, stamp_ns, info)
            if self._debug is not None and tracked.alignment is not None:
                self._show(image, camera, tracked, info, msg.header)
        self.diagnostics.count("processed")
        self._report(tracked, before)
        self.diagnostics.timings.add_all({**tracked.timings_ms, **stopwatch.milliseconds})

    def _take_priors(self, tracker: Tracker, base_from_cam: Rigid3d, stamp_ns: int) -> None:
        """Hands over what the callbacks have left since the last image."""
        with self._lock:
            priors, self._priors = self._priors, []
            jumped, self._jumped = self._jumped, False
        if jumped:
            tracker.reset()
        for msg, override in priors:
            try:
                map_from_cam = pose_from_msg(msg.pose.pose) * base_from_cam
            except RosError as error:
                self.diagnostics.report(Level.WARN, f"a pose to start from cannot be used: {error}")
                continue
            std = _INITIAL_STD
            if not override:
                deviations = np.sqrt(np.maximum(np.diag(np.reshape(msg.pose.covariance, (6, 6))), 0))
                std = float(np.linalg.norm(deviations[:3])), float(np.linalg.norm(deviations[3:]))
            at_ns = stamp_ns if override else stamp_to_ns(msg.header.stamp)  # a person means: now
            if tracker.offer_prior(map_from_cam, at_ns, *std, override=override):
                self.diagnostics.count("priors_used")

    def _publish(
        self,
        map_from_cam: Rigid3d,
        covariance: Float64,
        base_from_cam: Rigid3d,
        odom_from_base: Rigid3d | None,
        stamp_ns: int,
        info: MapInfo,
    ) -> None:
        cam_from_base = base_from_cam.inverse()
        map_from_base = map_from_cam * cam_from_base
        landmarks = self._landmarks
        header = header_of(stamp_ns, (landmarks.frame if landmarks else "") or info.frame)
        moved = covariance_of_product(covariance, map_from_cam, cam_from_base)
        pose = pose_with_covariance_to_msg(map_from_base, moved, header)
        self.diagnostics.send(self._pose, pose)
        self.record_latency("tracker_stamp_to_pose", stamp_ns)
        odometry = Odometry(header=header, child_frame_id=self.options.base_frame, pose=pose.pose)
        self.diagnostics.send(self._odometry_out, odometry)
        self._path.add(map_from_base, header)
        if self._tf is not None:
            if odom_from_base is not None:
                self._tf.publish(map_from_base * odom_from_base.inverse(), header, self._odometry.frame)
            elif not self.options.use_odometry:
                self._tf.publish(map_from_base, header, self.options.base_frame)

    def _show(self, image: UInt8, camera: PinholeCamera, tracked: Tracked, info: MapInfo, header: Header) -> None:
        """Publishes the landmarks' ways from the prediction to where the alignment ended."""
        landmarks = self._landmarks
        if self._debug is None or landmarks is None or tracked.alignment is None or tracked.prediction is None:
            return
        poses = [tracked.prediction.map_from_cam.inverse(), tracked.alignment.cam_from_map]
        picture = draw_travel(image, landmarks.references.points, poses, camera, info.intrinsics_correction(camera))
        height, width = picture.shape[:2]
        data = array.array("B", picture.tobytes())
        message = Image(header=header, height=height, width=width, encoding="bgr8", step=3 * width, data=data)
        self.diagnostics.send(self._debug, message)

    def _report(self, tracked: Tracked, before: TrackerState) -> None:
        diagnostics = self.diagnostics
        diagnostics.set_value("state", tracked.state.value)
        if tracked.state is TrackerState.LOST and before is TrackerState.TRACKING:
            diagnostics.count("became_lost")
        if tracked.alignment is not None:
            diagnostics.set_value("inlier_ratio", tracked.alignment.inlier_ratio)
            diagnostics.set_value("cost", tracked.alignment.cost)
            diagnostics.set_value("landmarks", tracked.alignment.points)
            diagnostics.set_value("iterations", sum(tracked.alignment.iterations))
            diagnostics.set_value("starts", tracked.starts)
            if tracked.prediction is not None:
                diagnostics.set_value("deviation", deviation(tracked.alignment, tracked.prediction))
        if tracked.map_from_cam is None:
            diagnostics.count("failed")
            diagnostics.report(Level.WARN, f"{tracked.state.value}: {tracked.reason}")
            return
        diagnostics.count("tracked")
        if tracked.alignment is not None:
            diagnostics.set_value("position_std_m", position_std(tracked.alignment))
        diagnostics.report(Level.OK, f"{tracked.state.value}")


def main(args: Sequence[str] | None = None) -> None:
    """Runs the node."""
    sys.exit(run_node(PixLocTrackerNode, args))


if __name__ == "__main__":
    main()
