"""The networks in PyTorch: features and confidences of images, and files of weights."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pydantic import TypeAdapter, ValidationError

REASON = "PyTorch and onnx are needed to train and export: pip install 'vizloc_ros[train]'"
torch = pytest.importorskip("torch", reason=REASON)
pytest.importorskip("onnx", reason=REASON)

from hfnet_helpers import texture  # noqa: E402
from pixloc_small import LIGHT, LOSS, UNET, levels_of, small_network  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from scipy.ndimage import gaussian_filter  # noqa: E402

from vizloc_ros.errors import FeatureError  # noqa: E402
from vizloc_ros.features.hfnet.edgepoint2 import ENCODER_ORDER  # noqa: E402
from vizloc_ros.pixloc.network.light import LightNetwork  # noqa: E402
from vizloc_ros.pixloc.network.model import PixLocNetwork  # noqa: E402
from vizloc_ros.pixloc.network.network_store import load_network, save_network  # noqa: E402
from vizloc_ros.pixloc.network.pixloc_config import LightConfig, NetworkConfig, UNetConfig  # noqa: E402
from vizloc_ros.training.edgepoint2_weights import load_convolutions  # noqa: E402

IMAGE = texture(3, (160, 96))
CONFIGS: list[NetworkConfig] = [LIGHT, LIGHT.model_copy(update={"levels": 2}), UNET]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("size", [(64, 64), (160, 96)])
def test_levels_have_their_strides_and_unit_features(config: NetworkConfig, size: tuple[int, int]) -> None:
    levels = levels_of(small_network(config), texture(0, size))
    assert len(levels) == len(config.strides) == len(config.dimensions)
    for (features, confidences), stride, dimension in zip(levels, config.strides, config.dimensions, strict=True):
        assert features.shape == (size[1] // stride, size[0] // stride, dimension)
        assert confidences.shape == features.shape[:2]
        assert_allclose(np.linalg.norm(features, axis=2), 1, atol=1e-5)
        assert ((confidences > 0) & (confidences < 1)).all()
        assert features.std(axis=(0, 1)).max() > 1e-3, "features see the image"


@pytest.mark.parametrize("config", CONFIGS)
def test_images_of_a_batch_are_independent(config: NetworkConfig) -> None:
    network, images = small_network(config), [texture(seed, (96, 64)) for seed in range(2)]
    with torch.no_grad():
        together = network(torch.from_numpy(np.stack(images))[:, None].float())
    for k, image in enumerate(images):
        for (features, confidences), (alone, trust) in zip(together, levels_of(network, image), strict=True):
            assert_allclose(features[k].permute(1, 2, 0), alone, atol=1e-5)
            assert_allclose(confidences[k, 0], trust, atol=1e-5)


def test_untrained_coarse_levels_are_the_finest_one_pooled() -> None:
    sharp = LIGHT.model_copy(update={"smoothing": (0.0, 0.0, 0.0, 0.0)})
    levels = levels_of(small_network(sharp, trained=False), IMAGE)
    finest = torch.from_numpy(levels[0][0]).permute(2, 0, 1)[None]
    for k, (features, confidences) in enumerate(levels):
        pooled = torch.nn.functional.avg_pool2d(finest, 2**k)
        expected = torch.nn.functional.normalize(pooled, dim=1)[0].permute(1, 2, 0)
        assert_allclose(features, expected, atol=1e-5)
        assert_array_equal(confidences, 0.5)


def test_features_are_not_smoothed_in_training() -> None:
    sharp = small_network(LIGHT.model_copy(update={"smoothing": (0.0, 0.0, 0.0, 0.0)}))
    smooth, image = small_network(), torch.from_numpy(IMAGE)[None, None].float()
    pairs = zip(sharp.train()(image), smooth.train()(image), strict=True)
    assert all(torch.equal(a, b) for one, other in pairs for a, b in zip(one, other, strict=True))
    assert not torch.equal(smooth.eval()(image)[-1][0], sharp.eval()(image)[-1][0])


def test_smoothed_features_of_coarse_levels_are_of_unit_length() -> None:
    sharp = LIGHT.model_copy(update={"smoothing": (0.0, 0.0, 0.0, 0.0)})
    smooth = LIGHT.model_copy(update={"smoothing": (0.0, 0.6, 1.0, 2.0)})
    levels = zip(levels_of(small_network(sharp), IMAGE), levels_of(small_network(smooth), IMAGE), strict=True)
    for std, ((before, trust), (after, same_trust)) in zip(smooth.smoothing, levels, strict=True):
        expected = gaussian_filter(before, std, mode="nearest", radius=round(3 * std), axes=(0, 1)) if std else before
        assert_allclose(after, expected / np.linalg.norm(expected, axis=2, keepdims=True), atol=1e-5)
        assert_array_equal(trust, same_trust)


@pytest.mark.parametrize("config", [LIGHT, UNET])
def test_confidence_is_that_of_the_uncertainty(config: NetworkConfig) -> None:
    """u = 1 / (1 + U) (PixLoc, Eq. 6); the network predicts the logarithm of U."""
    network = small_network(config)
    features = network.features
    last = features.finest_uncertainty if isinstance(features, LightNetwork) else features.uncertainties[0]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(np.log(3))
    assert_allclose(levels_of(network, IMAGE)[0][1], 1 / (1 + 3), rtol=1e-5)


def test_joining_before_upsampling_is_the_same() -> None:
    """A 1x1 convolution and bilinear interpolation commute."""
    network = LightNetwork(LIGHT)
    x4, x8, x32 = (torch.rand(1, c, 8 * f, 16 * f) for c, f in zip(LIGHT.channels, (8, 4, 1), strict=True))

    def enlarged(x: Any, factor: int) -> Any:
        return torch.nn.functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)

    with torch.no_grad():
        joined = network.join(torch.cat([x4, enlarged(x8, 2), enlarged(enlarged(x32, 4), 2)], dim=1))
        assert_allclose(network.hidden(x4, x8, x32), torch.relu(network.spread(joined)), atol=1e-5)


def test_trained_coarse_levels_differ_from_pooled_ones() -> None:
    trained, fresh = (levels_of(small_network(trained=trained), IMAGE) for trained in (True, False))
    assert_array_equal(trained[0][0], fresh[0][0])
    for (one, confidences), (other, _) in zip(trained[1:], fresh[1:], strict=True):
        assert np.abs(one - other).max() > 0.1
        assert confidences.std() > 1e-3


@pytest.mark.parametrize(("contrast", "brightness"), [(0.5, 10), (1, 80), (2, -30), (0.2, 200)])
def test_the_light_network_is_invariant_to_brightness_and_contrast(contrast: float, brightness: float) -> None:
    network = small_network()
    for (one, trust), (other, distrust) in zip(
        levels_of(network, IMAGE), levels_of(network, IMAGE.astype(np.float32) * contrast + brightness), strict=True
    ):
        assert_allclose(one, other, atol=1e-2)
        assert_allclose(trust, distrust, atol=1e-2)


@pytest.mark.parametrize("config", [LIGHT, UNET])
@pytest.mark.parametrize("value", [0, 255])
def test_an_image_of_one_value_has_finite_features(config: NetworkConfig, value: int) -> None:
    for features, confidences in levels_of(small_network(config), np.full((64, 96), value, np.uint8)):
        assert np.isfinite(features).all()
        assert np.isfinite(confidences).all()


@pytest.mark.parametrize("config", [LIGHT, UNET])
def test_every_weight_has_a_gradient(config: NetworkConfig) -> None:
    network = small_network(config)
    torch.manual_seed(1)
    levels = network(torch.from_numpy(IMAGE)[None, None].float())
    loss = sum((part * torch.randn_like(part)).sum() for level in levels for part in level)
    (loss + network.dampings().log().sum()).backward()
    for name, values in network.named_parameters():
        assert torch.isfinite(values.grad).all(), name
        assert (values.grad != 0).any(), name


def test_damping_has_a_factor_for_each_level_and_direction() -> None:
    network = small_network(trained=False)
    assert_allclose(network.dampings().detach(), np.full((4, 6), 1e-2), rtol=1e-4)
    with torch.no_grad():
        network.damping[1, 2], network.damping[3, 5] = 50, -50
    dampings = network.dampings().detach().numpy()
    assert_allclose([dampings[1, 2], dampings[3, 5], dampings[0, 0]], [1e5, 1e-6, 1e-2], rtol=1e-4)


def parameters_of(config: LightConfig | UNetConfig) -> int:
    return sum(values.numel() for values in PixLocNetwork(config).parameters())


def test_numbers_of_parameters() -> None:
    assert parameters_of(LIGHT) == sum(values.numel() for values in small_network().state_dict().values()) - 16 * (
        7 + 13
    ), "but the kernels that smooth 16 channels, which are not learned"
    assert parameters_of(LightConfig()) < 1_000_000 < 15_000_000 < parameters_of(UNetConfig())


def test_convolutions_of_the_published_encoder_are_loaded() -> None:
    """All but the heads of coarse levels and the uncertainties, which start at zero."""
    source, network = LightNetwork(LIGHT), LightNetwork(LIGHT)
    modules = dict(source.named_modules())
    load_convolutions(network, {name: (modules[name].weight, modules[name].bias) for name in ENCODER_ORDER})
    image = torch.from_numpy(IMAGE)[None, None].float()
    with torch.no_grad():
        for (one, _), (other, _) in zip(network(image), source(image), strict=True):
            assert_array_equal(one.numpy(), other.numpy())
    with pytest.raises(RuntimeError, match="no convolutions"):
        load_convolutions(network, {"other": (torch.zeros(1), torch.zeros(1))})
    with pytest.raises(RuntimeError, match="size mismatch"):
        load_convolutions(network, {"stem": (torch.zeros(1), torch.zeros(1))})


@pytest.mark.parametrize("hidden", [16, 32, 48, 112])
def test_every_allowed_number_of_hidden_channels_makes_a_network(hidden: int) -> None:
    config = LightConfig(channels=(8, 16, 16), hidden=hidden, dimension=16)
    assert len(levels_of(small_network(config), IMAGE)) == 4


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "heavy"}, "light"),
        ({}, "kind"),
        ({"kind": "light", "hidden": 8}, "hidden"),
        ({"kind": "light", "hidden": 56}, "hidden"),
        ({"kind": "light", "dimension": 2}, "dimension"),
        ({"kind": "light", "levels": 5}, "levels"),
        ({"kind": "light", "channels": (8, 16)}, "channels"),
        ({"kind": "light", "strides": (1, 4)}, "strides"),
        ({"kind": "unet", "strides": (1, 4)}, "as many dimensions as strides"),
        ({"kind": "unet", "strides": (), "dimensions": ()}, "at least one"),
        ({"kind": "unet", "strides": (4, 1, 16)}, "strides must ascend"),
        ({"kind": "unet", "strides": (1, 4, 4)}, "strides must ascend"),
        ({"kind": "unet", "strides": (1, 4, 32)}, "strides must ascend and be among"),
    ],
)
def test_configurations_that_are_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TypeAdapter(NetworkConfig).validate_python(config)


@pytest.mark.parametrize("config", [LIGHT, UNET])
def test_saved_networks_are_loaded_unchanged(config: NetworkConfig, tmp_path: Path) -> None:
    network, path = small_network(config), tmp_path / "new" / "net.safetensors"
    save_network(network, LOSS, path, {"trained_on": "nothing"})
    again, loss, metadata = load_network(path)
    assert again.config == config
    assert loss == LOSS
    assert metadata == {"trained_on": "nothing"}
    assert not again.training
    assert [file.name for file in path.parent.iterdir()] == ["net.safetensors"]
    for name, values in network.state_dict().items():
        assert torch.equal(again.state_dict()[name], values), name
    for (one, _), (other, _) in zip(levels_of(network, IMAGE), levels_of(again, IMAGE), strict=True):
        assert_array_equal(one, other)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "net.safetensors"
    save_network(small_network(), LOSS, path, {})
    return path


def assert_refused(path: Path) -> None:
    with pytest.raises(FeatureError, match=rf"{path.name}: is no PixLoc network, or is damaged .*: copy it again"):
        load_network(path)


@pytest.mark.parametrize("share", [0, 0.001, 0.01, 0.5, 0.999])
def test_truncated_files_are_refused(saved: Path, tmp_path: Path, share: float) -> None:
    content, path = saved.read_bytes(), tmp_path / "cut.safetensors"
    path.write_bytes(content[: int(share * len(content))])
    assert_refused(path)


def test_missing_and_other_files_are_refused(tmp_path: Path) -> None:
    assert_refused(tmp_path / "none.safetensors")
    (tmp_path / "text.safetensors").write_text("no network")
    assert_refused(tmp_path / "text.safetensors")
    (tmp_path / "folder").mkdir()
    assert_refused(tmp_path / "folder")
    save_file({"weight": torch.zeros(3)}, tmp_path / "foreign.safetensors")
    assert_refused(tmp_path / "foreign.safetensors")


@pytest.mark.parametrize("change", ["config", "robust_loss", "robust_alpha", "tensor", "shape"])
def test_inconsistent_files_are_refused(tmp_path: Path, change: str) -> None:
    network: PixLocNetwork = small_network()
    tensors = dict(network.state_dict())
    metadata = {"config": LIGHT.model_dump_json(), "robust_loss": '{"alpha": 0, "scale": 0.1}'}
    if change == "config":
        metadata["config"] = '{"kind": "light", "levels": 9}'
    elif change == "robust_loss":
        metadata["robust_loss"] = '{"alfa": 0}'
    elif change == "robust_alpha":
        metadata["robust_loss"] = '{"alpha": 7, "scale": 0.1}'
    elif change == "tensor":
        del tensors["damping"]
    else:
        tensors["damping"] = torch.zeros(3, 6)
    path = tmp_path / "changed.safetensors"
    save_file(tensors, path, metadata)
    assert_refused(path)
