"""The only process that holds the map: global descriptors in, landmarks of the retrieved places out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from geometry_msgs.msg import PoseArray, PoseStamped
from sensor_msgs.msg import PointCloud2

from vizloc_ros.errors import MapError
from vizloc_ros.geometry.poses import pose_of
from vizloc_ros.localization.places import Place, PlaceFinder
from vizloc_ros.mapping.check import check_map
from vizloc_ros.mapping.map_format import feature_number
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.pixloc.submap import Submap, SubmapSelector
from vizloc_ros.ros.clouds import (
    Candidates,
    candidates_to_msg,
    global_descriptor_from_msg,
    map_points_to_msg,
    submap_to_msg,
)
from vizloc_ros.ros.messages import header_of, pose_from_msg, poses_to_msg, stamp_to_ns
from vizloc_ros.ros.node_options import MapServerOptions
from vizloc_ros.ros.parameters import declare_options
from vizloc_ros.ros.pipeline_node import PipelineNode
from vizloc_ros.ros.qos import FEATURES, LATCHED, POSE
from vizloc_ros.ros.runner import run_node
from vizloc_ros.timing import Stopwatch


class MapServerNode(PipelineNode):
    """Answers each global descriptor with candidates, and shows the map."""

    def __init__(self) -> None:
        super().__init__("map_server", self._answer)
        self.options = declare_options(self, MapServerOptions)
        self._map: VisualMap | None = None
        self._finder: PlaceFinder | None = None
        self._candidates = self.create_publisher(PointCloud2, "candidates", FEATURES)
        self._points = self.create_publisher(PointCloud2, "map/points", LATCHED)
        self._keyframes = self.create_publisher(PoseArray, "map/keyframes", LATCHED)
        self.diagnostics.watch("candidates_listeners", self._candidates.get_subscription_count)
        self._submap = self.create_publisher(PointCloud2, "submap", LATCHED)
        self._selector: SubmapSelector | None = None
        self._model_number = 0
        self._sent: Submap | None = None
        self.diagnostics.watch("submap_listeners", self._submap.get_subscription_count)
        self._requests = self.add_worker("submap", self._answer_request)
        self.when_possible(self._load_map)
        self.create_subscription(PointCloud2, "global_descriptor", self.submit, FEATURES)
        self.create_subscription(PoseStamped, "submap/request", self._requests.submit, POSE)

    @property
    def map_frame(self) -> str:
        """Frame of everything this node publishes."""
        return self.options.map_frame or (self._map.info.frame if self._map else "map")

    def _load_map(self) -> None:
        folder = Path(self.options.map_path)
        if self.options.verify_map:
            check_map(folder)
        visual_map = VisualMap.open(folder)
        self._map, self._finder = visual_map, PlaceFinder(visual_map, self.options.retrieval)
        if visual_map.info.pixloc is not None:
            self._selector = SubmapSelector(visual_map, self.options.submap)
            self._model_number = feature_number(visual_map.info.pixloc.model_id)
        self.diagnostics.set_value("map", str(folder))
        self.diagnostics.set_value("keyframes", visual_map.info.keyframes)
        self.diagnostics.set_value("landmarks", visual_map.info.landmarks)
        self._show(visual_map)
        self.get_logger().info(
            f"map {folder}: {visual_map.info.keyframes} keyframes, {visual_map.info.landmarks} landmarks, "
            f"{visual_map.info.extractor.feature_id}"
        )

    def _show(self, visual_map: VisualMap) -> None:
        header = header_of(self.get_clock().now().nanoseconds, self.map_frame)
        step = -(-visual_map.info.landmarks // self.options.max_map_points)
        self.diagnostics.send(self._points, map_points_to_msg(np.array(visual_map.landmark_positions[::step]), header))
        self.diagnostics.send(self._keyframes, poses_to_msg(map(pose_of, visual_map.keyframe_poses), header))

    def _answer(self, msg: PointCloud2) -> None:
        """Runs in the worker. Raises ``VizlocError`` for a descriptor that does not fit the map."""
        if self._finder is None or self._map is None:
            raise MapError(f"the map {self.options.map_path} is not loaded")
        stopwatch = Stopwatch()
        with stopwatch("map_server_total"):
            query = global_descriptor_from_msg(msg)
            self._map.require_features(query.feature_id, "the features that arrive")
            found = self._finder.find(query.descriptor, stopwatch)
            with stopwatch("map_server_encode"):
                header = header_of(stamp_to_ns(msg.header.stamp), self.map_frame)
                self.diagnostics.send(self._candidates, candidates_to_msg(_candidates(found.places), header))
        self.diagnostics.count("processed")
        self.diagnostics.set_value("places", len(found.places))
        self.diagnostics.set_value("best_keyframe", self._map.keyframe_names[int(found.keyframes[0])])
        self.diagnostics.set_value("similarity", float(found.similarities[0]))
        self.record(stopwatch)

    def _answer_request(self, msg: PoseStamped) -> None:
        """Runs in a worker of its own: sends the landmarks around a camera when it has moved on from the last ones."""
        if self._map is None:
            raise MapError(f"the map {self.options.map_path} is not loaded")
        if self._selector is None:
            self._map.require_references("")
            return
        stopwatch = Stopwatch()
        with stopwatch("submap"):
            submap = self._selector.around(pose_from_msg(msg.pose))
            if submap is None or submap is self._sent:
                return
            header = header_of(stamp_to_ns(msg.header.stamp), self.map_frame)
            self._sent = submap
            self.diagnostics.send(self._submap, submap_to_msg(submap.references, self._model_number, header))
        self.diagnostics.count("submaps")
        self.diagnostics.set_value("submap_landmarks", len(submap.references))
        self.record(stopwatch)


def _candidates(places: Sequence[Place]) -> Candidates:
    """Places one after the other, each row with the rank of its place."""
    return Candidates(
        points=np.concatenate([place.positions for place in places]),
        landmarks=np.concatenate([place.landmarks for place in places]).astype(np.int64),
        places=np.repeat(np.arange(len(places)), [len(place.landmarks) for place in places]),
        descriptors=np.concatenate([place.descriptors for place in places]),
    )


def main(args: Sequence[str] | None = None) -> None:
    """Runs the node."""
    sys.exit(run_node(MapServerNode, args))


if __name__ == "__main__":
    main()
