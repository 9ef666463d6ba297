"""Parts of the distillation by themselves: soft labels, the refiner, samples, augmentation, the start from ImageNet."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install 'vizloc_ros[train]'")

from hfnet_helpers import SMALL  # noqa: E402
from torch import nn  # noqa: E402

from vizloc_ros.errors import ConfigError  # noqa: E402
from vizloc_ros.features.hfnet.hfnet_config import MobileNetConfig  # noqa: E402
from vizloc_ros.features.hfnet.hfnet_network import MobileHfNet, log_odds_of_cells  # noqa: E402
from vizloc_ros.features.hfnet.postprocessing import Extraction, best_keypoints  # noqa: E402
from vizloc_ros.features.hfnet.subpixel import SubpixelHead  # noqa: E402
from vizloc_ros.training.augmentation import Augmentation  # noqa: E402
from vizloc_ros.training.distillation.distillation_batches import Batch  # noqa: E402
from vizloc_ros.training.distillation.distillation_losses import sample_cells  # noqa: E402
from vizloc_ros.training.distillation.imagenet import load_imagenet  # noqa: E402
from vizloc_ros.training.distillation.refinement import refinement_loss  # noqa: E402
from vizloc_ros.training.teacher.targets import soft_labels  # noqa: E402


@given(hnp.arrays(np.float32, (16, 24), elements=st.floats(0, 1e4, width=32)))
@settings(max_examples=30, deadline=None)
def test_soft_labels_are_probabilities_of_one_keypoint_at_most(odds: np.ndarray) -> None:
    labels = soft_labels(odds)
    assert labels.shape == (65, 2, 3)
    np.testing.assert_allclose(labels.sum(axis=0), 1, rtol=1e-5)
    for y, x in ((0, 0), (7, 7), (9, 17), (15, 23)):
        cell = odds[y // 8 * 8 : y // 8 * 8 + 8, x // 8 * 8 : x // 8 * 8 + 8].astype(np.float64)
        expected = odds[y, x] / (1 + cell.sum())
        assert labels[8 * (y % 8) + x % 8, y // 8, x // 8] == pytest.approx(expected, rel=1e-4, abs=1e-9)
        assert labels[64, y // 8, x // 8] == pytest.approx(1 / (1 + cell.sum()), rel=1e-4)


def test_a_lone_pixel_keeps_its_probability() -> None:
    odds = np.zeros((8, 8), np.float32)
    odds[3, 5] = 0.7 / 0.3
    assert soft_labels(odds)[8 * 3 + 5, 0, 0] == pytest.approx(0.7)


def _blob(x: float, y: float, width: float) -> np.ndarray:
    rows, columns = np.mgrid[0:48, 0:64].astype(np.float32)
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / width)


def test_refiner_learns_where_the_teacher_peaks_from_gray_values() -> None:
    """The student's scores are off by up to a pixel; a bright blob in the image tells where the teacher peaks."""
    rng = np.random.default_rng(0)
    images, labels, logits, points = [], [], [], []
    for x, y in rng.uniform([24, 20], [40, 28], (64, 2)):
        images.append(200 * _blob(x, y, 6)[None])
        labels.append(soft_labels(4 * _blob(x, y, 1)))
        wrong = rng.uniform(-1, 1, 2)
        logits.append(np.log(soft_labels(4 * _blob(x + wrong[0], y + wrong[1], 2)) + 1e-9))
        points.append([[round(x), round(y)], [1, 9]])  # the second is too near to the border to be taught
    stacked = (torch.from_numpy(np.array(values, np.float32)) for values in (images, labels, points))
    gray, taught, keypoints = stacked
    found = log_odds_of_cells(torch.from_numpy(np.array(logits, np.float32)))
    nothing = torch.zeros(64, 2, 1)
    batch = Batch(gray, taught, nothing, keypoints, torch.ones(64, 2, 1), nothing)
    torch.manual_seed(0)
    refiner = SubpixelHead(32)
    optimizer = torch.optim.Adam(refiner.parameters(), 1e-2)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = refinement_loss(refiner, found, batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert 0.3 < losses[0] < 1.5
    assert losses[-1] < 0.3 * losses[0]
    untaught = Batch(gray, taught, nothing, keypoints, torch.zeros(64, 2, 1), nothing)
    assert refinement_loss(refiner, found, untaught).item() == 0


@pytest.mark.parametrize("refiner_channels", [0, 16])
def test_features_are_extracted_where_the_network_is(refiner_channels: int) -> None:
    """The meta device refuses tensors of another, as a GPU would: validation extracts features on it."""
    network = MobileHfNet(SMALL.model_copy(update={"refiner_channels": refiner_channels})).eval().to("meta")
    found = Extraction(network, 50)(torch.zeros(1, 1, 96, 160, dtype=torch.uint8, device="meta"))
    assert {values.device.type for values in found} == {"meta"}
    points, scores = best_keypoints(torch.zeros(1, 1, 48, 64, device="meta"), 20, border=4)
    assert (points.shape, scores.shape) == ((20, 2), (20,))


def test_samples_lie_between_the_centres_of_cells() -> None:
    maps = torch.arange(12.0).reshape(1, 1, 3, 4)
    points = torch.tensor([[[3.5, 3.5], [7.5, 3.5], [11.5, 11.5], [0.0, 0.0]]])
    assert sample_cells(maps, points, 32, 24)[0, :, 0].tolist() == pytest.approx([0, 0.5, 5, 0], abs=1e-5)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_augmentation_keeps_size_and_type_and_depends_on_the_seed_only(seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (48, 64), dtype=np.uint8)
    everything = Augmentation(shade=1, motion_blur=1, exposure=1)
    once, twice = (everything.apply(image, np.random.default_rng(seed)) for _ in range(2))
    assert once.shape == image.shape
    assert once.dtype == np.uint8
    np.testing.assert_array_equal(once, twice)


def imagenet_arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """Weights of the stock network's shapes."""
    rng = np.random.default_rng(seed)
    outputs = [16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320]
    shapes = {"stem": (32, 3, 3, 3)}
    inputs = 32
    for b, width in enumerate(outputs):
        hidden = inputs * (6 if b else 1)
        if b:
            shapes[f"block{b}.expand"] = (hidden, inputs, 1, 1)
        shapes |= {f"block{b}.dw": (hidden, 1, 3, 3), f"block{b}.project": (width, hidden, 1, 1)}
        inputs = width
    arrays = {f"{name}.weight": rng.normal(0, 0.3, shape) for name, shape in shapes.items()}
    arrays |= {f"{name}.bias": rng.normal(0, 0.3, shape[0]) for name, shape in shapes.items()}
    return {name: value.astype(np.float32) for name, value in arrays.items()}


def test_width_one_starts_as_the_stock_network_up_to_the_widened_layers(tmp_path: Path) -> None:
    arrays = imagenet_arrays()
    np.savez(tmp_path / "stock.npz", **arrays)
    backbone = MobileHfNet(MobileNetConfig(width=1.0, clusters=2, global_dimension=8)).backbone
    image = torch.from_numpy(np.random.default_rng(1).uniform(0, 255, (2, 1, 64, 64)).astype(np.float32))
    load_imagenet(backbone, tmp_path / "stock.npz", image)

    def stock(name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
        weight, bias = (torch.from_numpy(arrays[f"{name}.{part}"]) for part in ("weight", "bias"))
        groups = weight.shape[0] if name.endswith("dw") else 1
        return nn.functional.conv2d(x, weight, bias, stride, weight.shape[-1] // 2, groups=groups)

    relu6 = nn.functional.relu6
    x = relu6(stock("stem", ((image - 128) / 128).repeat(1, 3, 1, 1), 2))
    x = stock("block0.project", relu6(stock("block0.dw", x)))
    y = relu6(stock("block1.dw", relu6(stock("block1.expand", x)), 2))
    x = stock("block1.project", y)

    backbone.train()
    got = relu6(backbone.stem((image - 128) / 128))
    for block in backbone.shallow[:2]:
        got = block(got)
    torch.testing.assert_close(got, x, rtol=1e-2, atol=1e-2)


def test_imagenet_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", weight=np.zeros(3))
    backbone = MobileHfNet(MobileNetConfig(width=0.25, clusters=2, global_dimension=8)).backbone
    with pytest.raises(ConfigError, match=r"other\.npz"):
        load_imagenet(backbone, tmp_path / "other.npz", torch.zeros(2, 1, 64, 64))
