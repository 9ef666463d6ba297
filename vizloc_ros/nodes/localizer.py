"""Localizer: features and candidates of one image in, a verified pose out, or the reason why there is none."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Path as PathMsg
from pycolmap import Rigid3d
from sensor_msgs.msg import CameraInfo, PointCloud2

from vizloc_ros.errors import CameraError, FeatureError, MapError, VizlocError
from vizloc_ros.features.types import Features
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.covariance import max_position_std, move_to_base
from vizloc_ros.localization.calibration_check import CalibrationCheck
from vizloc_ros.localization.outcome import Localization, LocalizedPose
from vizloc_ros.localization.places import Place
from vizloc_ros.localization.pose_solver import PoseSolver
from vizloc_ros.mapping.one_map import OneMap
from vizloc_ros.ros.clouds import features_from_msg, places_from_msg
from vizloc_ros.ros.diagnostics import Level
from vizloc_ros.ros.extrinsics import CameraExtrinsics
from vizloc_ros.ros.messages import header_of, pose_with_covariance_to_msg, rectified_camera_from_msg, stamp_to_ns
from vizloc_ros.ros.node_options import LOCALIZER, LocalizerOptions
from vizloc_ros.ros.odometry_buffer import subscribe_to_odometry
from vizloc_ros.ros.parameters import declare_options
from vizloc_ros.ros.pipeline_node import PipelineNode
from vizloc_ros.ros.publishers import FaultPublisher, PathPublisher
from vizloc_ros.ros.qos import FEATURES, POSE
from vizloc_ros.ros.runner import run_node
from vizloc_ros.ros.served_map import MapFollower, ServedMap
from vizloc_ros.ros.services import trigger_service
from vizloc_ros.ros.stamp_guard import StampGuard, Verdict
from vizloc_ros.ros.stamp_join import StampJoin
from vizloc_ros.ros.transform_output import TransformOutput
from vizloc_ros.timing import Stopwatch

_CHANNELS = ("features/camera_info", "features", "candidates")


class LocalizerNode(PipelineNode):
    """Node that localizes the newest image whose features and candidates have arrived."""

    def __init__(self) -> None:
        super().__init__(LOCALIZER, self._localize)
        self.options: LocalizerOptions = declare_options(
            self, LocalizerOptions, on_change=partial(setattr, self, "options")
        )
        self._served: ServedMap | None = None
        self._publishing = threading.Lock()  # a pose, or the change to another map
        self.begin(autostart=self.options.autostart)

    def open(self) -> None:
        """Create the topics."""
        self._join, self._stamps = StampJoin(_CHANNELS), StampGuard()
        options = self.options
        self._extrinsics = CameraExtrinsics(
            self, options.base_frame, options.fixed_base_from_cam, moving=options.moving_mount
        )
        self._failures = 0
        self._calibration = CalibrationCheck()
        self._fault = FaultPublisher(self)
        candidates = self.resolve_topic_name("candidates")
        self._one_map = OneMap(candidates, sure_first=True)
        self._count_map_servers = lambda: self.count_publishers(candidates)
        self._pose = self.create_publisher(PoseWithCovarianceStamped, "localization/pose", POSE)
        odometry = subscribe_to_odometry(self) if options.use_odometry and options.publish_tf else None
        self._tf = TransformOutput(self, options, odometry)
        # Without a length no publisher: two nodes on path would confuse who looks at the topic.
        path = self.create_publisher(PathMsg, "path", POSE) if self.options.path_length else None
        self._path = PathPublisher(self, path, self.options.path_length)
        for counter in ("localized", "failed"):
            self.diagnostics.count(counter, 0)
        # features, candidates -> StampJoin -> worker -> _localize
        for channel, message_type in zip(_CHANNELS, (CameraInfo, PointCloud2, PointCloud2), strict=True):
            self.create_subscription(message_type, channel, self._receiver(channel), FEATURES)
        self._follower = MapFollower(self, lambda: self._served.number if self._served else None, self._follow)
        trigger_service(self, "reset", self._reset, "all images and poses before are forgotten")

    def _reset(self) -> None:
        """Forget the images before, and what was derived from them."""
        self._join.reset()
        self._forget_map()

    def _forget_map(self) -> None:
        """Forget what was derived from the images before with the map."""
        self._path.clear()
        self._tf.forget()
        self._calibration = CalibrationCheck()
        self._fault.publish("")

    def _follow(self, served: ServedMap) -> None:
        """Publish nothing of the map before from now on."""
        with self._publishing:
            before, self._served = self._served, served
        if before is not None and before.number != served.number:
            self._forget_map()
        self._follower.answer()

    def _receiver(self, channel: str) -> Any:
        def receive(msg: Any) -> None:
            stamp = stamp_to_ns(msg.header.stamp)
            # For the join alone: hfnet has dropped and reported images out of order. The first of its two messages
            # reveals a jump; candidates do not, they may be late ones from before it.
            if channel != "candidates" and self._stamps.check(stamp).verdict is Verdict.JUMPED_BACK:
                self._join.reset()
                self._path.clear()
                self._tf.forget()
            if channel == "candidates" and self._one_map.count(self._count_map_servers()):
                self._compare_maps(msg)
            joined = self._join.add(channel, stamp, msg)
            for name, count in self._join.dropped.items():
                self.diagnostics.set_value(f"without_{name}", count)
            if joined is not None:
                self.submit(joined)

        return receive

    def _compare_maps(self, candidates: PointCloud2) -> None:
        """Compare the candidates of every map server, of which only the first is joined with the features."""
        with suppress(VizlocError):  # of a message that is joined, the worker reports it
            self._take_places(places_from_msg(candidates))

    def _take_places(self, places: Sequence[Place]) -> None:
        for place in places[:1]:
            self._one_map.take(place.landmark_ids, place.positions)

    def _localize(self, joined: tuple[CameraInfo, PointCloud2, PointCloud2]) -> None:
        """Localize one image and publish its pose, in the worker. Raises ``VizlocError`` for unusable messages."""
        camera_msg, features_msg, candidates_msg = joined
        stopwatch = Stopwatch()
        with stopwatch("localizer_total"):
            with stopwatch("localizer_decode"):
                camera = rectified_camera_from_msg(camera_msg)
                features = features_from_msg(features_msg, camera.size)
                places = places_from_msg(candidates_msg)
            if problem := self._one_map.count(self._count_map_servers()):
                raise MapError(problem)
            self._take_places(places)
            if places and features.descriptors.shape[1] != places[0].descriptors.shape[1]:
                raise FeatureError(
                    f"features have {features.descriptors.shape[1]} elements, candidates "
                    f"{places[0].descriptors.shape[1]}: start hfnet and visual_map_server with the same map"
                )
            image = features_msg.header
            base_from_cam = self._extrinsics.base_from_cam(image.frame_id, stamp_to_ns(image.stamp))
            outcome = PoseSolver(self.options.pose).solve(features, places, camera, stopwatch)
            if self.options.check_calibration:
                self._check_calibration(camera, features, outcome, stopwatch)
            else:
                self._fault.publish("")  # one of before ends with the check
            if outcome.pose is not None:
                self._publish(outcome.pose, base_from_cam, features_msg, candidates_msg.header.frame_id)
        self.diagnostics.count("processed")
        self._report(outcome)
        self.record(stopwatch)

    def _check_calibration(
        self, camera: PinholeCamera, features: Features, outcome: Localization, stopwatch: Stopwatch
    ) -> None:
        """Compare the calibration with the inliers. Raises ``CameraError`` if it is off, and stops the tracker."""
        with stopwatch("calibration_check"):
            problem = self._calibration.check(camera, features.keypoints, outcome.pose)
        self._fault.publish(problem)
        if problem:
            raise CameraError(problem)

    def _publish(self, pose: LocalizedPose, base_from_cam: Rigid3d, image: PointCloud2, map_frame: str) -> None:
        cam_from_base = base_from_cam.inverse()
        map_from_base = pose.map_from_cam * cam_from_base
        # From the camera to base_link: an error of the rotation moves the base as well.
        covariance = move_to_base(pose.covariance, pose.map_from_cam, cam_from_base)
        stamp_ns = stamp_to_ns(image.header.stamp)
        header = header_of(stamp_ns, map_frame)
        with self._publishing:
            if self._served is not None and self._served.is_of_map_before(stamp_ns):
                raise MapError("the map has changed since this image")
            self.diagnostics.send(self._pose, pose_with_covariance_to_msg(map_from_base, covariance, header))
            self._path.add(map_from_base, header)
            self._tf.add(map_from_base, header)
        self.record_latency("localizer_stamp_to_pose", stamp_ns)

    def _report(self, outcome: Localization) -> None:
        diagnostics = self.diagnostics
        diagnostics.set_value("matches", outcome.matches)
        diagnostics.set_value("inliers", outcome.inliers)
        if outcome.pose is None:
            self._failures += 1
            diagnostics.count("failed")
            diagnostics.report(Level.WARN, f"not localized: {outcome.reason}")
        else:
            self._failures = 0
            diagnostics.count("localized")
            diagnostics.set_value("place", outcome.pose.place)
            diagnostics.set_value("reprojection_rms_px", outcome.pose.reprojection_rms)
            diagnostics.set_value("position_std_m", max_position_std(outcome.pose.covariance))
            diagnostics.report(Level.OK, f"localized with {outcome.inliers} inliers")
        diagnostics.set_value("consecutive_failures", self._failures)


def main(args: Sequence[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run_node(LocalizerNode, args))


if __name__ == "__main__":
    main()
