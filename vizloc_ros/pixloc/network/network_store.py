"""Trained networks as safetensors files, for further training and for other programs."""

import json
from dataclasses import asdict
from pathlib import Path

from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from vizloc_ros.bounded import open_regular
from vizloc_ros.errors import ConfigError, FeatureError
from vizloc_ros.features.onnx_session import one_line
from vizloc_ros.files import replacing
from vizloc_ros.pixloc.network.model import PixLocNetwork
from vizloc_ros.pixloc.network.pixloc_config import NetworkConfig
from vizloc_ros.pixloc.optimizer.robust import BarronLoss

_CONFIG, _LOSS = "config", "robust_loss"


def save_network(network: PixLocNetwork, loss: BarronLoss, path: Path, metadata: dict[str, str]) -> None:
    """Write weights, config and loss of a network with further metadata; the file is written whole or not at all."""
    tensors = {name: values.detach().cpu().contiguous() for name, values in network.state_dict().items()}
    with replacing(path) as file:
        file.write(
            save(tensors, {**metadata, _CONFIG: network.config.model_dump_json(), _LOSS: json.dumps(asdict(loss))})
        )


def load_network(path: Path) -> tuple[PixLocNetwork, BarronLoss, dict[str, str]]:
    """Read a network, its loss, and the other metadata of its file.

    Raises:
        FeatureError: the file is missing, damaged, or of another network.
    """
    try:
        open_regular(path).close()
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            config: NetworkConfig = TypeAdapter(NetworkConfig).validate_python(json.loads(metadata[_CONFIG]))
            network, loss = PixLocNetwork(config), BarronLoss(**json.loads(metadata[_LOSS]))
            network.load_state_dict({name: file.get_tensor(name) for name in list(file.keys())})
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError, ConfigError) as error:
        raise FeatureError(f"{path}: is no PixLoc network, or is damaged ({one_line(error)}): copy it again") from error
    own = (_CONFIG, _LOSS)
    return network.eval(), loss, {key: value for key, value in metadata.items() if key not in own}
