"""ONNX files, their sessions on a device, and the errors of ONNX Runtime."""

import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from vizloc_ros.bounded import NETWORK_LIMIT, read_regular
from vizloc_ros.errors import DeviceError, FeatureError
from vizloc_ros.features.device import Device, available
from vizloc_ros.parallel import usable_cores

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

# The second one allocates memory again, in the pattern of the first: 0.1 s in a process that has just started.
WARM_UP_RUNS = 2


@dataclass(frozen=True)
class NetworkFile:
    """Content of an ONNX file.

    Attributes:
        path: path of the file.
        model: bytes of the file.
        checksum: CRC-32 of the content, eight hexadecimal digits.
    """

    path: Path
    model: bytes
    checksum: str


def read_network(
    path: Path,
    problem: str = "there is no such network",
    advice: str = "check the path, or put the file back that the map was built with",
) -> NetworkFile:
    """Read any ONNX file. Raises ``FeatureError`` with the problem and the advice if it cannot be read."""
    try:
        model = read_regular(path, NETWORK_LIMIT)
    except OSError as error:
        raise FeatureError(f"{path}: {problem} ({error.strerror}): {advice}") from error
    return NetworkFile(path, model, f"{zlib.crc32(model):08x}")


def open_session(network: NetworkFile, device: Device) -> Any:
    """Open an ONNX Runtime session of a network on a device, without fallback to another one.

    Raises:
        DeviceError: the device is not available.
        FeatureError: the installed ONNX Runtime cannot load the network.
    """
    if device.provider not in available():
        raise DeviceError(
            f"the network is to run on '{device.provider}', but this onnxruntime has {', '.join(available())}: "
            "install onnxruntime-gpu in its place, or choose one of these"
        )
    providers = device.providers(network.checksum)
    options = ort.SessionOptions()
    options.intra_op_num_threads = device.threads or _all_threads()
    # Threads that spin while they wait take the cores from other nodes and from other images.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors only: warnings are about nodes that stay on the CPU on purpose
    try:
        session = ort.InferenceSession(network.model, options, providers=providers, enable_fallback=0)
    except (*ORT_ERRORS, ValueError, RuntimeError) as error:
        kind = FeatureError if device.provider == "cpu" else DeviceError
        raise kind(
            f"{network.path}: ONNX Runtime {ort.__version__} cannot load it on '{device.provider}' ({one_line(error)})"
        ) from error
    if session.get_providers()[0] != providers[0][0]:
        raise DeviceError(
            f"the network is to run on '{device.provider}', but ONNX Runtime {ort.__version__} cannot start it and "
            f"took {session.get_providers()[0]}: check the driver and the versions of CUDA, cuDNN and TensorRT"
        )
    return session


def _all_threads() -> int:
    """Number of threads for all cores: 0, or that of the cores that this process is bound to.

    For 0, ONNX Runtime binds each thread to a core itself, of all that the machine has.
    """
    cores = usable_cores()
    return cores if cores < (os.cpu_count() or 1) else 0


def network_metadata(path: Path) -> dict[str, str]:
    """Metadata that the exporter of a network wrote. Raises ``FeatureError`` if the file is missing or no network."""
    model = read_network(path).model
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # the graph will not run
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
    """Text of an error of ONNX Runtime, joined into one line."""
    return " ".join(str(error).split())
