"""What the network runs on. Not part of a map: a map that a CPU built is used on a GPU."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort

from vizloc_ros.errors import ConfigError, DeviceError, FeatureError
from vizloc_ros.features.hfnet.weights import WeightsFile
from vizloc_ros.features.onnx_session import ORT_ERRORS, one_line

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}


@dataclass(frozen=True)
class Device:
    """How to run a network.

    Attributes:
        provider: ``cpu``, ``cuda`` or ``tensorrt``; what is asked for and not there is an error.
        threads: of one call on the CPU; 0 for all cores.
        index: number of the GPU.
        half: TensorRT may compute in 16 bit.
        engine_cache: folder where TensorRT keeps what it has built, which takes minutes; None builds at every start.
        weights: another export of the weights that the settings name, e.g. one of fixed size.
    """

    provider: str = "cpu"
    threads: int = 0
    index: int = 0
    half: bool = False
    engine_cache: Path | None = None
    weights: Path | None = None

    def __post_init__(self) -> None:
        if self.provider not in _PROVIDERS:
            raise ConfigError(f"there is no provider '{self.provider}'; there is: {', '.join(_PROVIDERS)}")
        if self.threads < 0 or self.index < 0:
            raise ConfigError(f"threads ({self.threads}) and index ({self.index}) of a device cannot be negative")


def open_session(weights: WeightsFile, device: Device) -> Any:
    """An ONNX Runtime session of a network on a device and no other.

    Raises:
        DeviceError: the device cannot be had.
        FeatureError: the installed ONNX Runtime cannot load the network.
    """
    wanted = _PROVIDERS[device.provider]
    if wanted not in ort.get_available_providers():
        raise DeviceError(
            f"the network is to run on '{device.provider}', but this onnxruntime has {', '.join(available())}: "
            "install onnxruntime-gpu in its place, or choose one of these"
        )
    options = ort.SessionOptions()
    options.intra_op_num_threads = device.threads
    # Threads that spin while they wait take the cores from whatever runs beside: other nodes, other images.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors; warnings speak of nodes that are kept on the CPU on purpose
    try:
        session = ort.InferenceSession(weights.model, options, providers=providers(weights, device), enable_fallback=0)
    except (*ORT_ERRORS, ValueError, RuntimeError) as error:
        kind = FeatureError if device.provider == "cpu" else DeviceError
        raise kind(
            f"{weights.path}: ONNX Runtime {ort.__version__} cannot load it on '{device.provider}' ({one_line(error)})"
        ) from error
    if session.get_providers()[0] != wanted:
        raise DeviceError(
            f"the network is to run on '{device.provider}', but ONNX Runtime {ort.__version__} cannot start it and "
            f"took {session.get_providers()[0]}: check the driver and the versions of CUDA, cuDNN and TensorRT"
        )
    return session


def available() -> list[str]:
    """The providers that the installed ONNX Runtime has, by the names of ``Device``."""
    return [name for name, provider in _PROVIDERS.items() if provider in ort.get_available_providers()]


def providers(weights: WeightsFile, device: Device) -> list[tuple[str, dict[str, Any]]]:
    """In order of preference, with options; what one cannot do goes to the next.

    Raises:
        DeviceError: TensorRT's cache cannot be written.
    """
    cpu: tuple[str, dict[str, Any]] = (_PROVIDERS["cpu"], {})
    if device.provider == "cpu":
        return [cpu]
    # Heuristic, because the default tries every algorithm for every new image size.
    cuda = (_PROVIDERS["cuda"], {"device_id": device.index, "cudnn_conv_algo_search": "HEURISTIC"})
    if device.provider == "cuda":
        return [cuda, cpu]
    tensorrt: dict[str, Any] = {"device_id": device.index, "trt_fp16_enable": device.half}
    if device.engine_cache is not None:
        # One folder for each file: engines are named after the graph's nodes, and would be taken for other weights.
        folder = device.engine_cache / weights.checksum
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DeviceError(
                f"{folder}: TensorRT's cache cannot be made ({error.strerror}): choose another"
            ) from error
        tensorrt |= {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(folder)}
    return [(_PROVIDERS["tensorrt"], tensorrt), cuda, cpu]
