"""Tracker node: tracks the camera from image to image, from the localizer's pose on, and reports when it is lost."""

from __future__ import annotations

import array
import sys
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMsg
from pycolmap import Rigid3d
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from vizloc_ros.arrays import Float64, UInt8
from vizloc_ros.errors import CameraError, FeatureError, FrozenCameraError, MapError, RosError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.covariance import max_position_std, move_to_base, position_and_rotation_std
from vizloc_ros.mapping.keyframe_rolls import KeyframeRolls
from vizloc_ros.mapping.map_format import MapInfo
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.nodes.submap_client import SubmapClient
from vizloc_ros.pixloc.debug_image import draw_travel
from vizloc_ros.pixloc.extractors.pyramid_extractor import open_pyramid_extractor
from vizloc_ros.pixloc.references import References
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.pixloc.tracking import Frame, Tracked, TrackerState
from vizloc_ros.pixloc.verification import deviation
from vizloc_ros.ros.diagnostics import Level
from vizloc_ros.ros.extrinsics import CameraExtrinsics
from vizloc_ros.ros.image_input import ImageInput
from vizloc_ros.ros.messages import (
    covariance_from_msg,
    header_of,
    pose_from_msg,
    pose_with_covariance_to_msg,
    stamp_to_ns,
)
from vizloc_ros.ros.node_options import TRACKER, TrackerNodeOptions
from vizloc_ros.ros.odometry_buffer import OdometryBuffer
from vizloc_ros.ros.parameters import declare_options
from vizloc_ros.ros.publishers import PathPublisher, TransformPublisher
from vizloc_ros.ros.qos import POSE, SENSOR, STATE
from vizloc_ros.ros.runner import run_node
from vizloc_ros.ros.served_map import MapUserNode
from vizloc_ros.ros.services import trigger_service
from vizloc_ros.ros.subscriptions import subscribe_to_either
from vizloc_ros.timing import Stopwatch
from vizloc_ros.wording import short_text

_BURST = 8  # images; one that takes long, such as an ambiguous one, costs none of the next
_MAX_PRIORS = 8
_MAX_FAULT_CHARS = 500
_INITIAL_STD = (1.0, 0.1)  # m, rad; of an initial pose that a person has set


class PixLocTrackerNode(MapUserNode):
    """Node that aligns each image with the landmarks around the predicted pose.

    The tracker belongs to the worker; callbacks only store their input for it.
    """

    def __init__(self) -> None:
        super().__init__(TRACKER, self._track, _BURST)
        self.options: TrackerNodeOptions = declare_options(
            self, TrackerNodeOptions, on_change=partial(setattr, self, "options")
        )
        self._lock = threading.Lock()  # for what callbacks store for the worker, and for its poses and another map
        self._loaded: tuple[Tracker, MapInfo] | None = None
        self._submaps = SubmapClient(self, self.options.max_submap_distance)
        self.begin(autostart=self.options.autostart)

    def open(self) -> None:
        """Create the topics, and begin without a track."""
        self._priors: list[tuple[PoseWithCovarianceStamped, bool]] = []  # with whether it overrides the track
        self._jumped = True
        self._stamp_ns = self._priors_after_ns = -1  # the last image; the last one before the track was forgotten
        self._fault = ""  # reason of the localizer for which no pose can be trusted
        self._odometry = OdometryBuffer()
        self._extrinsics = CameraExtrinsics(self, self.options.base_frame, self.options.fixed_base_from_cam)
        self._tf = TransformPublisher(self) if self.options.publish_tf else None
        self._pose = self.create_publisher(PoseWithCovarianceStamped, "pose", POSE)
        self._odometry_out = self.create_publisher(Odometry, "odometry", POSE)
        # Without a length no publisher: two nodes on path would confuse who looks at the topic.
        path = self.create_publisher(PathMsg, "path", POSE) if self.options.path_length else None
        self._path = PathPublisher(self, path, self.options.path_length)
        self._state = self.create_publisher(String, "tracker/state", STATE)
        self._debug = self.create_publisher(Image, "~/debug/image", POSE) if self.options.debug_image else None
        for counter in ("tracked", "failed", "became_lost", "priors_used"):
            self.diagnostics.count(counter, 0)
        self.diagnostics.set_value("state", TrackerState.NOT_LOCALIZED.value)
        self._submaps.open()
        # image -> ImageInput -> worker -> _track; it drops the image when the clock has jumped back
        self._input = ImageInput(
            self,
            self.options.image_transport,
            self.options.silence_timeout,
            self.options.max_image_age,
            on_jump=self._on_jump,
            on_change=self._forget_track,
            withhold_frozen=self.options.withhold_frozen,
            stable_messages=self.options.camera_info_stable,
            max_pixels=self.options.max_image_pixels,
        )
        self.create_subscription(PoseWithCovarianceStamped, "localization/pose", self._on_prior, POSE)
        self.create_subscription(String, "localization/fault", self._on_fault, STATE)
        subscribe_to_either(self, PoseWithCovarianceStamped, "initialpose", self._on_initial_pose, POSE)
        if self.options.use_odometry:
            self.create_subscription(Odometry, "odom", self._on_odometry, SENSOR)
        trigger_service(self, "relocalize", self._forget_track, "the next localization begins a track")
        trigger_service(self, "reset", self._reset, "all images and poses before are forgotten")
        super().open()

    def load(self) -> None:
        """Open the map's network, and let it run once."""
        folder = self.map_path
        visual_map = VisualMap.open(folder)
        info, rolls = visual_map.info, KeyframeRolls(visual_map.keyframe_poses)
        extractor = open_pyramid_extractor(self.options.weights, self.options.device, self.options.long_side)
        info.require_references(folder, extractor.model_id)
        for camera in info.cameras[:1]:  # images of this size are the most likely to come
            extractor.extract(np.zeros((camera.height, camera.width), np.uint8))
        self._submaps.expect(info.number)
        options, frozen = self.options.tracker, self.options.withhold_frozen
        tracker = Tracker(extractor, self._landmarks_around, options, rolls.roll_of, withhold_frozen=frozen)
        self._loaded, self.map_number = (tracker, info), info.number
        self.diagnostics.set_value("model", extractor.model_id)
        self.diagnostics.set_value("provider", self.options.provider)
        self.get_logger().info(f"tracker: {extractor.model_id} on {self.options.provider}")

    def unload(self) -> None:
        """Forget map and network."""
        self._loaded = None
        self._submaps.newest = None
        super().unload()

    def drop_map(self) -> None:
        """Publish nothing of the map from now on."""
        with self._lock:
            self._loaded = self.map_number = None
        self._reset()

    def _on_jump(self) -> None:
        self._submaps.forget_requests()
        with self._lock:
            self._jumped = True
            self._priors.clear()
            self._stamp_ns = self._priors_after_ns = -1
        self._path.clear()

    def _reset(self) -> None:
        """Forget what was derived from the images before."""
        self._forget_track()
        self._submaps.forget_requests()
        self._fault = ""
        self._path.clear()

    def _forget_track(self) -> None:
        """Forget the track: poses of images before, as with another calibration, must not begin the next one."""
        with self._lock:
            self._jumped = True
            self._priors.clear()
            self._priors_after_ns = self._stamp_ns

    def _on_prior(self, msg: PoseWithCovarianceStamped, *, override: bool = False) -> None:
        with self._lock:
            self._priors.append((msg, override))
            del self._priors[:-_MAX_PRIORS]
        self._submaps.prefetch(msg.pose.pose)

    def _on_fault(self, msg: String) -> None:
        self._fault = short_text(msg.data, _MAX_FAULT_CHARS)

    def _on_initial_pose(self, msg: PoseWithCovarianceStamped) -> None:
        self.get_logger().info("an initial pose was given")
        self._on_prior(msg, override=True)

    def _on_odometry(self, msg: Odometry) -> None:
        try:
            self._odometry.add(msg)
        except RosError as error:
            self.diagnostics.report(Level.WARN, f"odom: {error}")

    def _landmarks_around(self, map_from_cam: Rigid3d) -> References | None:
        """Request the landmarks around a predicted pose, and return those of the last answer if they are near it."""
        self._submaps.request(map_from_cam)
        return self._submaps.around(map_from_cam)

    def _track(self, msg: Any) -> None:
        """Track an image and publish its pose, in the worker. Raises ``VizlocError`` for an unusable image."""
        if self._loaded is None:
            raise FeatureError(f"there is no tracker: {self.load_error}")
        tracker, info = loaded = self._loaded
        if tracker.options != self.options.tracker:
            tracker.use(self.options.tracker)
        stopwatch = Stopwatch()
        with stopwatch("tracker_node_total"):
            try:
                image, camera = self._input.decode_and_rectify(msg, stopwatch, "tracker")
            except FrozenCameraError as error:
                self._withhold(tracker, stamp_to_ns(msg.header.stamp), str(error))
                raise
            if fault := self._fault:
                self._withhold(tracker, stamp_to_ns(msg.header.stamp), fault)
                raise CameraError(fault)
            base_from_cam = self._extrinsics.base_from_cam(msg.header.frame_id)
            stamp_ns = stamp_to_ns(msg.header.stamp)
            previous_state = tracker.state
            self._take_priors(tracker, base_from_cam, stamp_ns)
            odom_from_base = self._odometry.at(stamp_ns) if self.options.use_odometry else None
            odom_from_cam = None if odom_from_base is None else odom_from_base * base_from_cam
            tracked = tracker.track(Frame(image, camera, stamp_ns, info.intrinsics_correction(camera), odom_from_cam))
            self._submaps.prefetch_extrinsics = None if tracked.state is TrackerState.TRACKING else base_from_cam
            with self._lock:
                if self._loaded is not loaded:
                    raise MapError("the map has changed since this image")
                self.diagnostics.send(self._state, String(data=tracked.state.value))
                if tracked.map_from_cam is not None and tracked.covariance is not None:
                    self._publish(
                        tracked.map_from_cam, tracked.covariance, base_from_cam, odom_from_base, stamp_ns, info
                    )
            if self._debug is not None and tracked.alignment is not None:
                self._publish_debug_image(image, camera, tracked, info, msg.header)
        self.diagnostics.count("processed")
        self._report(tracked, previous_state)
        if self.options.use_odometry and tracker.odometry.problem:
            self.diagnostics.notice(tracker.odometry.problem)
        self.diagnostics.timings.add_all({**tracked.timings_ms, **stopwatch.milliseconds})

    def _withhold(self, tracker: Tracker, stamp_ns: int, reason: str) -> None:
        """Count an image without a pose, and publish and report the state."""
        self._submaps.missing = ""
        before, tracked = tracker.state, tracker.withhold(stamp_ns, reason)
        self.diagnostics.send(self._state, String(data=tracked.state.value))
        self._report(tracked, before)

    def _take_priors(self, tracker: Tracker, base_from_cam: Rigid3d, stamp_ns: int) -> None:
        """Give the tracker the jumps and priors that the callbacks have stored since the last image."""
        with self._lock:
            priors, self._priors = self._priors, []
            self._stamp_ns = stamp_ns
            jumped, self._jumped = self._jumped, False
        if jumped:
            tracker.reset()
        for msg, override in priors:
            try:
                map_from_cam = pose_from_msg(msg.pose.pose) * base_from_cam
                std = _INITIAL_STD if override else position_and_rotation_std(covariance_from_msg(msg))
            except RosError as error:
                self.diagnostics.report(Level.WARN, f"a pose to start from cannot be used: {error}")
                continue
            at_ns = stamp_ns if override else stamp_to_ns(msg.header.stamp)  # a person means the current image
            before = self.served is not None and self.served.is_of_map_before(at_ns)
            if not override and (before or at_ns <= self._priors_after_ns):
                continue
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
        landmarks = self._submaps.newest
        header = header_of(stamp_ns, (landmarks.frame if landmarks else "") or info.frame)
        # From the camera to base_link: an error of the rotation moves the base as well.
        base_covariance = move_to_base(covariance, map_from_cam, cam_from_base)
        pose = pose_with_covariance_to_msg(map_from_base, base_covariance, header)
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

    def _publish_debug_image(
        self, image: UInt8, camera: PinholeCamera, tracked: Tracked, info: MapInfo, header: Header
    ) -> None:
        """Publish the image with the landmarks' motion from the prediction to the result of the alignment."""
        landmarks = self._submaps.newest
        if self._debug is None or landmarks is None or tracked.alignment is None or tracked.prediction is None:
            return
        poses = [tracked.prediction.map_from_cam.inverse(), tracked.alignment.cam_from_map]
        drawn = draw_travel(image, landmarks.references.positions, poses, camera, info.intrinsics_correction(camera))
        height, width = drawn.shape[:2]
        data = array.array("B", drawn.tobytes())
        message = Image(header=header, height=height, width=width, encoding="bgr8", step=3 * width, data=data)
        self.diagnostics.send(self._debug, message)

    def _report(self, tracked: Tracked, previous_state: TrackerState) -> None:
        diagnostics = self.diagnostics
        diagnostics.set_value("state", tracked.state.value)
        if tracked.state is TrackerState.LOST and previous_state is TrackerState.TRACKING:
            diagnostics.count("became_lost")
        if tracked.alignment is not None:
            diagnostics.set_value("inlier_ratio", tracked.alignment.inlier_ratio)
            diagnostics.set_value("cost", tracked.alignment.cost)
            diagnostics.set_value("landmarks", tracked.alignment.num_points)
            diagnostics.set_value("iterations", sum(tracked.alignment.iterations))
            diagnostics.set_value("initial_poses", tracked.num_initial_poses)
            if tracked.prediction is not None:
                diagnostics.set_value("deviation", deviation(tracked.alignment, tracked.prediction))
        if tracked.map_from_cam is None:
            diagnostics.count("failed")
            missing = self._submaps.missing
            level = Level.ERROR if missing else Level.WARN
            diagnostics.report(level, f"{tracked.state.value}: {missing or tracked.reason}")
            return
        diagnostics.count("tracked")
        if tracked.alignment is not None:
            diagnostics.set_value("position_std_m", max_position_std(tracked.alignment.covariance))
        diagnostics.report(Level.OK, f"{tracked.state.value}")


def main(args: Sequence[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run_node(PixLocTrackerNode, args))


if __name__ == "__main__":
    main()
