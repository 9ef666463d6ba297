"""Networks to export, from a run's checkpoint, a safetensors file, or EdgePoint2's weights."""

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from vizloc_ros.errors import InputError
from vizloc_ros.pixloc.network.light import LightNetwork
from vizloc_ros.pixloc.network.model import PixLocNetwork
from vizloc_ros.pixloc.network.network_store import load_network
from vizloc_ros.pixloc.network.pixloc_config import LightConfig, NetworkConfig
from vizloc_ros.pixloc.optimizer.robust import BarronLoss
from vizloc_ros.training.checkpoint import load_checkpoint
from vizloc_ros.training.edgepoint2_weights import load_edgepoint2


@dataclass(frozen=True)
class Trained:
    """Trained network, the robust loss of its training, and the metadata of an exported file."""

    network: PixLocNetwork
    loss: BarronLoss
    metadata: dict[str, str]


def open_trained(path: Path) -> Trained:
    """Load the network of a file.

    Raises:
        InputError, FeatureError: the file is missing, damaged, or of another kind.
    """
    if path.suffix == ".safetensors":
        return Trained(*load_network(path))
    if path.suffix == ".onnx":
        network = PixLocNetwork(LightConfig())
        if isinstance(network.features, LightNetwork):
            load_edgepoint2(path, network.features)
        return Trained(network.eval(), BarronLoss(), {"training": "none", "pretrained": path.name})
    state = load_checkpoint(path)
    try:
        saved = json.loads(state["config"])
        config: NetworkConfig = TypeAdapter(NetworkConfig).validate_python(saved["network"])
        network = PixLocNetwork(config)
        network.load_state_dict(state["network"])
        loss = BarronLoss(0.0, float(saved["robust_scale"]))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: is no checkpoint of PixLoc ({error})") from error
    return Trained(network.eval(), loss, {"training": json.dumps(saved), "steps": str(state["step"])})
