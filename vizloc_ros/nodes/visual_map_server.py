"""Server of the visual map: global descriptors in, landmarks of the retrieved places out; submaps for the tracker."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from geometry_msgs.msg import PoseArray, PoseStamped, PoseWithCovarianceStamped
from sensor_msgs.msg import NavSatFix, PointCloud2

from vizloc_ros.bags.gnss_fixes import fix_of_message
from vizloc_ros.errors import MapError, VizlocError
from vizloc_ros.geometry.poses import pose_of
from vizloc_ros.localization.gnss_area import GnssArea
from vizloc_ros.localization.places import PlaceFinder
from vizloc_ros.mapping.bus_guard import GUARD
from vizloc_ros.mapping.check import check_map
from vizloc_ros.mapping.level import level_note
from vizloc_ros.mapping.map_format import no_references
from vizloc_ros.mapping.sfm_report import UNKNOWN_SCALE
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.nodes.load_map import LoadMapService
from vizloc_ros.pixloc.submap import Submap, SubmapSelector
from vizloc_ros.ros.clouds import global_descriptor_from_msg, map_points_to_msg, places_to_msg, submap_to_msg
from vizloc_ros.ros.diagnostics import Level
from vizloc_ros.ros.initial_pose import GuessWatch
from vizloc_ros.ros.messages import header_of, pose_from_msg, poses_to_msg, stamp_to_ns
from vizloc_ros.ros.node_options import VISUAL_MAP_SERVER, VisualMapServerOptions, topic_of
from vizloc_ros.ros.parameters import declare_options
from vizloc_ros.ros.pipeline_node import PipelineNode
from vizloc_ros.ros.publishers import TransformPublisher
from vizloc_ros.ros.qos import FEATURES, LATCHED, POSE, SENSOR
from vizloc_ros.ros.runner import run_node
from vizloc_ros.ros.served_map import MapAnnouncement, ServedMap
from vizloc_ros.ros.tracker_watch import TrackerWatch
from vizloc_ros.timing import Stopwatch

EARTH_FRAME = "earth"  # ECEF, by REP 105
_LOOK_SECONDS = 1.0
_RELEASE_EVERY = 20  # answers, after which the visited parts of the map no longer count as this process's memory

# Keys of the diagnostics
CANDIDATES_LISTENERS = "candidates_listeners"
SUBMAP_LISTENERS = "submap_listeners"


@dataclass(frozen=True)
class LoadedMap:
    """Map with what answers from it.

    Attributes:
        visual_map: the map.
        finders: finders of places by camera; that of the only camera has no name.
        selector: selector of submaps; None for a map without reference features.
        number: number of the map.
        gnss: what GNSS says where the vehicle is.
    """

    visual_map: VisualMap
    finders: dict[str, PlaceFinder]
    selector: SubmapSelector | None
    number: int
    gnss: GnssArea

    @classmethod
    def of(cls, visual_map: VisualMap, options: VisualMapServerOptions) -> LoadedMap:
        """Prepare a map for answers."""
        datum = visual_map.info.place.datum
        earth_from_map = datum.earth_from_frame if datum is not None else None
        finder = PlaceFinder(visual_map, options.retrieval)
        with suppress(VizlocError):  # the first answer takes longer; the next one tells what is wrong with the map
            found = finder.find(np.asarray(visual_map.global_descriptors[0]), Stopwatch())
            places_to_msg(found.places, header_of(0, ""))
        return cls(
            visual_map,
            {camera: finder.of_another_camera() for camera in options.cameras or ("",)},
            SubmapSelector(visual_map, options.submap) if visual_map.info.pixloc is not None else None,
            visual_map.info.number,
            GnssArea(earth_from_map, options.min_fix_error, options.retrieval.max_speed),
        )


class VisualMapServerNode(PipelineNode):
    """Node with the map: it answers global descriptors with candidates and poses with submaps, and shows the map.

    Its name is not ``map_server``: that is nav2's server of an occupancy grid.
    """

    task = "map"

    def __init__(self) -> None:
        super().__init__(VISUAL_MAP_SERVER, partial(self._answer_descriptor, ""))
        self.options: VisualMapServerOptions = declare_options(
            self, VisualMapServerOptions, on_change=partial(setattr, self, "options")
        )
        self._cameras = {
            camera: self.add_worker(camera, partial(self._answer_descriptor, camera)) for camera in self.options.cameras
        } or {"": self._worker}
        self._loaded: LoadedMap | None = None
        self._answering = threading.Lock()  # a message that is published, or the change to another map
        self._answers, self._answered_ns, self._since_ns = 0, -1, -1
        self._text = ""  # about the map
        self._last_submaps: dict[str, Submap] = {}  # by camera
        self._requests = {
            camera: self.add_worker(topic_of(camera, "submap"), partial(self._answer_request, camera))
            for camera in self._cameras
        }
        self._load_map = LoadMapService(self)
        self.begin(autostart=self.options.autostart, cpu_affinity=self.options.cpu_affinity)

    def open(self) -> None:
        """Create the topics."""
        self._candidates = {
            camera: self.create_publisher(PointCloud2, topic_of(camera, "candidates"), FEATURES)
            for camera in self._cameras
        }
        self._points = self.create_publisher(PointCloud2, "map/points", LATCHED)
        self._keyframes = self.create_publisher(PoseArray, "map/keyframes", LATCHED)
        self.diagnostics.watch(
            CANDIDATES_LISTENERS, lambda: min(one.get_subscription_count() for one in self._candidates.values())
        )
        self._submaps = {
            camera: self.create_publisher(PointCloud2, topic_of(camera, "submap"), LATCHED) for camera in self._cameras
        }
        self._last_submaps = {}
        self.diagnostics.watch(
            SUBMAP_LISTENERS, lambda: max(one.get_subscription_count() for one in self._submaps.values())
        )
        self._earth: TransformPublisher | None = None
        self.announcement = MapAnnouncement(self)
        self.tracker = TrackerWatch(self)
        self._guess = GuessWatch(self, lambda: self.map_frame if self._loaded is not None else "")
        self.create_timer(_LOOK_SECONDS, self._look_after_map, clock=self.diagnostics.clock)
        for camera, worker in self._cameras.items():
            topic = topic_of(camera, "global_descriptor")
            self.create_subscription(PointCloud2, topic, partial(self.submit, worker=worker), FEATURES)
            self.create_subscription(
                PoseStamped, topic_of(camera, "submap/request"), self._requests[camera].submit, POSE
            )
        self.create_subscription(NavSatFix, "fix", self._on_fix, SENSOR)
        self.create_subscription(PoseWithCovarianceStamped, "localization/pose", self._on_localization, POSE)

    def load(self) -> str | None:
        """Open the map of ``map_path``; return a warning about it, if there is one."""
        return self._take(self._open(Path(self.options.map_path), verify=self.options.verify_map))

    def unload(self) -> None:
        """Forget the map."""
        self._loaded, self._last_submaps = None, {}

    def change_map(self, folder: Path) -> str:
        """Serve another map from now on, or raise ``VizlocError`` and keep the one before; return a text about it."""
        self.show_loaded(self._take(self._open(folder, verify=True)))
        self.loaded()
        return self._text

    def loaded(self) -> None:
        """Publish the map, and announce it to those who work with it."""
        if (loaded := self._loaded) is None:
            return
        self._guess.forget()
        self._publish_map(loaded.visual_map)
        self._publish_earth(loaded.visual_map)
        path = str(loaded.visual_map.folder.absolute())
        self.announcement.announce(ServedMap(number=loaded.number, path=path, since_ns=self._since_ns))

    @property
    def map_frame(self) -> str:
        """Frame of all messages of this node."""
        return self.options.map_frame or (self._loaded.visual_map.info.frame if self._loaded else "map")

    def _on_fix(self, msg: NavSatFix) -> None:
        if (loaded := self._loaded) is not None:
            loaded.gnss.add_fix(fix_of_message(msg))

    def _on_localization(self, msg: PoseWithCovarianceStamped) -> None:
        stamp_ns = stamp_to_ns(msg.header.stamp)
        if (loaded := self._loaded) is not None and stamp_ns > self._since_ns:  # else it is one in the map before
            loaded.gnss.add_pose(pose_from_msg(msg.pose.pose).translation, stamp_ns)

    def _open(self, folder: Path, *, verify: bool) -> LoadedMap:
        if verify:
            check_map(folder)
        visual_map = VisualMap.open(folder)
        GUARD.protect(visual_map.mapped_arrays)
        return LoadedMap.of(visual_map, self.options)

    def _take(self, loaded: LoadedMap) -> str | None:
        """Answer with another map from now on; return a warning about it, if there is one."""
        with self._answering:
            self._loaded, self._last_submaps, self._since_ns = loaded, {}, self._answered_ns
        folder, info = loaded.visual_map.folder, loaded.visual_map.info
        self.diagnostics.set_value("map", str(folder))
        self.diagnostics.set_value("keyframes", info.keyframes)
        self.diagnostics.set_value("landmarks", info.landmarks)
        self._text = (
            f"map {folder}: {info.keyframes} keyframes, {info.landmarks} landmarks, {info.extractor.feature_id}"
        )
        if note := level_note(np.array(loaded.visual_map.keyframe_poses)):
            self.get_logger().warning(f"map {folder}: {note}")
        self.get_logger().info(self._text)
        loaded.visual_map.release_pages()
        if info.scale == "metric":
            return None
        self.get_logger().warning(f"map {folder}: {UNKNOWN_SCALE}")
        return f"map {folder}: {UNKNOWN_SCALE}"

    def _look_after_map(self) -> None:
        """Load the map again once it is whole, if its files were changed in place; nothing is answered meanwhile."""
        self.announcement.remind()
        if (loaded := self._loaded) is None:
            return
        try:
            loaded.visual_map.watch.require_unchanged()
        except MapError as error:
            self.diagnostics.set_standing(Level.ERROR, str(error))
            self.get_logger().error(str(error), throttle_duration_sec=30.0)
            with suppress(MapError):
                again = self._open(loaded.visual_map.folder, verify=True)
                if again.visual_map.info == loaded.visual_map.info:
                    self.show_loaded(self._take(again))
                    self.loaded()

    def _publish_map(self, visual_map: VisualMap) -> None:
        header = header_of(self.get_clock().now().nanoseconds, self.map_frame)
        step = -(-visual_map.info.landmarks // self.options.max_map_points)
        self.diagnostics.send(self._points, map_points_to_msg(np.array(visual_map.landmark_positions[::step]), header))
        self.diagnostics.send(self._keyframes, poses_to_msg(map(pose_of, visual_map.keyframe_poses), header))

    def _publish_earth(self, visual_map: VisualMap) -> None:
        """Latch the pose of the map on the earth, if it is known."""
        datum = visual_map.info.place.datum
        if datum is None or not self.options.publish_earth:
            return
        if self._earth is None:
            self._earth = TransformPublisher(self, static=True)
        header = header_of(self.get_clock().now().nanoseconds, EARTH_FRAME)
        self._earth.publish(datum.earth_from_frame, header, self.map_frame)

    def _answer_descriptor(self, camera: str, msg: PointCloud2) -> None:
        """Publish the candidates for a global descriptor of a camera, in the worker of that.

        Raises ``VizlocError`` for a descriptor that does not fit the map.
        """
        if (loaded := self._loaded) is None:
            raise self._no_map()
        visual_map = loaded.visual_map
        visual_map.watch.require_unchanged()
        stopwatch = Stopwatch()
        with stopwatch("visual_map_server_total"):
            query = global_descriptor_from_msg(msg)
            visual_map.require_features(query.feature_id, "the features that arrive")
            stamp_ns = stamp_to_ns(msg.header.stamp)
            at_ns = None if self.tracker.is_tracking else stamp_ns
            guess = self._guess.current  # a person's word is stronger than a receiver's
            area = loaded.gnss.at(stamp_ns) if guess is None else guess.area
            found = loaded.finders[camera].find(query.descriptor, stopwatch, at_ns, area, anew=guess is not None)
            with stopwatch("visual_map_server_encode"):
                header = header_of(stamp_ns, self.map_frame)
                message = places_to_msg(found.places, header)
            visual_map.watch.require_unchanged()
            with self._answering:
                self._require_current(loaded)
                self._answered_ns = stamp_ns
                self.diagnostics.send(self._candidates[camera], message)
        self.diagnostics.count("processed")
        self.diagnostics.set_value("fix", loaded.gnss.state if guess is None else "not used: initialpose was given")
        self.diagnostics.set_value("searched_keyframes", found.searched)
        self.diagnostics.set_value("places", len(found.places))
        self.diagnostics.set_value("best_keyframe", visual_map.keyframe_names[int(found.keyframes[0])])
        self.diagnostics.set_value("similarity", float(found.similarities[0]))
        self._answers += 1
        if self._answers % _RELEASE_EVERY == 0:
            visual_map.release_pages()
        self.record(stopwatch)

    def _answer_request(self, camera: str, msg: PoseStamped) -> None:
        """Publish the submap around a camera if it is another one than its last, in a worker of its own."""
        if (loaded := self._loaded) is None:
            raise self._no_map()
        if loaded.selector is None:
            raise no_references(loaded.visual_map.folder)
        loaded.visual_map.watch.require_unchanged()
        stopwatch = Stopwatch()
        with stopwatch("submap"):
            submap = loaded.selector.around(pose_from_msg(msg.pose), camera)
            if submap is None or submap is self._last_submaps.get(camera):
                return
            header = header_of(stamp_to_ns(msg.header.stamp), self.map_frame)
            message = submap_to_msg(submap.references, loaded.number, header)
            loaded.visual_map.watch.require_unchanged()
            with self._answering:
                self._require_current(loaded)
                self._last_submaps[camera] = submap
                self.diagnostics.send(self._submaps[camera], message)
        self.diagnostics.count("submaps")
        self.diagnostics.set_value("submap_landmarks", len(submap.references))
        self.record(stopwatch)

    def _no_map(self) -> MapError:
        return MapError(f"the map {self.options.map_path} is not loaded")

    def _require_current(self, loaded: LoadedMap) -> None:
        if self._loaded is not loaded:
            raise MapError("the map has changed since this input")


def main(args: Sequence[str] | None = None) -> None:
    """Run the node."""
    sys.exit(run_node(VisualMapServerNode, args))


if __name__ == "__main__":
    main()
