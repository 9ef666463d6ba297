"""Device that a network runs on. Maps do not depend on it: a map built on a CPU is used on a GPU."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort

from vizloc_ros.errors import ConfigError, DeviceError

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}


@dataclass(frozen=True)
class Device:
    """Device of a network, and how the network runs on it.

    Attributes:
        provider: ``cpu``, ``cuda`` or ``tensorrt``; there is no fallback to another one.
        threads: number of CPU threads of one call; 0 for all cores.
        index: number of the GPU.
        half: True if TensorRT may compute in 16 bit.
        engine_cache: folder for the engines of TensorRT, which take minutes to build; None builds them at every start.
        weights: file in place of the one in the settings: another export of the same weights, e.g. of fixed size.
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
        """Execution providers of ONNX Runtime with their options. What the first cannot run goes to the next.

        Args:
            checksum: checksum of the network's file. It names a folder in the cache of TensorRT, because engines are
                named after the nodes of a graph and would be reused for other weights.

        Raises:
            DeviceError: the cache of TensorRT cannot be created.
        """
        cpu: tuple[str, dict[str, Any]] = (_PROVIDERS["cpu"], {})
        if self.provider == "cpu":
            return [cpu]
        # The default would try every algorithm for every new image size.
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
    """Providers of the installed ONNX Runtime, by the names of ``Device``."""
    return [name for name, provider in _PROVIDERS.items() if provider in ort.get_available_providers()]
