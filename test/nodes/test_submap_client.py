"""The tracker's requests for landmarks, and which answers it uses."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from pycolmap import Rigid3d, Rotation3d
from ros_helpers import ros_context

from vizloc_ros.nodes.submap_client import SubmapClient
from vizloc_ros.pixloc.references import QuantizedLevel, QuantizedReferences
from vizloc_ros.ros.clouds import submap_to_msg
from vizloc_ros.ros.messages import header_of, pose_from_msg, pose_to_msg, stamp_to_ns
from vizloc_ros.ros.pipeline_node import PipelineNode

pytestmark = pytest.mark.ros


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[PipelineNode]:
    with ros_context() as context:
        monkeypatch.setattr("rclpy.node.get_default_context", lambda *_: context)
        node = PipelineNode("tracker", lambda _: None)
        yield node
        node.destroy_node()


@pytest.fixture
def requests(node: PipelineNode, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The messages that the node sends."""
    sent: list[Any] = []
    monkeypatch.setattr(node.diagnostics, "send", lambda publisher, message: sent.append(message))
    return sent


@pytest.fixture
def client(node: PipelineNode, requests: list[Any]) -> SubmapClient:
    client = SubmapClient(node)
    client.open()
    return client


def pose_at(x: float) -> Rigid3d:
    return Rigid3d(Rotation3d(), np.array([x, 0.0, 0.0]))


def answer(stamp: Any, landmarks: int = 3, map_number: int = 7, x: float = 1.0) -> Any:
    level = QuantizedLevel(
        np.ones((landmarks, 4), np.int8), np.ones(landmarks, np.float16), np.ones(landmarks, np.float16)
    )
    references = QuantizedReferences(np.full((landmarks, 3), x), np.arange(landmarks), (level,))
    return submap_to_msg(references, map_number, header_of(stamp_to_ns(stamp), "map"))


def test_a_request_has_the_camera_s_pose_and_the_frame_of_the_landmarks(
    client: SubmapClient, requests: list[Any]
) -> None:
    client.request(pose_at(5.0))
    client._on_submap(answer(requests[0].header.stamp))
    client.request(pose_at(6.0))
    assert [pose_from_msg(request.pose).translation[0] for request in requests] == [5.0, 6.0]
    assert [request.header.frame_id for request in requests] == ["", "map"]


def test_stamps_of_requests_rise_although_the_clock_stands_still(client: SubmapClient, requests: list[Any]) -> None:
    client._node.get_clock = lambda: type("Still", (), {"now": lambda _: type("Now", (), {"nanoseconds": 7})})()
    for x in range(60):
        client.request(pose_at(x))
    assert [stamp_to_ns(request.header.stamp) for request in requests] == list(range(7, 67))
    client._on_submap(answer(requests[0].header.stamp))
    assert client.newest is not None
    assert client.newest.center is None, "only the last fifty are remembered"
    client._on_submap(answer(requests[10].header.stamp))
    assert client.newest.center.tolist() == [10.0, 0.0, 0.0]


def test_landmarks_are_used_near_the_pose_they_were_requested_for(client: SubmapClient, requests: list[Any]) -> None:
    assert client.around(pose_at(0.0)) is None, "nothing has come yet"
    client.request(pose_at(0.0))
    client._on_submap(answer(requests[0].header.stamp, landmarks=5))
    assert len(client.around(pose_at(14.9))) == 5
    assert client.around(pose_at(15.1)) is None


def test_an_answer_that_is_overdue_is_not_stretched(client: SubmapClient, requests: list[Any]) -> None:
    client.request(pose_at(0.0))
    client._on_submap(answer(requests[-1].header.stamp))
    assert client.around(pose_at(14.5)) is not None
    assert client.missing == ""
    assert client.around(pose_at(15.5)) is None
    assert "visual_map_server has not answered on /submap for the last 15.5 m (listeners" in client.missing
    client.request(pose_at(15.5))
    client._on_submap(answer(requests[-1].header.stamp))
    assert client.around(pose_at(15.5)) is not None
    assert client.missing == ""


def test_submaps_of_two_maps_are_refused(
    client: SubmapClient, node: PipelineNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    publishers = [1]
    monkeypatch.setattr(node, "count_publishers", lambda _: publishers[0])
    client._on_submap(answer(node.get_clock().now().to_msg()))
    publishers[0] = 2
    assert client.around(pose_at(0.0)) is not None
    client._on_submap(answer(node.get_clock().now().to_msg(), x=5.0))
    assert client.around(pose_at(0.0)) is None
    assert "2 publishers on /submap: their maps differ" in client.missing
    publishers[0] = 1
    assert client.around(pose_at(0.0)).positions[0, 0] == 1.0


def test_landmarks_of_a_forgotten_request_are_used_everywhere(client: SubmapClient, requests: list[Any]) -> None:
    client.request(pose_at(0.0))
    client.forget_requests()
    client._on_submap(answer(requests[0].header.stamp))
    assert client.around(pose_at(100.0)) is not None


def test_priors_are_prefetched_while_the_extrinsics_are_set(client: SubmapClient, requests: list[Any]) -> None:
    client.prefetch(pose_to_msg(pose_at(1.0)))
    assert not requests
    client.prefetch_extrinsics = pose_at(0.5)
    client.prefetch(pose_to_msg(pose_at(1.0)))
    assert pose_from_msg(requests[0].pose).translation[0] == 1.5
    broken = pose_to_msg(pose_at(1.0))
    broken.orientation.w = 2.0
    client.prefetch(broken)
    client.prefetch_extrinsics = None
    client.prefetch(pose_to_msg(pose_at(1.0)))
    assert len(requests) == 1


def test_landmarks_of_another_map_are_not_used(client: SubmapClient, requests: list[Any]) -> None:
    """In any order: those of the map before may come late, those of the next one early."""
    client.request(pose_at(0.0))
    stamp = requests[0].header.stamp
    client._on_submap(answer(stamp, map_number=8))
    assert client.around(pose_at(0.0)) is not None, "no map has been loaded to compare with"
    client.expect(7)
    assert client.around(pose_at(0.0)) is None
    client._on_submap(answer(stamp, map_number=8))
    assert client.around(pose_at(0.0)) is None
    client._on_submap(answer(stamp, map_number=7))
    client._on_submap(answer(stamp, map_number=8))
    assert client.newest is not None
    assert client.newest.map_number == 7
    client.expect(7)
    assert client.around(pose_at(0.0)) is not None
