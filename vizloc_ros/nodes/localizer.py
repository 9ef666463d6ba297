"""Localizer: features and candidates of one image in, a verified pose out, or the reason why there is none.

Several cameras are a rig: their images of one instant give one pose. One camera is a rig of one.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Path as PathMsg
from sensor_msgs.msg import PointCloud2

from vizloc_ros.errors import CameraError, FeatureError, MapError, VizlocError
from vizloc_ros.geometry.covariance import max_position_std
from vizloc_ros.localization.calibration_check import CalibrationCheck
from vizloc_ros.localization.places import Place
from vizloc_ros.localization.rig_solver import RigSolver
from vizloc_ros.localization.rig_view import RigLocalization, RigPose, RigView
from vizloc_ros.localization.warm_up import warm_up
from vizloc_ros.mapping.one_map import OneMap
from vizloc_ros.nodes.late_poses import LatePoses
from vizloc_ros.nodes.localizer_input import Joined, LocalizerInput
from vizloc_ros.parallel import MOST_PARTS, PARTS
from vizloc_ros.ros.clouds import features_from_msg, places_from_msg
from vizloc_ros.ros.diagnostics import Level
from vizloc_ros.ros.extrinsics import CameraExtrinsics
from vizloc_ros.ros.messages import header_of, pose_with_covariance_to_msg, rectified_camera_from_msg, stamp_to_ns
from vizloc_ros.ros.node_options import LOCALIZER, LocalizerOptions, topic_of
from vizloc_ros.ros.odometry_buffer import subscribe_to_odometry
from vizloc_ros.ros.parameters import declare_options
from vizloc_ros.ros.pipeline_node import PipelineNode
from vizloc_ros.ros.publishers import FaultPublisher, PathPublisher
from vizloc_ros.ros.qos import POSE
from vizloc_ros.ros.rig_join import Instant
from vizloc_ros.ros.runner import run_node
from vizloc_ros.ros.served_map import MapFollower, ServedMap
from vizloc_ros.ros.services import trigger_service
from vizloc_ros.ros.transform_output import TransformOutput
from vizloc_ros.timing import Stopwatch


@dataclass(frozen=True)
class _View:
    """Decoded messages of one camera: its image, the stamp of that [ns], and the frame of the map."""

    view: RigView
    stamp_ns: int
    map_frame: str


class LocalizerNode(PipelineNode):
    """Node that localizes the newest image whose features and candidates have arrived."""

    task = "localization"

    def __init__(self) -> None:
        super().__init__(LOCALIZER, self._localize)
        self.options: LocalizerOptions = declare_options(
            self, LocalizerOptions, on_change=partial(setattr, self, "options")
        )
        PARTS.most = self.options.threads or MOST_PARTS
        self._served: ServedMap | None = None
        self._publishing = threading.Lock()  # a pose, or the change to another map
        self.begin(autostart=self.options.autostart, cpu_affinity=self.options.cpu_affinity)

    def open(self) -> None:
        """Create the topics."""
        options = self.options
        warm_up(options.pose)
        self._extrinsics = CameraExtrinsics(
            self, options.base_frame, options.fixed_base_from_cam, moving=options.moving_mount
        )
        self._failures = 0
        self._calibrations: dict[str, CalibrationCheck] = {}
        self._fault = FaultPublisher(self)
        candidates = self.resolve_topic_name(topic_of(options.cameras[0] if options.cameras else "", "candidates"))
        self._one_map = OneMap(candidates, sure_first=True)
        self._count_map_servers = lambda: self.count_publishers(candidates)
        self._pose = self.create_publisher(PoseWithCovarianceStamped, "localization/pose", POSE)
        odometry = subscribe_to_odometry(self) if options.use_odometry else None
        self._late = None if odometry is None else LatePoses(self, odometry)
        self._tf = TransformOutput(self, options, odometry)
        # Without a length no publisher: two nodes on path would confuse who looks at the topic.
        path = self.create_publisher(PathMsg, "path", POSE) if self.options.path_length else None
        self._path = PathPublisher(self, path, self.options.path_length)
        for counter in ("localized", "failed"):
            self.diagnostics.count(counter, 0)
        # features, candidates -> LocalizerInput -> worker -> _localize
        self._input = LocalizerInput(self, options, self._jump_back, self._compare_maps)
        self._follower = MapFollower(self, lambda: self._served.number if self._served else None, self._follow)
        trigger_service(self, "reset", self._reset, "all images and poses before are forgotten")

    def _reset(self) -> None:
        """Forget the images before, and what was derived from them."""
        self._input.reset()
        self._forget_map()

    def _forget_map(self) -> None:
        """Forget what was derived from the images before with the map."""
        self._path.clear()
        self._tf.forget()
        if self._late is not None:
            self._late.forget()
        self._calibrations = {}
        self._fault.publish("")

    def _follow(self, served: ServedMap) -> None:
        """Publish nothing of the map before from now on."""
        with self._publishing:
            before, self._served = self._served, served
        if before is not None and before.number != served.number:
            self._forget_map()
        self._follower.answer()

    def _jump_back(self) -> None:
        """Forget the poses before, as the time has jumped back."""
        self._path.clear()
        self._tf.forget()
        if self._late is not None:
            self._late.forget()

    def _compare_maps(self, candidates: PointCloud2) -> None:
        """Compare the candidates of every map server, of which only the first is joined with the features."""
        if self._one_map.count(self._count_map_servers()):
            with suppress(VizlocError):  # of a message that is joined, the worker reports it
                self._take_places(places_from_msg(candidates))

    def _take_places(self, places: Sequence[Place]) -> None:
        for place in places[:1]:
            self._one_map.take(place.landmark_ids, place.positions)

    def _localize(self, instant: Instant) -> None:
        """Localize the images of one instant and publish the pose, in the worker.

        Raises ``VizlocError`` for unusable messages, if they are those of all cameras.
        """
        header = next(iter(instant.items.values()))[0].header
        if self.is_overdue(header, self.options.deadline):
            return
        stopwatch = Stopwatch()
        with stopwatch("localizer_total"):
            with stopwatch("localizer_decode"):
                views, problems = self._views(instant)
            outcome = RigSolver(self.options.pose).solve([each.view for each in views], stopwatch)
            if self.options.check_calibration:
                self._check_calibration(views, outcome, stopwatch)
            else:
                self._fault.publish("")  # one of before ends with the check
            outcome = self._live(outcome, views[0].stamp_ns)
            if outcome.pose is not None:
                self._publish(outcome.pose, views[0].stamp_ns, views[0].map_frame)
        self.diagnostics.count("processed")
        self._report(outcome, problems)
        self.record(stopwatch)

    def _views(self, instant: Instant) -> tuple[list[_View], dict[str, str]]:
        """Decoded messages of each camera, and the reason for each camera that is left out.

        Raises ``VizlocError`` if that is all of them.
        """
        if problem := self._one_map.count(self._count_map_servers()):
            raise MapError(problem)
        views: list[_View] = []
        errors: dict[str, VizlocError] = {}
        for camera, joined in instant.items.items():
            try:
                views.append(self._view(camera, joined))
            except VizlocError as error:
                errors[camera] = error
        if not views:
            raise next(iter(errors.values()))
        return views, {
            **dict.fromkeys(instant.missing, "no features and candidates in time"),
            **{camera: str(error) for camera, error in errors.items()},
        }

    def _view(self, camera: str, joined: Joined) -> _View:
        camera_msg, features_msg, candidates_msg = joined
        pinhole = rectified_camera_from_msg(camera_msg)
        features = features_from_msg(features_msg, pinhole.size)
        places = places_from_msg(candidates_msg)
        self._take_places(places)
        if places and features.descriptors.shape[1] != places[0].descriptors.shape[1]:
            raise FeatureError(
                f"features have {features.descriptors.shape[1]} elements, candidates "
                f"{places[0].descriptors.shape[1]}: start hfnet and visual_map_server with the same map"
            )
        image = features_msg.header
        stamp_ns = stamp_to_ns(image.stamp)
        base_from_cam = self._extrinsics.base_from_cam(image.frame_id, stamp_ns)
        view = RigView(camera, features, places, pinhole, base_from_cam)
        return _View(view, stamp_ns, candidates_msg.header.frame_id)

    def _check_calibration(self, views: Sequence[_View], outcome: RigLocalization, stopwatch: Stopwatch) -> None:
        """Compare the calibrations with the inliers. Raises ``CameraError`` if one is off, and stops the tracker."""
        poses, problems = outcome.pose.cameras if outcome.pose is not None else {}, []
        with stopwatch("calibration_check"):
            for view in (each.view for each in views):
                check = self._calibrations.setdefault(view.name, CalibrationCheck())
                pose = poses.get(view.name)
                problem = check.check(view.camera, view.features.keypoints, pose)
                if problem and (pose is not None or not poses):  # else the camera has no part in the pose
                    problems.append(f"{view.name}: {problem}" if view.name else problem)
        self._fault.publish(problems[0] if problems else "")
        if problems:
            raise CameraError(problems[0])

    def _live(self, outcome: RigLocalization, stamp_ns: int) -> RigLocalization:
        """Outcome without its pose, if the odometry tells that the images are late."""
        if self._late is None or outcome.pose is None:
            return outcome
        reason = self._late.check(outcome.pose.map_from_rig, outcome.pose.covariance, stamp_ns)
        return replace(outcome, pose=None, reason=reason) if reason else outcome

    def _publish(self, pose: RigPose, stamp_ns: int, map_frame: str) -> None:
        header = header_of(stamp_ns, map_frame)
        with self._publishing:
            if self._served is not None and self._served.is_of_map_before(stamp_ns):
                raise MapError("the map has changed since this image")
            self.diagnostics.send(self._pose, pose_with_covariance_to_msg(pose.map_from_rig, pose.covariance, header))
            self._path.add(pose.map_from_rig, header)
            self._tf.add(pose.map_from_rig, header)
        self.record_latency("localizer_stamp_to_pose", stamp_ns)

    def _report(self, outcome: RigLocalization, problems: Mapping[str, str]) -> None:
        """Report the outcome, and what keeps cameras of a rig from taking part."""
        diagnostics, pose = self.diagnostics, outcome.pose
        diagnostics.set_value("matches", outcome.matches)
        diagnostics.set_value("inliers", outcome.inliers)
        level, text = Level.OK, f"localized with {outcome.inliers} inliers"
        if pose is None:
            self._failures += 1
            diagnostics.count("failed")
            level, text = Level.WARN, f"not localized: {outcome.reason}"
        else:
            self._failures = 0
            diagnostics.count("localized")
            diagnostics.set_value("place", next(iter(pose.cameras.values())).place)
            diagnostics.set_value("reprojection_rms_px", pose.reprojection_rms)
            diagnostics.set_value("position_std_m", max_position_std(pose.covariance))
            if self.options.cameras:
                diagnostics.set_value("localized_by", ", ".join(pose.cameras))
                diagnostics.set_value("cameras_apart_m", pose.disagreement[0])
                diagnostics.set_value("cameras_apart_deg", pose.disagreement[1])
        if problems:
            level = Level.WARN
            text += "".join(f"; without {camera}: {problem}" for camera, problem in problems.items())
        diagnostics.report(level, text)
        diagnostics.set_value("consecutive_failures", self._failures)


def main(args: Sequence[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run_node(LocalizerNode, args))


if __name__ == "__main__":
    main()
