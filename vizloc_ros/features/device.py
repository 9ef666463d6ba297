"""What a network runs on. Not part of a map: a map that a CPU built is used on a GPU."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort

from vizloc_ros.errors import ConfigError, DeviceError

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

    def providers(self, checksum: str) -> list[tuple[str, dict[str, Any]]]:
        """ONNX Runtime's, in order of preference, with options; what one cannot do goes to the next.

        Args:
            checksum: of the network's file, which has a folder of its own in TensorRT's cache: engines are named after
                the graph's nodes, and would be taken for other weights.

        Raises:
            DeviceError: TensorRT's cache cannot be written.
        """
        cpu: tuple[str, dict[str, Any]] = (_PROVIDERS["cpu"], {})
        if self.provider == "cpu":
            return [cpu]
        # Heuristic, because the default tries every algorithm for every new image size.
        cuda = (_PROVIDERS["cuda"], {"device_id": self.index, "cudnn_conv_algo_search": "HEURISTIC"})
        if self.provider == "cuda":
            return [cuda, cpu]
        tensorrt: dict[str, Any] = {"device_id": self.index, "trt_fp16_enable": self.half}
        if self.engine_cache is not None:
            folder = self.engine_cache / checksum
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise DeviceError(
                    f"{folder}: TensorRT's cache cannot be made ({error.strerror}): choose another"
                ) from error
            tensorrt |= {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(folder)}
        return [(_PROVIDERS["tensorrt"], tensorrt), cuda, cpu]


def available() -> list[str]:
    """The providers that the installed ONNX Runtime has, by the names of ``Device``."""
    return [name for name, provider in _PROVIDERS.items() if provider in ort.get_available_providers()]
