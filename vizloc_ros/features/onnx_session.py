"""Reading ONNX files, and the errors of ONNX Runtime."""

import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from vizloc_ros.errors import FeatureError
from vizloc_ros.features.hfnet.weights import WeightsFile

# ONNX Runtime's exceptions have no base of their own.
ORT_ERRORS = (
    ort_state.EngineError,
    ort_state.EPFail,
    ort_state.Fail,
    ort_state.InvalidArgument,
    ort_state.InvalidGraph,
    ort_state.InvalidProtobuf,
    ort_state.NoSuchFile,
    ort_state.NotImplemented,
    ort_state.RuntimeException,
)


def read_network(path: Path) -> WeightsFile:
    """Any ONNX file. Raises ``FeatureError`` if it cannot be read."""
    try:
        model = path.read_bytes()
    except OSError as error:
        raise FeatureError(
            f"{path}: there is no such network ({error.strerror}): check the path, or put the file back that the map "
            "was built with"
        ) from error
    return WeightsFile(path, model, f"{zlib.crc32(model):08x}")


def network_metadata(path: Path) -> dict[str, str]:
    """What the exporter of a network wrote about it. Raises ``FeatureError`` if the file is missing or no network."""
    model = read_network(path).model
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # it is only looked at
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        raise FeatureError(f"{path}: cannot be read as a network ({one_line(error)}): copy it again") from error
    return dict(session.get_modelmeta().custom_metadata_map)


def described(values: Iterable[Any]) -> str:
    """Names and shapes of a session's inputs or outputs."""
    return ", ".join(f"{value.name} {value.shape}" for value in values)


def one_line(error: Exception) -> str:
    """What ONNX Runtime spreads over several lines."""
    return " ".join(str(error).split())
