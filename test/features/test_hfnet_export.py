"""The exported graph computes what the modules compute, in fixed and in any size."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is needed for export: pip install 'vizloc_ros[train]'")
onnx = pytest.importorskip("onnx", reason="onnx is needed for export: pip install 'vizloc_ros[train]'")

from hfnet_helpers import MAX_KEYPOINTS, exported, small_network, tensor, texture  # noqa: E402

from vizloc_ros.errors import ConfigError  # noqa: E402
from vizloc_ros.features.hfnet.hfnet_network import HfNet  # noqa: E402
from vizloc_ros.features.hfnet.postprocessing import Extracted, Extraction  # noqa: E402
from vizloc_ros.features.hfnet.weights import HFNET_METADATA, OUTPUTS  # noqa: E402
from vizloc_ros.features.onnx_export import weights_identity  # noqa: E402

pytestmark = pytest.mark.e2e

SIZES = [(16, 16), (104, 56), (160, 96), (40, 200)]
FIXED = (104, 56)  # 13 x 7 cells


@pytest.fixture(scope="module")
def network() -> HfNet:
    return small_network()


@pytest.fixture(scope="module")
def dynamic(network: HfNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("dynamic"), network, half=False)


@pytest.fixture(scope="module")
def fixed(network: HfNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported(tmp_path_factory.mktemp("fixed"), network, size=FIXED, half=False)


@pytest.fixture(scope="module")
def half(network: HfNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With metadata of its own, and from a network in training mode."""
    network.train()
    path = exported(tmp_path_factory.mktemp("half"), network, metadata={"teacher": "edgepoint2"})
    assert network.training
    network.eval()
    return path


def run(path: Path, image: np.ndarray) -> Extracted:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return Extracted(*session.run(None, {"image": np.ascontiguousarray(image)[None, None]}))


def assert_equal_features(found: Extracted, expected: Extracted) -> None:
    """In any order, for two scores may differ by less than the rounding."""
    counts = [int((features.scores > 0).sum()) for features in (found, expected)]
    assert counts[0] == counts[1] > 0
    orders = [
        np.lexsort((np.asarray(features.keypoints)[:count, 0], np.asarray(features.keypoints)[:count, 1]))
        for features, count in zip((found, expected), counts, strict=True)
    ]
    for name in ("keypoints", "offsets", "scores", "descriptors"):
        one, other = (
            np.asarray(getattr(features, name))[order]
            for features, order in zip((found, expected), orders, strict=True)
        )
        np.testing.assert_allclose(one, other, atol=2e-3 if name == "offsets" else 1e-4, err_msg=name)
    np.testing.assert_allclose(found.global_descriptor, expected.global_descriptor, atol=1e-4)


def extracted(network: HfNet, image: np.ndarray) -> Extracted:
    with torch.no_grad():
        return Extraction(network, MAX_KEYPOINTS)(tensor(image))


@pytest.mark.parametrize("size", SIZES)
def test_any_size_as_in_torch(network: HfNet, dynamic: Path, size: tuple[int, int]) -> None:
    image = texture(7, size)
    found = run(dynamic, image)
    assert found.keypoints.shape == (MAX_KEYPOINTS, 2)
    assert (np.diff(found.scores) <= 0).all()
    assert_equal_features(found, extracted(network, image))


def test_a_fixed_size_as_in_torch(network: HfNet, fixed: Path) -> None:
    image = texture(8, FIXED)
    assert_equal_features(run(fixed, image), extracted(network, image))
    (image_input,) = onnx.load(fixed).graph.input
    assert [axis.dim_value for axis in image_input.type.tensor_type.shape.dim] == [1, 1, FIXED[1], FIXED[0]]


def test_descriptors_are_those_of_the_network_itself(network: HfNet, dynamic: Path) -> None:
    """In the middle of four cells, the mean of their descriptors."""
    image = texture(9, (160, 96))
    found = run(dynamic, image)
    with torch.no_grad():
        outputs = network(tensor(image).float())
    grid = 2 * (torch.from_numpy(found.keypoints) + 0.5) / torch.tensor([160.0, 96.0]) - 1
    sampled = torch.nn.functional.grid_sample(
        outputs.descriptors, grid[None, None], padding_mode="border", align_corners=False
    )[0, :, 0]
    expected = torch.nn.functional.normalize(sampled, dim=0).t().numpy()
    np.testing.assert_allclose(found.descriptors, expected, atol=1e-4)
    np.testing.assert_allclose(found.global_descriptor, outputs.global_descriptor[0], atol=1e-4)


def test_16_bit_storage_changes_next_to_nothing(dynamic: Path, half: Path) -> None:
    image = texture(7)
    stored = [sum(len(t.raw_data) for t in onnx.load(path).graph.initializer) for path in (half, dynamic)]
    assert stored[0] < 0.6 * stored[1]
    found, expected = run(half, image), run(dynamic, image)
    np.testing.assert_allclose(found.global_descriptor, expected.global_descriptor, atol=5e-3)
    same = {tuple(p) for p in found.keypoints[:100]} & {tuple(p) for p in expected.keypoints[:100]}
    assert len(same) >= 90


def test_the_file_is_for_older_runtimes_and_has_folded_batch_norms(dynamic: Path) -> None:
    model = onnx.load(dynamic)
    assert model.ir_version <= 9
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    operators = {node.op_type for node in model.graph.node}
    assert "Conv" in operators
    assert "BatchNormalization" not in operators
    assert tuple(output.name for output in model.graph.output) == OUTPUTS == Extracted._fields


def test_the_file_says_what_it_is(network: HfNet, half: Path) -> None:
    properties = {entry.key: entry.value for entry in onnx.load(half).metadata_props}
    assert properties["teacher"] == "edgepoint2"
    assert network.config == type(network.config).model_validate_json(properties["config"])
    assert list(half.parent.iterdir()) == [half]


def test_the_weights_id_changes_with_the_weights_alone(network: HfNet, dynamic: Path, fixed: Path, half: Path) -> None:
    def weights_id(path: Path) -> str:
        return {entry.key: entry.value for entry in onnx.load(path).metadata_props}["weights_id"]

    assert weights_id(fixed) == weights_id(dynamic) == weights_identity(network, half=False)
    assert weights_id(half) == weights_identity(network, half=True) != weights_id(dynamic)
    other = small_network()
    with torch.no_grad():
        other.global_head.centres[-1, -1] += 1e-6
    assert weights_identity(other, half=False) != weights_id(dynamic)


@pytest.mark.parametrize("size", [(100, 64), (64, 8), (0, 64)])
def test_impossible_sizes_are_refused(network: HfNet, tmp_path: Path, size: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match=f"for {size[0]}x{size[1]}: use multiples of 8"):
        exported(tmp_path, network, size=size)


def test_metadata_cannot_take_the_format_s_names(network: HfNet, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=HFNET_METADATA):
        exported(tmp_path, network, metadata={HFNET_METADATA: "7"})
