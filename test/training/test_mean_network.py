"""Mean of the weights of several runs: by hand, through the command, and refused for other shapes."""

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs the extra 'train' (PyTorch)")

from hfnet_helpers import SMALL, small_network  # noqa: E402
from typer.testing import CliRunner  # noqa: E402

from vizloc_ros.cli.main import app  # noqa: E402
from vizloc_ros.errors import ConfigError  # noqa: E402
from vizloc_ros.features.hfnet.runtime import HfNetExtractor  # noqa: E402
from vizloc_ros.training.checkpoint import load_mean_network, save_checkpoint  # noqa: E402


def save(path: Path, value: float, **changes: int) -> Path:
    """Save a network whose weights all have one value."""
    network = small_network(config=SMALL.model_copy(update=changes))
    state = {name: torch.full_like(weight, value) for name, weight in network.state_dict().items()}
    config = json.dumps({"network": network.config.model_dump(), "steps": value})
    save_checkpoint(path, {"network": state, "step": 1, "config": config})
    return path


def test_local_weights_are_averaged_and_the_global_head_is_the_first_ones(tmp_path: Path) -> None:
    runs = [save(tmp_path / f"{value}.pt", value) for value in (1.0, 2.0, 6.0)]
    network, details = load_mean_network(runs)
    for name, weight in network.state_dict().items():
        expected = 1.0 if name.startswith("global_head.") or not weight.is_floating_point() else 3.0
        assert (weight == expected).all(), name
    assert [json.loads(details[key])["steps"] for key in ("training", "mean_with_1", "mean_with_2")] == [1.0, 2.0, 6.0]


def test_the_command_exports_the_mean(tmp_path: Path) -> None:
    networks = [small_network(seed) for seed in range(2)]
    for index, network in enumerate(networks):
        config = json.dumps({"network": network.config.model_dump()})
        save_checkpoint(tmp_path / f"{index}.pt", {"network": network.state_dict(), "step": 1, "config": config})
    out = tmp_path / "mean.onnx"
    command = ["export", "hfnet", str(tmp_path / "0.pt"), str(tmp_path / "1.pt"), "--out", str(out)]
    CliRunner().invoke(app, command, catch_exceptions=False)
    assert "mean_with_1" in HfNetExtractor.open({"weights": str(out)}, None).description.metadata
    with pytest.raises(ConfigError, match=r"other.pt: the network has another shape than that of .*0.pt"):
        load_mean_network([tmp_path / "0.pt", save(tmp_path / "other.pt", 1.0, descriptor_dimension=8)])
