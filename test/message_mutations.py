"""Messages with one to three random faults, from valid ones: any field, by its type, as hostile or broken as it can be.

    PYTHONPATH=. python test/message_mutations.py --count 2000

gives them to the functions with which the nodes read messages, and prints what was refused.
"""

import argparse
import array
import copy
import resource
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose, PoseStamped, PoseWithCovarianceStamped, TransformStamped
from nav_msgs.msg import Odometry
from pycolmap import Rigid3d
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, Imu, NavSatFix
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage

from vizloc_ros.bags.gnss_fixes import fix_of_message
from vizloc_ros.datasets.image_headers import MAX_MESSAGE_PIXELS
from vizloc_ros.datasets.image_messages import ImageDecoder
from vizloc_ros.errors import VizlocError
from vizloc_ros.features.types import Features
from vizloc_ros.geometry.camera_info import camera_of_message
from vizloc_ros.geometry.geodesy import earth_from_enu
from vizloc_ros.geometry.rectification import rectified_camera
from vizloc_ros.geometry.transform_history import TransformHistory
from vizloc_ros.geometry.transform_tree import TransformTree
from vizloc_ros.localization.gnss_area import GnssArea
from vizloc_ros.localization.places import Place
from vizloc_ros.pixloc.patches import QuantizedPatches
from vizloc_ros.pixloc.references import QuantizedLevel, QuantizedReferences
from vizloc_ros.ros import clouds
from vizloc_ros.ros.fix_messages import fix_to_msg
from vizloc_ros.ros.gyroscope_buffer import GyroscopeBuffer
from vizloc_ros.ros.initial_pose import guess_from_msg
from vizloc_ros.ros.messages import (
    covariance_from_msg,
    pose_from_msg,
    pose_to_msg,
    rectified_camera_from_msg,
    stamp_to_ns,
)
from vizloc_ros.ros.odometry_buffer import OdometryBuffer

MAX_SECONDS = 2.0
MAX_BYTES = 1_000_000_000
_MAX_TEXT_CHARS = 2000
_EARTH_FROM_MAP = earth_from_enu(48, 11, 500)
_FLOATS = (0.0, -1.0, 1e-300, 1e9, 1e38, -1e38, 1e300, float("nan"), float("inf"), float("-inf"))
_INTEGERS = (0, 1, 2, 7, 255, 65_535, 2**31 - 1, 2**32 - 1, -1, -(2**31))
_STRINGS = ("", " ", "/", "x" * 100_000, "mono16", "nv12", "bayer_rggb16", "png", "equidistant", "é\n\t", "a/b//c")
_LIMITS = {"int8": 8, "uint8": 8, "int16": 16, "uint16": 16, "int32": 32, "uint32": 32, "int64": 64, "uint64": 64}


@dataclass(frozen=True)
class Target:
    """Valid message, and the function that reads it."""

    original: Any
    read: Callable[[Any], object]


def mutated(msg: Any, rng: np.random.Generator) -> Any:
    """Copy of a message with one to three faults."""
    msg = copy.deepcopy(msg)
    for _ in range(int(rng.integers(1, 4))):
        _mutate(msg, rng)
    return msg


def _mutate(msg: Any, rng: np.random.Generator) -> None:
    fields = msg.get_fields_and_field_types()
    names = sorted(fields)
    name = "data" if "data" in names and rng.random() < 0.4 else names[rng.integers(len(names))]
    value, kind = getattr(msg, name), fields[name]
    if hasattr(value, "get_fields_and_field_types"):
        _mutate(value, rng)
    elif kind.startswith("sequence<") or "[" in kind:
        setattr(msg, name, _mutated_sequence(value, is_fixed="[" in kind, rng=rng))
    else:
        setattr(msg, name, _mutated_scalar(value, kind, rng))


def _mutated_scalar(value: Any, kind: str, rng: np.random.Generator) -> Any:
    if kind == "string":
        return _STRINGS[rng.integers(len(_STRINGS))]
    if kind == "boolean":
        return not value
    if kind in ("float", "double"):
        return min(max(_FLOATS[rng.integers(len(_FLOATS))], -3e38), 3e38) if kind == "float" else _any_of(_FLOATS, rng)
    bits = _LIMITS[kind]
    low, high = (0, 2**bits - 1) if kind.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    near = value + int(rng.integers(-3, 4))
    return min(max(near if rng.random() < 0.3 else _any_of(_INTEGERS, rng), low), high)


def _any_of(values: Any, rng: np.random.Generator) -> Any:
    return values[rng.integers(len(values))]


def _mutated_sequence(values: Any, *, is_fixed: bool, rng: np.random.Generator) -> Any:
    if isinstance(values, np.ndarray):
        values = values.copy()
        values[rng.integers(len(values))] = _any_of(_FLOATS, rng)
        return values
    if len(values) and hasattr(values[0], "get_fields_and_field_types") and rng.random() < 0.6:
        _mutate(values[rng.integers(len(values))], rng)
        return values
    if isinstance(values, array.array) and len(values) and (is_fixed or rng.random() < 0.6):
        return _with_other_bytes(values, rng)
    at = int(rng.integers(len(values) + 1))
    return (values[:at], values + values[:at], values[at:], values[:0])[rng.integers(4)]


def _with_other_bytes(values: "array.array[Any]", rng: np.random.Generator) -> "array.array[Any]":
    data = np.frombuffer(values, np.uint8).copy()
    size = int(_any_of((1, 4, 4, 8, 64), rng))
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(max(1, min(len(data), 256 if rng.random() < 0.5 else len(data)) - size)))
        with np.errstate(over="ignore"):
            special = np.array([_any_of(_FLOATS, rng)]).astype(np.float32 if rng.random() < 0.7 else np.float64)
        new = special.view(np.uint8) if size in (4, 8) else rng.integers(0, 256, size, np.uint8)
        data[at : at + len(new)] = new[: len(data[at : at + len(new)])]
    return array.array(values.typecode, data.tobytes())


def _header() -> Header:
    return Header(stamp=Time(sec=1000, nanosec=5), frame_id="camera")


def camera_info() -> CameraInfo:
    msg = CameraInfo(header=_header(), width=64, height=48, distortion_model="plumb_bob", d=[0.1, -0.05, 0.0, 0.0, 0.0])
    msg.k = np.array([60.0, 0, 32, 0, 60, 24, 0, 0, 1])
    return msg


def _rectified() -> CameraInfo:
    msg = camera_info()
    msg.d = [0.0] * 5
    return msg


def _images() -> dict[str, Any]:
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    data = {end: cv2.imencode(end, pixels)[1].tobytes() for end in (".png", ".jpg", ".tiff", ".webp", ".bmp", ".ppm")}
    raw = Image(
        header=_header(), width=64, height=48, step=192, encoding="bgr8", data=array.array("B", pixels.tobytes())
    )
    return {"image": raw} | {
        f"image{end}": CompressedImage(header=_header(), format=end[1:], data=array.array("B", content))
        for end, content in data.items()
    }


def _clouds() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    count, descriptors = 40, rng.integers(-127, 128, (40, 16), np.int8)
    unit = rng.normal(size=32).astype(np.float32)
    positions = rng.normal(size=(count, 3)).astype(np.float32)
    place = Place(positions, np.arange(count, dtype=np.int32), descriptors)
    half = rng.random(count).astype(np.float16)
    levels = tuple(QuantizedLevel(descriptors, half, half) for _ in range(2))
    patches = QuantizedPatches(descriptors, half, half)
    pixels = rng.uniform(0, 48, (count, 2)).astype(np.float32)
    features = Features(pixels, half.astype(np.float32), descriptors, unit, (64, 48))
    return {
        "features": clouds.features_to_msg(features, _header()),
        "global_descriptor": clouds.global_descriptor_to_msg(unit / np.linalg.norm(unit), 5, _header()),
        "candidates": clouds.places_to_msg([place, place], _header()),
        "submap": clouds.submap_to_msg(
            QuantizedReferences(positions.astype(np.float64), np.arange(count), levels, patches), 7, _header()
        ),
    }


def _poses() -> dict[str, Any]:
    pose: Pose = pose_to_msg(Rigid3d())
    with_covariance = PoseWithCovarianceStamped(header=_header())
    with_covariance.pose.pose = pose
    odometry = Odometry(header=_header(), child_frame_id="base_link")
    odometry.pose.pose = pose
    transform = TransformStamped(header=_header(), child_frame_id="base_link")
    transform.transform.rotation.w = 1.0
    return {
        "submap/request": PoseStamped(header=_header(), pose=pose),
        "localization/pose": with_covariance,
        "initialpose": _rviz_arrow(pose),
        "odom": odometry,
        "imu": Imu(header=_header()),
        "/tf_static": TFMessage(transforms=[transform, copy.deepcopy(transform)]),
        "fix": fix_to_msg(_EARTH_FROM_MAP, np.zeros(3), np.eye(3), _header()),
    }


def _rviz_arrow(pose: Pose) -> PoseWithCovarianceStamped:
    arrow = PoseWithCovarianceStamped(header=_header())
    arrow.header.frame_id = "map"
    arrow.pose.pose = pose
    arrow.pose.covariance = np.diag([0.25, 0.25, 0, 0, 0, 0.0685]).ravel()
    return arrow


def originals() -> dict[str, Any]:
    """Valid messages by their topics; ``image.png`` and others are on image/compressed."""
    return {**_images(), "camera_info": camera_info(), "features/camera_info": _rectified(), **_clouds(), **_poses()}


def _read_tree(msg: TFMessage) -> None:
    tree = TransformTree()
    for transform in msg.transforms:
        tree.add(transform)
    tree.lookup("camera", "base_link")
    moving = TransformHistory(TransformTree())
    for transform in msg.transforms:
        moving.add(transform, 0)
    moving.lookup("camera", "base_link", 0)


def _read_odometry(msg: Odometry) -> None:
    buffer = OdometryBuffer()
    for odometry in (originals()["odom"], msg):
        buffer.add(odometry)
    buffer.at(1_000_100_000_000)


def _read_rates(msg: Imu) -> None:
    buffer = GyroscopeBuffer()
    for rates in (originals()["imu"], msg):
        buffer.add(rates)
    buffer.turn_between(1_000_000_000_000, 1_000_000_100_000)


def _read_guess(msg: PoseWithCovarianceStamped) -> None:
    guess = guess_from_msg(msg, "map")
    keyframes = np.array([[x, 0, 1.5, -0.5, 0.5, -0.5, 0.5] for x in range(20)])
    guess.hypotheses(keyframes, Rigid3d(), 8)
    guess.holds(Rigid3d())


def _read_fix(msg: NavSatFix) -> None:
    gnss = GnssArea(_EARTH_FROM_MAP, 5.0, 20.0)
    gnss.add_fix(fix_of_message(msg))
    for area in (gnss.at(1_000_100_000_000), gnss.at(stamp_to_ns(msg.header.stamp))):
        if area is not None:
            area.within(np.zeros((2, 3)), 10.0)


def targets() -> dict[str, Target]:
    """Messages to mutate, and the functions with which the nodes read them."""
    images = ImageDecoder("/image", lambda text: None, MAX_MESSAGE_PIXELS)
    readers: Mapping[str, Callable[[Any], object]] = {
        "camera_info": lambda msg: rectified_camera(camera_of_message(msg)),
        "features/camera_info": rectified_camera_from_msg,
        "features": lambda msg: clouds.features_from_msg(msg, (64, 48)),
        "global_descriptor": clouds.global_descriptor_from_msg,
        "candidates": clouds.places_from_msg,
        "submap": clouds.submap_from_msg,
        "submap/request": lambda msg: pose_from_msg(msg.pose),
        "localization/pose": lambda msg: (pose_from_msg(msg.pose.pose), covariance_from_msg(msg)),
        "initialpose": _read_guess,
        "odom": _read_odometry,
        "imu": _read_rates,
        "/tf_static": _read_tree,
        "fix": _read_fix,
    }
    return {
        name: Target(original, readers.get(name, lambda msg: (images.size(msg), images.gray(msg))))
        for name, original in originals().items()
    }


def read_mutated(count: int, seed: int) -> Counter[str]:
    """Read mutated messages, of every kind in turn; return the numbers of those read and refused by kind.

    Raises ``AssertionError`` for an error other than ``VizlocError``, for one that takes too long, and for memory.
    """
    found, chosen = Counter[str](), list(targets().items())
    memory_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for number in range(count):
        name, target = chosen[number % len(chosen)]
        msg = mutated(target.original, np.random.default_rng((seed, number)))
        started = time.process_time()
        try:
            with np.errstate(all="ignore"):
                target.read(msg)
            found[f"{name} read"] += 1
        except VizlocError as error:
            if len(str(error)) > _MAX_TEXT_CHARS:
                raise AssertionError(f"{name}, seed {seed}, number {number}: a text without end") from error
            found[f"{name} refused"] += 1
        except Exception as error:
            raise AssertionError(f"{name}, seed {seed}, number {number}: {type(error).__name__}: {error}") from error
        seconds = time.process_time() - started
        assert seconds < MAX_SECONDS, f"{name}, seed {seed}, number {number}: {seconds:.1f} s"
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - memory_before
        assert memory < MAX_BYTES, f"{name}, seed {seed}, number {number}: {memory / 1e6:.0f} MB"
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for kind, total in sorted(read_mutated(arguments.count, arguments.seed).items()):
        print(f"{total:6d} {kind}")  # noqa: T201
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB at most")  # noqa: T201
