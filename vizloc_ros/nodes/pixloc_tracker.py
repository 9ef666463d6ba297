"""Tracker node: tracks the camera, or a rig, from the localizer's pose on, and reports when it is lost."""

from __future__ import annotations

import array
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMsg
from pycolmap import Rigid3d
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String

from vizloc_ros.arrays import Float64
from vizloc_ros.errors import CameraError, FeatureError, FrozenCameraError, MapError, VizlocError
from vizloc_ros.features.onnx_session import WARM_UP_RUNS
from vizloc_ros.geometry.covariance import max_position_std, move_to_base
from vizloc_ros.geometry.velocity import VelocityEstimator
from vizloc_ros.mapping.keyframe_rolls import KeyframeRolls
from vizloc_ros.mapping.map_format import MapInfo
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.nodes.prepared_images import ImagePreparation, PreparedImages
from vizloc_ros.nodes.submap_client import SubmapClients
from vizloc_ros.nodes.tracker_input import MountedImage, TrackerInput
from vizloc_ros.nodes.tracker_motion import MotionSensors
from vizloc_ros.nodes.tracker_priors import TrackerPriors
from vizloc_ros.pixloc.debug_image import draw_travel
from vizloc_ros.pixloc.extractors.pyramid_extractor import open_pyramid_extractor
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.pixloc.tracking import CameraImage, Frame, Tracked, TrackerState
from vizloc_ros.pixloc.verification import deviation
from vizloc_ros.ros.diagnostics import Level
from vizloc_ros.ros.fix_messages import GeographicPublisher
from vizloc_ros.ros.initial_pose import subscribe_to_initial_pose
from vizloc_ros.ros.messages import header_of, pose_with_covariance_to_msg, stamp_to_ns, twist_to_msg
from vizloc_ros.ros.node_options import TRACKER, TrackerNodeOptions
from vizloc_ros.ros.parameters import declare_options
from vizloc_ros.ros.publishers import PathPublisher
from vizloc_ros.ros.qos import POSE, STATE
from vizloc_ros.ros.rig_join import Instant
from vizloc_ros.ros.runner import run_node
from vizloc_ros.ros.served_map import MapUserNode
from vizloc_ros.ros.services import trigger_service
from vizloc_ros.ros.transform_output import TransformOutput
from vizloc_ros.timing import Stopwatch
from vizloc_ros.wording import short_text

_BURST = 8  # images; one that takes long, such as an ambiguous one, costs none of the next
_MAX_FAULT_CHARS = 500


class PixLocTrackerNode(MapUserNode):
    """Node that aligns the images of each instant with the landmarks around the predicted pose.

    The tracker belongs to the worker ``_aligning``; callbacks only store their input for it. The node's own worker
    decodes the next images, and extracts their features, while the last ones are aligned.
    """

    task = "tracking"

    def __init__(self) -> None:
        super().__init__(TRACKER, self._prepare, _BURST)
        self._aligning = self.add_worker("aligning", self._align, _BURST)
        self._preparation = ImagePreparation()
        self.options: TrackerNodeOptions = declare_options(
            self, TrackerNodeOptions, on_change=partial(setattr, self, "options")
        )
        self._publishing = threading.Lock()  # a pose, or the change to another map
        self._priors = TrackerPriors(self.diagnostics)
        self._loaded: tuple[Tracker, MapInfo] | None = None
        self._submaps = SubmapClients(self, self.options.cameras or ("",), self.options.max_submap_distance)
        self.begin(autostart=self.options.autostart, cpu_affinity=self.options.cpu_affinity)

    def open(self) -> None:
        """Create the topics, and begin without a track."""
        self._priors.jump()
        self._preparation.reset()
        self._fault = ""  # reason of the localizer for which no pose can be trusted
        options = self.options
        self._sensors = MotionSensors(self, options)
        self._tf = TransformOutput(self, options, self._sensors.odometry)
        self._velocity = _velocity_estimator(options)
        self._pose = self.create_publisher(PoseWithCovarianceStamped, "pose", POSE)
        self._odometry_out = self.create_publisher(Odometry, "odometry", POSE)
        self._fix = GeographicPublisher(self) if options.publish_fix else None
        # Without a length no publisher: two nodes on path would confuse who looks at the topic.
        path = self.create_publisher(PathMsg, "path", POSE) if self.options.path_length else None
        self._path = PathPublisher(self, path, self.options.path_length)
        self._state = self.create_publisher(String, "tracker/state", STATE)
        self._debug = self.create_publisher(Image, "~/debug/image", POSE) if self.options.debug_image else None
        for counter in ("tracked", "failed", "became_lost"):
            self.diagnostics.count(counter, 0)
        self.diagnostics.set_value("state", TrackerState.NOT_LOCALIZED.value)
        self._submaps.open()
        # images -> TrackerInput -> worker -> _prepare -> worker -> _track
        self._input = TrackerInput(self, options, self._on_jump, self._priors.forget_track)
        self.create_subscription(PoseWithCovarianceStamped, "localization/pose", self._on_prior, POSE)
        self.create_subscription(String, "localization/fault", self._on_fault, STATE)
        subscribe_to_initial_pose(self, self._map_frame, self._priors.add_guess)
        trigger_service(self, "relocalize", self._priors.forget_track, "the next localization begins a track")
        trigger_service(self, "reset", self._reset, "all images and poses before are forgotten")
        super().open()

    def load(self) -> str | None:
        """Open the map's network, and let it run once; return a warning if no fix can be published."""
        folder = self.map_path
        visual_map = VisualMap.open(folder)
        info, rolls = visual_map.info, KeyframeRolls(visual_map.keyframe_poses)
        extractor = open_pyramid_extractor(self.options.weights, self.options.device, self.options.long_side)
        info.require_references(folder, extractor.model_id)
        for camera in info.cameras[:1]:  # images of this size are the most likely to come
            images = [np.zeros((camera.height, camera.width), np.uint8)] * 2  # both workers may need features at once
            with ThreadPoolExecutor(len(images)) as pool:
                for _ in range(WARM_UP_RUNS):
                    list(pool.map(extractor.extract, images))
        self._submaps.expect(info.number)
        options, frozen = self.options.tracker, self.options.withhold_frozen
        tracker = Tracker(extractor, self._submaps.landmarks_around, options, rolls.roll_of, withhold_frozen=frozen)
        self._priors.keyframe_poses = np.array(visual_map.keyframe_poses)
        self._loaded, self.map_number = (tracker, info), info.number
        self.diagnostics.set_value("model", extractor.model_id)
        self.diagnostics.set_value("provider", self.options.provider)
        self.get_logger().info(f"tracker: {extractor.model_id} on {self.options.provider}")
        if self.options.publish_fix and info.place.datum is None:
            return f"publish_fix: the map {folder} has no datum: see vizloc map align --gnss"
        return None

    def unload(self) -> None:
        """Forget map and network."""
        self._loaded = None
        self._submaps.forget()
        super().unload()

    def drop_map(self) -> None:
        """Publish nothing of the map from now on."""
        with self._publishing:
            self._loaded = self.map_number = None
        self._reset()

    def _on_jump(self) -> None:
        self._submaps.forget_requests()
        self._priors.jump()
        self._path.clear()
        self._tf.forget()

    def _reset(self) -> None:
        """Forget what was derived from the images before."""
        self._priors.forget()
        self._submaps.forget_requests()
        self._path.clear()
        self._tf.forget()

    def _on_prior(self, msg: PoseWithCovarianceStamped) -> None:
        self._priors.add(msg)
        self._submaps.prefetch(msg.pose.pose)

    def _on_fault(self, msg: String) -> None:
        self._fault = short_text(msg.data, _MAX_FAULT_CHARS)

    def _map_frame(self) -> str:
        """Name of the map's frame, as far as it is known."""
        of_map = self._loaded[1].frame if self._loaded is not None else ""
        return self._submaps.frame or self.options.map_frame or of_map

    def _prepare(self, instant: Instant) -> None:
        """Decode the images of an instant and extract their features, in the node's worker, and submit them."""
        if self.is_overdue(_first_header(instant), self.options.deadline):
            return
        loaded = self._loaded
        tracker = loaded[0] if loaded is not None and not self._fault else None
        stride = max(1, round(self.options.feature_period / self.input_interval))
        dropped = self._aligning.submit(self._preparation.prepare(instant, self._input, tracker, stride=stride))
        for prepared in dropped:
            prepared.release()
        self.diagnostics.count("dropped", len(dropped))

    def _align(self, prepared: PreparedImages) -> None:
        """Track the images of an instant, in the other worker, and let the next ones be prepared."""
        try:
            self._track(prepared)
        finally:
            prepared.release()

    def _track(self, prepared: PreparedImages) -> None:
        """Track the images of an instant and publish its pose.

        Raises ``VizlocError`` for unusable images, if they are those of all cameras.
        """
        if self._loaded is None:
            raise FeatureError(f"there is no tracker: {self.load_error}")
        tracker, info = loaded = self._loaded
        if tracker.options != self.options.tracker:
            tracker.use(self.options.tracker)
            self._velocity = _velocity_estimator(self.options)
        images, stopwatch = prepared.images, Stopwatch()
        with stopwatch("tracker_node_total"):
            if isinstance(images, FrozenCameraError):
                self._withhold(tracker, _stamp_of(prepared.instant), str(images))
            if isinstance(images, VizlocError):
                raise images
            if fault := self._fault:
                self._withhold(tracker, _stamp_of(prepared.instant), fault)
                raise CameraError(fault)
            stamp_ns, base_from_rig = stamp_to_ns(images[0].header.stamp), self._input.base_from_rig(images)
            previous_state = tracker.state
            if self._priors.give(tracker, base_from_rig, stamp_ns, self.served):
                self._tf.forget()
            moved = self._sensors.at(stamp_ns, base_from_rig, self._input.extrinsics)
            frame = Frame(self._camera_images(images, base_from_rig, info), stamp_ns, *moved)
            features = prepared.features if prepared.tracker is tracker else None
            tracked = tracker.track(frame, features, patches_first=prepared.patches_first)
            mounts = {image.name: image.base_from_cam for image in images}
            self._submaps.expect_priors({} if tracked.state is TrackerState.TRACKING else mounts)
            if previous_state is not TrackerState.TRACKING:
                self._velocity.reset()
            with self._publishing:
                if self._loaded is not loaded:
                    raise MapError("the map has changed since this image")
                self.diagnostics.send(self._state, String(data=tracked.state.value))
                if tracked.map_from_cam is not None and tracked.covariance is not None:
                    self._publish(tracked.map_from_cam, tracked.covariance, base_from_rig, stamp_ns, info)
            if self._debug is not None and tracked.alignment is not None:
                self._publish_debug_image(frame, tracked, images[0])
        self.diagnostics.count("processed")
        self._report(tracked, previous_state, prepared.problems)
        self._sensors.report(tracker)
        self.diagnostics.timings.add_all({**prepared.timings_ms, **tracked.timings_ms, **stopwatch.milliseconds})

    def _camera_images(
        self, images: Sequence[MountedImage], base_from_rig: Rigid3d, info: MapInfo
    ) -> tuple[CameraImage, ...]:
        is_rig = len(self._input.cameras) > 1
        return tuple(
            CameraImage(
                each.image,
                each.camera,
                info.intrinsics_correction(each.camera),
                each.name,
                each.base_from_cam.inverse() * base_from_rig if is_rig else None,
            )
            for each in images
        )

    def _withhold(self, tracker: Tracker, stamp_ns: int, reason: str) -> None:
        """Count an image without a pose, and publish and report the state."""
        self._submaps.forget_missing()
        before, tracked = tracker.state, tracker.withhold(stamp_ns, reason)
        self.diagnostics.send(self._state, String(data=tracked.state.value))
        self._report(tracked, before)

    def _publish(
        self, map_from_rig: Rigid3d, covariance: Float64, base_from_rig: Rigid3d, stamp_ns: int, info: MapInfo
    ) -> None:
        rig_from_base = base_from_rig.inverse()
        map_from_base = map_from_rig * rig_from_base
        header = header_of(stamp_ns, self._submaps.frame or info.frame)
        # From the camera to base_link: an error of the rotation moves the base as well.
        base_covariance = move_to_base(covariance, map_from_rig, rig_from_base)
        pose = pose_with_covariance_to_msg(map_from_base, base_covariance, header)
        self.diagnostics.send(self._pose, pose)
        self.record_latency("tracker_stamp_to_pose", stamp_ns)
        velocity = twist_to_msg(self._velocity.add(stamp_ns, map_from_base, base_covariance))
        odometry = Odometry(header=header, child_frame_id=self.options.base_frame, pose=pose.pose, twist=velocity)
        self.diagnostics.send(self._odometry_out, odometry)
        if self._fix is not None and (datum := info.place.datum) is not None:
            of_vehicle = header_of(stamp_ns, self.options.base_frame)
            self._fix.publish(datum.earth_from_frame, map_from_base, base_covariance[:3, :3], of_vehicle)
        self._path.add(map_from_base, header)
        self._tf.add(map_from_base, header)

    def _publish_debug_image(self, frame: Frame, tracked: Tracked, first: MountedImage) -> None:
        """Publish the first image with the landmarks' motion from the prediction to the result of the alignment."""
        own, landmarks = frame.images[0], self._submaps.of(first.name)
        if self._debug is None or landmarks is None or tracked.alignment is None or tracked.prediction is None:
            return
        poses = [tracked.prediction.map_from_cam, tracked.alignment.cam_from_map.inverse()]
        seen = [own.map_from_cam(pose).inverse() for pose in poses]
        drawn = draw_travel(own.image, landmarks.positions, seen, own.camera, own.correction)
        height, width = drawn.shape[:2]
        data = array.array("B", drawn.tobytes())
        message = Image(header=first.header, height=height, width=width, encoding="bgr8", step=3 * width, data=data)
        self.diagnostics.send(self._debug, message)

    def _report(
        self, tracked: Tracked, previous_state: TrackerState, problems: Mapping[str, str] | None = None
    ) -> None:
        """Report the result, and what keeps cameras of a rig from taking part."""
        diagnostics = self.diagnostics
        left_out = {**(problems or {}), **tracked.left_out} if self.options.cameras else {}
        without = "".join(f"; without {camera}: {reason}" for camera, reason in left_out.items())
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
            diagnostics.report(level, f"{tracked.state.value}: {missing or tracked.reason}{without}")
            return
        diagnostics.count("tracked")
        diagnostics.count("by_patches", int(tracked.by_patches))
        if tracked.alignment is not None:
            diagnostics.set_value("position_std_m", max_position_std(tracked.alignment.covariance))
        if self.options.cameras:
            diagnostics.set_value("tracked_by", ", ".join(tracked.cameras))
        diagnostics.report(Level.WARN if without else Level.OK, f"{tracked.state.value}{without}")


def _first_header(instant: Instant) -> Header:
    """Header of the first camera that has an image."""
    header: Header = next(iter(instant.items.values())).header
    return header


def _stamp_of(instant: Instant) -> int:
    """Stamp of the first camera that has an image [ns]."""
    return stamp_to_ns(_first_header(instant).stamp)


def _velocity_estimator(options: TrackerNodeOptions) -> VelocityEstimator:
    motion = options.tracker.motion
    return VelocityEstimator(motion.acceleration_std, motion.turn_acceleration_std, motion.max_extrapolation)


def main(args: Sequence[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run_node(PixLocTrackerNode, args))


if __name__ == "__main__":
    main()
