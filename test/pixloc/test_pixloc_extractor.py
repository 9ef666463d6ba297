"""Network extractor: the exported network gives the features of PyTorch, and other files are refused."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from repository import REPOSITORY

pytestmark = pytest.mark.e2e

REASON = "PyTorch and onnx are needed to export a network to test with: pip install 'vizloc_ros[train]'"
torch = pytest.importorskip("torch", reason=REASON)
onnx = pytest.importorskip("onnx", reason=REASON)

from hfnet_helpers import texture  # noqa: E402
from pixloc_small import LOSS, UNET, exported, levels_of, small_network  # noqa: E402

from vizloc_ros.errors import ConfigError, DeviceError, FeatureError, ImageError  # noqa: E402
from vizloc_ros.features.checksummed_onnx import CHECKSUM_METADATA, EMPTY_CHECKSUM, with_checksum  # noqa: E402
from vizloc_ros.features.device import Device, available  # noqa: E402
from vizloc_ros.features.hfnet.weights import DEFAULT_WEIGHTS as HFNET_WEIGHTS  # noqa: E402
from vizloc_ros.features.onnx_export import weights_identity  # noqa: E402
from vizloc_ros.pixloc.extractors.network_extractor import NetworkExtractor  # noqa: E402
from vizloc_ros.pixloc.extractors.pixloc_weights import DEFAULT_WEIGHTS, PIXLOC_METADATA  # noqa: E402
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor, open_pyramid_extractor  # noqa: E402
from vizloc_ros.pixloc.image_fit import scale_to_multiples  # noqa: E402
from vizloc_ros.pixloc.network.model import PixLocNetwork  # noqa: E402
from vizloc_ros.pixloc.network.network_store import load_network  # noqa: E402

ONE_THREAD = Device(threads=1)


@pytest.fixture(scope="module")
def network() -> PixLocNetwork:
    return small_network()


@pytest.fixture(scope="module")
def weights(network: PixLocNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("weights") / "net.onnx", network, half=False)


@pytest.fixture(scope="module")
def extractor(weights: Path) -> NetworkExtractor:
    return NetworkExtractor(weights, ONE_THREAD)


def assert_as_in_torch(extractor: PyramidExtractor, network: PixLocNetwork, image: np.ndarray, atol: float) -> None:
    pyramid = extractor.extract(image)
    expected = levels_of(network, scale_to_multiples(image, 640))
    assert pyramid.image_size == image.shape[::-1]
    for level, (features, confidences) in zip(pyramid.levels, expected, strict=True):
        assert level.features.dtype == level.confidences.dtype == np.float32
        assert level.features.flags.c_contiguous
        assert_allclose(level.features, features, atol=atol)
        assert_allclose(level.confidences, confidences, atol=atol)
        assert_allclose(level.scale, np.array(level.shape[::-1]) / image.shape[::-1])


@pytest.mark.parametrize("size", [(96, 64), (160, 128), (150, 110)])
def test_features_of_any_size_are_those_of_torch(
    extractor: NetworkExtractor, network: PixLocNetwork, size: tuple[int, int]
) -> None:
    """An image of 150 x 110 is resized to 160 x 96."""
    assert_as_in_torch(extractor, network, texture(1, size), 1e-5)


def test_features_of_16_bit_weights_are_nearly_the_same(network: PixLocNetwork, weights: Path, tmp_path: Path) -> None:
    path = exported(tmp_path / "half.onnx", network)
    assert path.stat().st_size < weights.stat().st_size
    half = NetworkExtractor(path, ONE_THREAD)
    assert_as_in_torch(half, network, texture(1, (160, 128)), 1e-2)
    assert half.model_id != NetworkExtractor(weights, ONE_THREAD).model_id


def test_features_of_the_paper_s_network_are_those_of_torch(tmp_path: Path) -> None:
    network = small_network(UNET)
    extractor = NetworkExtractor(exported(tmp_path / "unet.onnx", network, half=False), ONE_THREAD)
    assert extractor.description.kind == "unet"
    for size in ((96, 64), (150, 110)):
        assert_as_in_torch(extractor, network, texture(1, size), 1e-4)


def test_a_size_that_is_no_multiple_of_32_is_refused(network: PixLocNetwork, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="multiples of 32, not 640x360"):
        exported(tmp_path / "fixed.onnx", network, half=False, size=(640, 360))
    assert not (tmp_path / "fixed.onnx").exists()


def test_a_graph_of_fixed_size_refuses_other_sizes(network: PixLocNetwork, tmp_path: Path) -> None:
    extractor = NetworkExtractor(exported(tmp_path / "fixed.onnx", network, half=False, size=(96, 64)), ONE_THREAD)
    assert_as_in_torch(extractor, network, texture(1, (96, 64)), 1e-5)
    assert_as_in_torch(extractor, network, texture(1, (100, 70)), 1e-5)
    with pytest.raises(FeatureError, match=r"fixed\.onnx: fails on 'cpu' with an image of 160x96"):
        extractor.extract(texture(1, (160, 96)))


def test_a_large_image_is_shrunk_and_a_tiny_one_refused(weights: Path) -> None:
    extractor = NetworkExtractor(weights, ONE_THREAD, long_side=128)
    pyramid = extractor.extract(texture(2, (320, 240)))
    assert pyramid.image_size == (320, 240)
    assert [level.shape for level in pyramid.levels] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    with pytest.raises(ImageError, match="an image of 60x200 is too small"):
        extractor.extract(texture(2, (60, 200)))


def test_the_file_holds_the_learned_parameters(network: PixLocNetwork, tmp_path: Path) -> None:
    path = exported(tmp_path / "net.onnx", network, metadata={"trained_on": "nothing", "kind": "overruled"})
    extractor = NetworkExtractor(path, ONE_THREAD, long_side=320)
    description = extractor.description
    assert_allclose(extractor.learned.dampings, network.dampings().detach(), rtol=1e-5)
    assert extractor.learned.loss == LOSS
    assert extractor.unit_features
    assert description.metadata["trained_on"] == "nothing"
    assert description.kind == "light"
    assert description.weights_id == weights_identity(network, True)
    assert extractor.model_id == f"pixloc-light-{description.weights_id}-320"


def test_other_weights_have_another_id(network: PixLocNetwork, weights: Path, tmp_path: Path) -> None:
    changed = small_network()
    with torch.no_grad():
        changed.damping[0, 0] += 0.1
    ids = {
        NetworkExtractor(weights, ONE_THREAD).model_id,
        NetworkExtractor(weights, ONE_THREAD, long_side=320).model_id,
        NetworkExtractor(exported(tmp_path / "a.onnx", changed, half=False), ONE_THREAD).model_id,
    }
    assert len(ids) == 3
    again = NetworkExtractor(exported(tmp_path / "b.onnx", network, half=False), ONE_THREAD)
    assert again.model_id in ids


def test_export_does_not_change_the_network(network: PixLocNetwork, tmp_path: Path) -> None:
    before = {name: values.clone() for name, values in network.state_dict().items()}
    network.train()
    exported(tmp_path / "new" / "net.onnx", network)
    assert network.training
    network.eval()
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["net.onnx"]


def test_calls_from_several_threads_agree(extractor: NetworkExtractor) -> None:
    images = [texture(seed, (96, 64)) for seed in range(3)]
    expected = [extractor.extract(image) for image in images]
    with ThreadPoolExecutor(3) as pool:
        for found, wanted in zip(pool.map(extractor.extract, images * 3), expected * 3, strict=True):
            for one, other in zip(found.levels, wanted.levels, strict=True):
                assert_array_equal(one.features, other.features)


def test_extractors_are_opened_by_name(weights: Path) -> None:
    assert open_pyramid_extractor("photometric", long_side=320).model_id.endswith("-320")
    assert open_pyramid_extractor(str(weights), ONE_THREAD, 320).model_id.endswith("-320")
    default = open_pyramid_extractor(device=ONE_THREAD)
    assert default.model_id == NetworkExtractor(DEFAULT_WEIGHTS, ONE_THREAD).model_id


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.onnx", tmp_path):
        with pytest.raises(FeatureError, match=rf"{path.name}: the weights cannot be read .*'vizloc export pixloc'"):
            NetworkExtractor(path, ONE_THREAD)


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.999])
def test_truncated_weights_are_refused(weights: Path, tmp_path: Path, share: float) -> None:
    content, path = weights.read_bytes(), tmp_path / "cut.onnx"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(FeatureError, match=r"cut\.onnx: is (cut off|damaged)"):
        NetworkExtractor(path, ONE_THREAD)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9])
def test_a_flipped_bit_in_the_weights_is_found(weights: Path, tmp_path: Path, share: float) -> None:
    content, path = bytearray(weights.read_bytes()), tmp_path / "flipped.onnx"
    content[int(share * len(content))] ^= 4
    path.write_bytes(content)
    with pytest.raises(FeatureError, match=r"flipped\.onnx: is damaged"):
        NetworkExtractor(path, ONE_THREAD)


def test_other_files_are_refused(tmp_path: Path) -> None:
    text, sealed = tmp_path / "text.onnx", tmp_path / "sealed.onnx"
    text.write_text("no network")
    with pytest.raises(FeatureError, match=r"text\.onnx: is cut off, or no PixLoc network that 'vizloc export pixloc'"):
        NetworkExtractor(text, ONE_THREAD)
    sealed.write_bytes(with_checksum(f"no network {EMPTY_CHECKSUM}".encode()))
    with pytest.raises(FeatureError, match=r"sealed\.onnx: ONNX Runtime .* cannot load it"):
        NetworkExtractor(sealed, ONE_THREAD)


def test_a_network_for_matching_is_refused() -> None:
    with pytest.raises(FeatureError, match=r"hfnet\.onnx: is a PixLoc network of format None with outputs .*: export"):
        NetworkExtractor(HFNET_WEIGHTS, ONE_THREAD)


@pytest.mark.parametrize("change", ["version", "outputs"])
def test_networks_of_another_format_are_refused(weights: Path, tmp_path: Path, change: str) -> None:
    model = onnx.load(weights)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    if change == "version":
        properties[PIXLOC_METADATA] = "99"
    else:
        del model.graph.output[1]
    onnx.helper.set_model_props(model, {**properties, CHECKSUM_METADATA: EMPTY_CHECKSUM})
    path = tmp_path / "other.onnx"
    path.write_bytes(with_checksum(model.SerializeToString()))
    with pytest.raises(FeatureError, match=r"other\.onnx: is a PixLoc network of format .* export it again"):
        NetworkExtractor(path, ONE_THREAD)


def test_a_provider_that_is_not_installed_is_an_error(weights: Path) -> None:
    if "cuda" in available():
        pytest.skip("this onnxruntime has cuda")
    with pytest.raises(DeviceError, match=r"run on 'cuda', but this onnxruntime has .*cpu"):
        NetworkExtractor(weights, Device(provider="cuda"))


@pytest.fixture(scope="module")
def shipped() -> tuple[NetworkExtractor, PixLocNetwork]:
    network, loss, _ = load_network(DEFAULT_WEIGHTS.with_suffix(".safetensors"))
    extractor = NetworkExtractor(DEFAULT_WEIGHTS, ONE_THREAD)
    assert extractor.learned.loss == loss
    return extractor, network


def test_the_shipped_files_are_of_the_same_network(shipped: tuple[NetworkExtractor, PixLocNetwork]) -> None:
    extractor, network = shipped
    assert extractor.description.weights_id in {weights_identity(network, half) for half in (True, False)}
    assert extractor.description.metadata["config"] == network.config.model_dump_json()
    assert_allclose(extractor.learned.dampings, network.dampings().detach(), rtol=1e-5)
    assert_as_in_torch(extractor, network, texture(4, (160, 96), 3), 2e-2)


def test_the_shipped_features_are_equivariant_to_shifts(shipped: tuple[NetworkExtractor, PixLocNetwork]) -> None:
    """A feature is nearest to itself in the image shifted by 32 pixels."""
    extractor, image = shipped[0], texture(5, (352, 224), 3)
    one, other = (
        extractor.extract(np.ascontiguousarray(cv2.blur(image, (3, 3))[:, start : start + 320])).levels[0].features
        for start in (0, 32)
    )
    here, there = one[16:40, 24:64].reshape(-1, one.shape[2]), other[16:40, 16:56].reshape(-1, one.shape[2])
    nearest = (here @ there.T).argmax(axis=1)
    rows, columns = np.divmod(nearest - np.arange(len(here)), 40)
    assert ((np.abs(rows) <= 1) | (np.abs(columns) <= 1)).mean() > 0.9


def test_running_needs_neither_torch_nor_onnx() -> None:
    program = (
        "import sys, vizloc_ros.pixloc.extractors.network_extractor, vizloc_ros.pixloc.extractors.photometric, "
        "vizloc_ros.pixloc.extractors.ablations, vizloc_ros.pixloc.optimizer.alignment; "
        "sys.exit(bool({'torch', 'onnx', 'safetensors'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=REPOSITORY)
