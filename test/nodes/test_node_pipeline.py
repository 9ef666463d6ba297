"""Nodes as processes of their own, on real messages: poses, wrong inputs, recovery."""

import array
import shutil
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import TransformStamped
from node_helpers import COMPOSED, FRAME, IDENTITY, RVIZ_OF_TRACKER, Bench, bench, expect_shown, rviz_topics
from sensor_msgs.msg import CameraInfo, RegionOfInterest

from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.mapping.builder import build_map
from vizloc_ros.options import leaves
from vizloc_ros.ros.messages import header_of, rectified_camera_to_msg
from vizloc_ros.ros.node_options import LOCALIZING, NODE_OPTIONS
from vizloc_ros.ros.qos import LATCHED, POSE

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def map_path(street_build):
    """Folder of the map."""
    return street_build[0]


@pytest.fixture(scope="session")
def other_map_path(street, tmp_path_factory):
    """Folder of a map of the same place with features of another kind."""
    folder = tmp_path_factory.mktemp("other") / "map"
    extractor = open_extractor("rootsift", {"words": 16, "max_keypoints": 1000})
    build_map(street.records("map")[::4], extractor, folder, dataset=street.name)
    return folder


@pytest.fixture(scope="module")
def query(street):
    """Records of the second lap, in the part of the street that the tiny map covers."""
    return street.records("query")


@pytest.fixture(scope="module")
def running(map_path, tmp_path_factory):
    """Three nodes that run for all tests of this module."""
    with bench(map_path, tmp_path_factory.mktemp("nodes") / "log", hfnet={"silence_timeout": 1.0}) as made:
        yield made


def test_a_pose_is_published_with_the_stamp_of_its_image(running: Bench, query) -> None:
    stamp = running.expect_pose(query[3])
    translation, rotation = pose_error(running.recorder.poses[stamp].map_from_base, query[3].world_from_cam)
    assert translation < 0.1
    assert rotation < 0.5
    running.spin_until(
        lambda: (
            running.recorder.count("localizer", "localized") > 0 and running.recorder.count("hfnet", "processed") > 0
        )
    )
    assert running.recorder.value("localizer", "inliers") > 50
    assert running.recorder.timings()["extract"]["p50"] > 1.0


def drivers_images(image):
    """The same image as drivers send it: planes, 10 bits in 16, an infrared camera's."""
    height, width = image.shape
    deep = image.astype(np.uint16) << 2
    return {
        "nv12": {"pixels": np.vstack([image, np.full((height // 2, width), 128, np.uint8)]), "height": height},
        "mono16": {"pixels": deep},
        "16UC1": {"pixels": deep},
    }


@pytest.mark.parametrize("encoding", ["nv12", "mono16", "16UC1"])
def test_images_of_other_encodings_are_localized(running: Bench, query, encoding) -> None:
    running.expect_pose(query[3])
    running.forget()
    message = drivers_images(query[4].read_image())[encoding]
    stamp = running.expect_pose(query[4], encoding=encoding, **message)
    translation, rotation = pose_error(running.recorder.poses[stamp].map_from_base, query[4].world_from_cam)
    assert translation < 0.1
    assert rotation < 0.5


WRONG = ("black", "one gray", "NaN depth", "unknown encoding", "step too small", "too little data", "empty", "size")


def wrong_images(record):
    """Images that must be refused, with a word that the diagnostics must contain."""
    image = record.read_image()
    height, width = image.shape
    nan = np.full(image.shape, np.nan, np.float32)
    return {
        "black": ({"pixels": np.zeros_like(image)}, "black"),
        "one gray": ({"pixels": np.full_like(image, 100)}, "one gray"),
        "NaN depth": ({"pixels": nan, "encoding": "32FC1"}, "32FC1"),
        "unknown encoding": ({"pixels": image, "encoding": "x264"}, "x264"),
        "step too small": ({"pixels": image, "step": width // 2}, "step"),
        "too little data": ({"pixels": image, "data": array.array("B", bytes(100))}, "100 bytes"),
        "empty": ({"pixels": image, "height": 0, "data": array.array("B")}, "empty"),
        "size": ({"pixels": image[: height // 2]}, f"{width}x{height // 2}"),
    }


@pytest.mark.parametrize("name", WRONG)
def test_wrong_images_are_named_and_give_no_pose(running: Bench, query, name) -> None:
    running.expect_pose(query[3])
    running.forget()
    message, word = wrong_images(query[3])[name]
    stamp = running.send_image(**message)
    running.expect_complaint("hfnet", word)
    running.expect_pose(query[4])
    assert stamp not in running.recorder.poses


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"k": np.zeros(9)}, "focal length"),
        ({"k": np.full(9, np.nan)}, "camera_info"),
        ({"width": 320, "height": 200, "k": np.array([170.0, 0, 160, 0, 170, 100, 0, 0, 1])}, "320x200"),
        ({"width": 2**31, "height": 2**31, "d": [0.1, 0.0, 0.0, 0.0, 0.0]}, "beyond"),
        ({"d": [0.1, 0.2]}, "plumb_bob"),
        ({"distortion_model": "magic"}, "magic"),
    ],
    ids=["zero focal length", "NaN", "another size", "huge size", "wrong number of coefficients", "unknown model"],
)
def test_wrong_camera_info_is_named_and_gives_no_pose(running: Bench, query, changes, word) -> None:
    running.expect_pose(query[3])
    running.forget()
    running.send_camera_info(query[3], **changes)
    running.spin_until(lambda: True)
    stamp = running.send_image(query[3].read_image())
    running.expect_complaint("hfnet", word)
    running.expect_pose(query[4])
    assert stamp not in running.recorder.poses


def test_time_that_jumps_backwards_is_named_and_survived(running: Bench, query) -> None:
    before = running.expect_pose(query[3])
    running.forget()
    jumped = running.send_image(query[4].read_image(), stamp_ns=before - 60_000_000_000)
    running.expect_complaint("hfnet", "jumped back", "60.", level=DiagnosticStatus.WARN)
    after = running.expect_pose(query[4])
    assert after < before
    assert jumped not in running.recorder.poses


def test_reordered_and_unstamped_images_are_dropped(running: Bench, query) -> None:
    last = running.expect_pose(query[3])
    running.forget()
    older = running.send_image(query[4].read_image(), stamp_ns=last - 50_000_000)
    running.expect_complaint("hfnet", "older", level=DiagnosticStatus.WARN)
    unstamped = running.send_image(query[4].read_image(), stamp_ns=0)
    running.expect_complaint("hfnet", "without a stamp", level=DiagnosticStatus.WARN)
    running.stamp_ns = last
    running.expect_pose(query[4])
    assert not {older, unstamped} & running.recorder.poses.keys()


def test_a_silent_camera_is_named(running: Bench, query) -> None:
    running.expect_pose(query[3])
    running.forget()
    running.expect_complaint("hfnet", "no message on /image", level=DiagnosticStatus.WARN)


def test_an_unknown_place_gives_a_reason_and_no_pose(running: Bench, query) -> None:
    running.expect_pose(query[3])
    running.forget()
    noise = np.random.default_rng(0).integers(0, 255, query[3].read_image().shape, np.uint8)
    stamp = running.send_image(noise)
    running.expect_complaint("localizer", "not localized", level=DiagnosticStatus.WARN)
    assert stamp not in running.recorder.poses
    assert running.recorder.count("localizer", "failed") > 0


@pytest.mark.parametrize("node", LOCALIZING)
def test_tools_that_ask_for_all_parameters_get_them(running: Bench, node) -> None:
    shown = running.parameters(node)
    assert {name for name, _ in leaves(NODE_OPTIONS[node])} <= shown.keys()
    assert None not in shown.values()
    if node == "localizer":
        assert list(shown["base_from_cam"]) == list(IDENTITY)


@pytest.mark.alone
def test_the_age_of_images_is_shown_and_old_ones_are_named(map_path, query, tmp_path) -> None:
    with bench(map_path, tmp_path / "log", COMPOSED, hfnet={"max_image_age": 1.0}) as made:
        recorder = made.recorder
        made.send_camera_info(query[3])
        made.spin_until(lambda: recorder.value("hfnet", "rejected") is not None)
        made.stamp_ns = time.time_ns() - 100_000_000  # send_image adds a tenth of a second
        made.expect_pose(query[3])
        made.spin_until(
            lambda: (
                "localizer_stamp_to_pose" in recorder.timings() and recorder.value("hfnet", "image_age_s") is not None
            )
        )
        assert -0.5 < recorder.value("hfnet", "image_age_s") < 1.0
        assert 10.0 < recorder.timings()["localizer_stamp_to_pose"]["p50"] < 10_000.0
        assert not any("old" in message for node, _, message in recorder.messages if node == "hfnet")

        def send(*ages_s: float) -> None:
            for age_s in ages_s:
                made.send_image(query[3].read_image(), stamp_ns=time.time_ns() - round(age_s * 1e9))

        warned = partial(made.expect_complaint, "hfnet", level=DiagnosticStatus.WARN)
        send(-100)
        warned("ahead of this node's clock")
        send(3, 2.8, 2.6, 2.4, 2.2)  # the first one is before the last: time jumps back
        warned("s old when they arrive", "two hosts")
    with bench(map_path, tmp_path / "log", COMPOSED, hfnet={"max_image_age": 1.0}) as made:
        made.send_camera_info(query[3])
        made.expect_pose(query[3])
        made.expect_complaint("hfnet", "recording", "use_sim_time", level=DiagnosticStatus.WARN)


def test_missing_camera_info_is_named(map_path, query, tmp_path) -> None:
    with bench(map_path, tmp_path / "log", COMPOSED) as made:
        stamp = made.send_image(query[3].read_image())
        made.expect_complaint("hfnet", "no message on /camera_info")
        made.expect_pose(query[3])
        assert stamp not in made.recorder.poses


def test_a_missing_transform_is_named_and_never_guessed(map_path, query, tmp_path) -> None:
    with bench(map_path, tmp_path / "log", COMPOSED, localizer={"base_from_cam": ()}) as made:
        made.send_camera_info(query[3])
        made.send_image(query[3].read_image())
        made.expect_complaint("localizer", "base_link", FRAME, "/tf_static")
        assert not made.recorder.poses


def test_the_map_of_the_server_decides_on_the_features(map_path, other_map_path, query, tmp_path) -> None:
    with bench(map_path, tmp_path / "log", COMPOSED, visual_map_server={"map_path": str(other_map_path)}) as made:
        made.expect_pose(query[3])


def test_nodes_wait_for_a_map_and_refuse_a_broken_one(map_path, query, tmp_path) -> None:
    broken = tmp_path / "map"
    shutil.copytree(map_path, broken)
    positions = broken / "landmark_positions.npy"
    whole = positions.read_bytes()
    positions.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with bench(broken, tmp_path / "log", COMPOSED) as made:
        made.expect_complaint("visual_map_server", "landmark_positions.npy")
        positions.write_bytes(whole)
        made.spin_until(lambda: made.recorder.value("visual_map_server", "keyframes") is not None)
        made.expect_pose(query[3])


@pytest.mark.parametrize(
    ("node", "parameter", "value"),
    [
        ("hfnet", "map_path", ""),
        ("hfnet", "provider", "gpu"),
        ("visual_map_server", "retrieval.top_k", 0),
        ("localizer", "base_from_cam", (1.0, 2.0)),
    ],
)
def test_a_wrong_parameter_ends_the_node_with_its_name(map_path, tmp_path, node, parameter, value) -> None:
    from vizloc_ros.replay.processes import NodeProcesses

    log = tmp_path / "log"
    parameters = {node: {"map_path": str(map_path)} if node != "localizer" else {}}
    parameters[node][parameter] = value
    with NodeProcesses(parameters, executables=(node,), log=log) as processes:
        assert processes.wait(node, timeout_s=30.0) == 1
    said = log.read_text()
    assert f"parameter: {parameter}" in said
    assert "FATAL" in said
    assert "Traceback" not in said


def test_all_nodes_in_one_process(map_path, query, tmp_path) -> None:
    with bench(map_path, tmp_path / "log", COMPOSED) as made:
        stamp = made.expect_pose(query[3])
        assert pose_error(made.recorder.poses[stamp].map_from_base, query[3].world_from_cam)[0] < 0.1


def test_nodes_end_cleanly_when_interrupted(map_path, query, tmp_path) -> None:
    with bench(map_path, tmp_path / "log") as made:
        made.expect_pose(query[3])
        processes = made.processes
    assert processes.exit_codes == dict.fromkeys(LOCALIZING, 0)
    assert "Traceback" not in Path(tmp_path / "log").read_text()


def test_rviz_shows_what_the_nodes_publish(running: Bench) -> None:
    of_nodes = {"map/points", "map/keyframes", "candidates", "localization/pose", "path", "image"}
    assert {topic["Value"] for _, topic in rviz_topics()} == of_nodes | RVIZ_OF_TRACKER
    expect_shown(running.node, of_nodes)


def test_a_cropped_camera_with_a_latched_camera_info_of_another_frame(map_path, query, tmp_path) -> None:
    """camera_info is sent once before the nodes start, with the region of a crop; /tf_static comes from a player."""
    tf2_msgs = pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not installed: run make setup")
    record = query[3]
    width, height = record.camera.size
    left, top = width // 8, height // 10
    region = RegionOfInterest(x_offset=left, y_offset=top, width=width - left, height=height - top, do_rectify=True)
    info = rectified_camera_to_msg(record.camera, header_of(1, "camera_link"))
    info.roi = region

    def latch(node) -> None:
        node.create_publisher(CameraInfo, "camera_info", LATCHED).publish(info)

    transform = TransformStamped(header=header_of(1, "base_link"), child_frame_id=FRAME)
    transform.transform.rotation.w = 1.0
    with bench(map_path, tmp_path / "log", COMPOSED, latch, localizer={"base_from_cam": ()}) as made:
        static = made.node.create_publisher(tf2_msgs.TFMessage, "/tf_static", POSE)
        made.spin_until(lambda: static.get_subscription_count() > 0)
        static.publish(tf2_msgs.TFMessage(transforms=[transform]))
        stamps = [made.send_image(record.read_image()[top:, left:])]

        def localized() -> bool:
            if not made.recorder.count("hfnet", "processed"):
                stamps.append(made.send_image(record.read_image()[top:, left:]))
            return bool(made.recorder.poses)

        made.spin_until(localized)
        pose = next(iter(made.recorder.poses.values())).map_from_base
        said = made.expect_complaint(
            "hfnet", "frame_id of the images is camera, of camera_info camera_link", level=DiagnosticStatus.WARN
        )
    assert "REP 104" in said
    translation, rotation = pose_error(pose, record.world_from_cam)
    assert translation < 0.15
    assert rotation < 0.7
