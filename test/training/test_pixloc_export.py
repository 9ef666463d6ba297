"""Export of PixLoc's networks, and EdgePoint2, which initializes them."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install 'vizloc_ros[train]'")

from pixloc_small import write_edgepoint2  # noqa: E402

from vizloc_ros.cli.main import app  # noqa: E402
from vizloc_ros.errors import ConfigError, FeatureError  # noqa: E402
from vizloc_ros.features.hfnet.edgepoint2 import ENCODER_ORDER  # noqa: E402
from vizloc_ros.pixloc.extractors.pyramid_extractor import open_pyramid_extractor  # noqa: E402
from vizloc_ros.pixloc.network.light import LightNetwork  # noqa: E402
from vizloc_ros.pixloc.network.pixloc_config import LightConfig  # noqa: E402
from vizloc_ros.training.checkpoint import save_checkpoint  # noqa: E402
from vizloc_ros.training.edgepoint2_weights import load_edgepoint2  # noqa: E402


def test_what_is_no_network_of_pixloc_is_named(tmp_path: Path) -> None:
    def export(path: Path) -> None:
        CliRunner().invoke(
            app, ["export", "pixloc", str(path), "--out", str(tmp_path / "out.onnx")], catch_exceptions=False
        )

    with pytest.raises(ConfigError, match=r"absent\.pt: there is no such checkpoint"):
        export(tmp_path / "absent.pt")
    save_checkpoint(tmp_path / "other.pt", {"config": json.dumps({"network": {"width": 1}}), "network": {}, "step": 1})
    with pytest.raises(ConfigError, match=r"other\.pt: is no checkpoint of PixLoc"):
        export(tmp_path / "other.pt")
    (tmp_path / "net.safetensors").write_bytes(b"\x05")
    with pytest.raises(FeatureError, match=r"net\.safetensors: is no PixLoc network, or is damaged"):
        export(tmp_path / "net.safetensors")
    assert not (tmp_path / "out.onnx").exists()


def test_edgepoint2_is_exported_as_it_is_before_training(tmp_path: Path) -> None:
    torch.manual_seed(8)
    published = LightNetwork(LightConfig())
    path, out = write_edgepoint2(tmp_path / "published.onnx", published), tmp_path / "out.onnx"
    CliRunner().invoke(app, ["export", "pixloc", str(path), "--out", str(out), "--no-half"], catch_exceptions=False)
    image = np.random.default_rng(0).integers(0, 256, (96, 128), dtype=np.uint8)
    with torch.no_grad():
        expected = published.eval()(torch.from_numpy(image)[None, None].float())[0]
    (finest, *_) = open_pyramid_extractor(str(out)).extract(image).levels
    np.testing.assert_allclose(finest.features, expected[0][0].permute(1, 2, 0), atol=1e-4)
    assert np.all(finest.confidences == 0.5)


def test_a_pretrained_network_that_is_none_is_named(tmp_path: Path) -> None:
    network = LightNetwork(LightConfig(channels=(8, 16, 24), hidden=32))
    with pytest.raises(FeatureError, match=r"absent\.onnx"):
        load_edgepoint2(tmp_path / "absent.onnx", network)
    (tmp_path / "text.onnx").write_text("no network")
    small = write_edgepoint2(tmp_path / "small.onnx", LightNetwork(LightConfig(channels=(4, 8, 12), hidden=16)))
    few = write_edgepoint2(tmp_path / "few.onnx", network, ENCODER_ORDER[:5])
    for path in (tmp_path / "text.onnx", small, few):
        with pytest.raises(ConfigError, match=rf"{path.name}: is no EdgePoint2 of these sizes .*edgepoint2_e64"):
            load_edgepoint2(path, network)
