"""HF-Net on EdgePoint2's encoder: it is the published network, and extracts what that extracts."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from repository import DATA

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install 'vizloc_ros[train]'")

from hfnet_helpers import texture  # noqa: E402

from vizloc_ros.features.hfnet.edgepoint2 import EdgePoint2Encoder, normalized  # noqa: E402
from vizloc_ros.features.hfnet.hfnet_config import EdgePointConfig  # noqa: E402
from vizloc_ros.features.hfnet.hfnet_export import export_onnx  # noqa: E402
from vizloc_ros.features.hfnet.hfnet_network import EdgePointHfNet, unfold_cells  # noqa: E402
from vizloc_ros.features.hfnet.runtime import HfNetExtractor  # noqa: E402
from vizloc_ros.features.hfnet.vlad_head import MIN_SCORE, VladHead  # noqa: E402
from vizloc_ros.features.onnx_dense_network import DenseNetwork  # noqa: E402
from vizloc_ros.features.types import quantize  # noqa: E402
from vizloc_ros.features.vlad import Vlad  # noqa: E402
from vizloc_ros.training.checkpoint import load_network  # noqa: E402

SMALL = EdgePointConfig(
    channels=(8, 12, 16), hidden=32, descriptor_dimension=16, words=4, global_dimension=12, refiner_channels=8
)
FILE = DATA.parent / "teachers" / "edgepoint2_e64.onnx"


@pytest.fixture(scope="module")
def network() -> EdgePointHfNet:
    torch.manual_seed(0)
    return EdgePointHfNet(SMALL).eval()


@pytest.fixture(scope="module")
def file(network: EdgePointHfNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("edgepoint") / "small.onnx"
    export_onnx(network, path, half=False, max_keypoints=200)
    return path


def test_numbers_of_parameters() -> None:
    network = EdgePointHfNet(EdgePointConfig())
    assert sum(p.numel() for module in (network.encoder, network.detector) for p in module.parameters()) == 154_212


def test_shapes_and_lengths_of_the_outputs(network: EdgePointHfNet) -> None:
    with torch.no_grad():
        log_odds, descriptors = network(torch.rand(2, 1, 64, 96) * 255)
    assert log_odds.shape == (2, 1, 64, 96)
    assert descriptors.shape == (2, 16, 16, 24)


def test_vlad_in_the_graph_is_that_of_the_baselines() -> None:
    torch.manual_seed(1)
    head = VladHead(5, 8, 6)
    head.mean.copy_(0.1 * torch.randn(40))
    descriptors = torch.nn.functional.normalize(torch.randn(300, 8), dim=1)
    scores = torch.linspace(0.9, -0.2, 300)
    used = (scores > MIN_SCORE).numpy()
    vlad = Vlad(head.words.numpy(), head.mean.numpy(), head.projection.T.numpy())
    wanted = vlad.describe(quantize(descriptors.numpy()[used]))
    found = head(descriptors, scores)
    assert float(found.norm()) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(found.numpy(), wanted, atol=0.05)  # int8
    assert head(descriptors, torch.zeros(300)).abs().max() == 0


@pytest.mark.parametrize("side", [2, 4, 8])
def test_cells_are_unfolded_as_pixel_shuffle_does(side: int) -> None:
    cells = torch.randn(2, side * side, 3, 5)
    torch.testing.assert_close(unfold_cells(cells, side), torch.nn.functional.pixel_shuffle(cells, side))


def test_brightness_and_contrast_do_not_matter() -> None:
    image = torch.rand(2, 1, 32, 64) * 100
    torch.testing.assert_close(normalized(image), normalized(1.7 * image + 30), atol=1e-3, rtol=0)


@pytest.mark.parametrize("size", [(96, 64), (130, 101), (160, 120)])
def test_images_of_any_size_are_padded_and_nothing_is_found_beyond(file: Path, size: tuple[int, int]) -> None:
    extractor = HfNetExtractor.open({"weights": str(file), "max_keypoints": 200, "threshold": 0.0}, None)
    image = cv2.resize(texture(3), size)
    features = extractor.extract(image)
    assert len(features)
    width, height = (side // 8 * 8 for side in size)
    assert (features.keypoints >= 0).all()
    assert (features.keypoints[:, 0] <= width - 1).all()
    assert (features.keypoints[:, 1] <= height - 1).all()


@pytest.mark.e2e
@pytest.mark.skipif(not FILE.is_file(), reason=f"the published network {FILE} is not there: set VIZLOC_DATA")
def test_it_is_the_published_network() -> None:
    """All but the order of upsampling and convolution: see ``EdgePoint2Encoder.hidden``."""
    image = cv2.resize(texture(1), (320, 224))
    published = DenseNetwork(FILE)
    maps = published.maps(image)
    network, _ = load_network(FILE)
    with torch.no_grad():
        log_odds, descriptors = network(torch.from_numpy(image)[None, None].float())
    points = np.random.default_rng(0).uniform([0, 0], [319, 223], (500, 2)).astype(np.float32)
    wanted = maps.sample(points)
    grid = torch.from_numpy(2 * (points + 0.5) / np.array([320, 224], np.float32) - 1)[None, None]
    found = torch.nn.functional.grid_sample(descriptors, grid, padding_mode="border", align_corners=False)[0, :, 0].T
    cosines = (torch.nn.functional.normalize(found, dim=1).numpy() * wanted).sum(axis=1)
    assert np.median(cosines) > 0.9995
    assert cosines.min() > 0.99
    difference = log_odds[0, 0].numpy() - maps.scores
    assert np.abs(difference).mean() < 0.02 * maps.scores.std()


@pytest.mark.skipif(not FILE.is_file(), reason=f"the published network {FILE} is not there: set VIZLOC_DATA")
def test_upsampling_first_gives_the_published_descriptors_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    image = cv2.resize(texture(2), (192, 128))
    network, _ = load_network(FILE)

    def hidden(self: EdgePoint2Encoder, x4: torch.Tensor, x8: torch.Tensor, x32: torch.Tensor) -> torch.Tensor:
        up = [torch.nn.functional.interpolate(x, scale_factor=f, mode="bilinear") for x, f in ((x8, 2), (x32, 8))]
        return torch.relu(self.spread(self.join(torch.cat([x4, *up], dim=1))))

    monkeypatch.setattr(EdgePoint2Encoder, "hidden", hidden)
    with torch.no_grad():
        descriptors = network(torch.from_numpy(image)[None, None].float())[1][0].numpy()
    descriptors = descriptors / np.linalg.norm(descriptors, axis=0)
    wanted = DenseNetwork(FILE).maps(image).descriptors
    wanted = wanted / np.linalg.norm(wanted, axis=0)
    np.testing.assert_allclose(descriptors, wanted, atol=1e-3)


def test_weights_in_a_graph_of_any_size_do_not_depend_on_the_image(file: Path) -> None:
    """ONNX Runtime runs convolutions whose weights are no constants much slower."""
    onnx = pytest.importorskip("onnx", reason="onnx is needed for export: pip install 'vizloc_ros[train]'")
    graph = onnx.load(file).graph
    makers = {output: node for node in graph.node for output in node.output}

    def sources(name: str) -> set[str]:
        return {name} if name not in makers else {s for i in makers[name].input if i for s in sources(i)}

    weights = [node.input[1] for node in graph.node if node.op_type == "Conv"]
    assert len(weights) > 10
    assert all("image" not in sources(weight) for weight in weights)
