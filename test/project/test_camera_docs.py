"""The tables on camera_info and on quality of service in the documentation are what the code does."""

import ast
import re

import numpy as np
import pytest
from test_docs import INTERFACE, NODE_FILES, calls, literal, rows, section

from vizloc_ros.errors import CameraError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.camera_info import MODEL_NAMES, camera_from_info

K = (800.0, 0.0, 640.0, 0.0, 820.0, 500.0, 0.0, 0.0, 1.0)
COUNTS = range(16)


def numbers(cell: str) -> list[int]:
    return [int(number) for number in re.findall(r"-?\d+", cell)]


def test_the_names_and_numbers_of_distortion_models_are_those_that_are_read() -> None:
    documented: set[str] = set()
    for named, read_as in rows(section(INTERFACE, "distortion models")):
        names = [*re.findall(r"`(\w+)`", named), *([""] if "empty" in named else [])]
        documented |= set(names)
        models = {
            count: model for model, counts in re.findall(r"(\w+) with ([\d, ]+)", read_as) for count in numbers(counts)
        }
        for name in names:
            for count in COUNTS:
                d = np.full(count, 0.001)
                if count in models:
                    camera = camera_from_info(1280, 960, K, d.tolist(), name)
                    assert (camera.model, camera.distortion) == (models[count], tuple(d)), (name, count)
                elif count:  # none at all is no distortion
                    with pytest.raises(CameraError):
                        camera_from_info(1280, 960, K, d.tolist(), name)
    assert documented == MODEL_NAMES.keys()


def test_the_example_of_regions_and_binning_is_computed() -> None:
    table = rows(section(INTERFACE, "region and binning"))
    assert len(table) >= 5
    for cells in table:
        (x, y, width, height), (binning_x, binning_y), size, (fx, fy), (cx, cy) = map(numbers, cells)
        info = camera_from_info(1280, 960, K, (), "", roi=(x, y, width, height), binning=(binning_x, binning_y))
        camera = info.of_size((size[0], size[1])).pinhole
        assert camera == PinholeCamera(size[0], size[1], fx, fy, cx, cy), cells


def test_qualities_of_service_are_those_of_the_code() -> None:
    pytest.importorskip("rclpy")
    from vizloc_ros.ros import qos

    names = {"static": "TF_STATIC"}
    for name, reliability, durability, depth in rows(section(INTERFACE, "quality of service")):
        plain = name.strip("*")
        profile = getattr(qos, names.get(plain, plain.upper()))
        assert profile.reliability.name.lower().replace("_", " ") == reliability
        assert profile.durability.name.lower().replace("_", " ") == durability
        assert profile.depth == int(depth)


def test_inputs_of_either_durability_are_documented() -> None:
    """Each input's row has its quality of service, and ``either`` where both durabilities are subscribed to."""
    profiles = {name.strip("*") for name, *_ in rows(section(INTERFACE, "quality of service"))}
    inputs = re.findall(r"^\| (`[^|]*`) \(in\) \| [^|]* \| ([^|]*) \|", INTERFACE.read_text(), re.MULTILINE)
    documented = {
        topic: quality.strip().endswith(", either")
        for topics, quality in inputs
        for topic in re.findall(r"`([^`]+)`", topics)
    }
    assert all(quality.strip().removesuffix(", either") in profiles for _, quality in inputs)
    subscribed = [call.args for path in NODE_FILES for call in calls(path, "subscribe_to_either")]
    parts = [part for arguments in subscribed for argument in arguments for part in ast.walk(argument)]
    topics = {literal(part) for part in parts if isinstance(part, ast.Constant)}
    assert topics >= {"camera_info", "/tf_static", "initialpose"}
    assert {topic for topic, either in documented.items() if either} == topics
