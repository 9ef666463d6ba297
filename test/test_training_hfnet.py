"""Distillation of HF-Net with a tiny budget: losses fall, runs resume, conversions are exact."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install 'vizloc_ros[train]'")

from torch import nn  # noqa: E402

from vizloc_ros.cli.main import app  # noqa: E402
from vizloc_ros.cli.options_file import read_options  # noqa: E402
from vizloc_ros.errors import ConfigError, ImageError  # noqa: E402
from vizloc_ros.features.extractor import open_extractor  # noqa: E402
from vizloc_ros.features.hfnet.config import HfNetConfig  # noqa: E402
from vizloc_ros.features.hfnet.network import HfNet  # noqa: E402
from vizloc_ros.features.hfnet.refinement import Refiner  # noqa: E402
from vizloc_ros.training.augmentation import Augmentation  # noqa: E402
from vizloc_ros.training.checkpoint import load_checkpoint, load_network, save_checkpoint  # noqa: E402
from vizloc_ros.training.distillation.batches import Batch, Batches  # noqa: E402
from vizloc_ros.training.distillation.config import HfNetTraining  # noqa: E402
from vizloc_ros.training.distillation.imagenet import load_imagenet  # noqa: E402
from vizloc_ros.training.distillation.losses import sample  # noqa: E402
from vizloc_ros.training.distillation.refinement import refinement_loss  # noqa: E402
from vizloc_ros.training.distillation.trainer import HfNetTrainer, learning_rate  # noqa: E402
from vizloc_ros.training.images import TrainingImages  # noqa: E402
from vizloc_ros.training.teacher.network import Teacher, TeacherConfig  # noqa: E402
from vizloc_ros.training.teacher.store import TargetStore  # noqa: E402
from vizloc_ros.training.teacher.targets import soft_labels  # noqa: E402

STEPS = 24


class Corners(nn.Module):
    """A teacher without training: the corners of blocks as keypoints, fixed random filters as descriptors."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.near = nn.AvgPool2d(3, 1, 1)
        self.filters = nn.Conv2d(1, 16, 7, 4, 2)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        across = (image[:, :, :, 1:] - image[:, :, :, :-1]).abs()
        down = (image[:, :, 1:] - image[:, :, :-1]).abs()
        corner = self.near(nn.functional.pad(across, (0, 1))) * self.near(nn.functional.pad(down, (0, 0, 0, 1)))
        return (20 * self.near(corner)).clamp(0, 0.95), self.filters(image - image.mean())


@pytest.fixture(scope="module")
def teacher_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("teacher") / "corners.onnx"
    axes = {"image": {2: "h", 3: "w"}, "scores": {2: "h", 3: "w"}, "descriptors": {2: "hd", 3: "wd"}}
    torch.onnx.export(
        Corners().eval(), (torch.rand(1, 1, 64, 64),), path, dynamo=False, opset_version=17,
        input_names=["image"], output_names=["scores", "descriptors"], dynamic_axes=axes,
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for i in range(24):
        coarse = rng.uniform(0, 255, (12, 14)).astype(np.float32)
        blocks = cv2.resize(coarse, (112, 96), interpolation=cv2.INTER_NEAREST)
        cv2.imwrite(str(folder / f"{i:02d}.png"), blocks.astype(np.uint8))
    return folder


@pytest.fixture
def config(teacher_path: Path, images: Path, tmp_path: Path) -> HfNetTraining:
    return HfNetTraining.model_validate(
        {
            "network": {
                "width": 0.25, "descriptor_dimension": 16, "descriptor_channels": 16, "detector_channels": 16,
                "refiner_channels": 16,
                "clusters": 4, "global_dimension": 8,
            },
            "teacher": {"path": teacher_path, "keypoint_share": 0.01},
            "images": [{"folder": images, "pattern": "*.png"}],
            "targets": tmp_path / "targets",
            "held_out": 0.2,
            "crop": 64,
            "batch": 4,
            "steps": STEPS,
            "learning_rate": 3e-3,
            "vlad_words": 8,
            "validate_every": STEPS // 2,
        }
    )  # fmt: skip


def losses(folder: Path, name: str) -> list[float]:
    with (folder / "log.csv").open() as file:
        return [float(row["value"]) for row in csv.DictReader(file) if row["name"] == name]


def test_the_losses_fall_and_a_resumed_run_is_the_same(config: HfNetTraining, tmp_path: Path) -> None:
    whole = HfNetTrainer(config, tmp_path / "whole")
    seen: list[float] = []
    whole.run(each_step=lambda step, values: seen.append(values["detector"] + values["descriptor"]))
    assert np.mean(seen[-6:]) < 0.85 * np.mean(seen[:6])

    HfNetTrainer(config, tmp_path / "parts").run(until=STEPS // 2)
    resumed = HfNetTrainer(config, tmp_path / "parts")
    resumed.resume()
    again: list[float] = []
    resumed.run(each_step=lambda step, values: again.append(values["detector"] + values["descriptor"]))
    np.testing.assert_allclose(again, seen[STEPS // 2 :], rtol=1e-4)
    assert losses(tmp_path / "parts", "held_out_mma_3px") == pytest.approx(
        losses(tmp_path / "whole", "held_out_mma_3px"), abs=0.05
    )


def test_command_trains_resumes_and_exports_a_file_that_extracts(config: HfNetTraining, tmp_path: Path) -> None:
    content = yaml.safe_dump(config.model_copy(update={"steps": 4}).model_dump(mode="json"))
    (tmp_path / "run.yaml").write_text(content)
    run, exported = tmp_path / "run", tmp_path / "own.onnx"
    command = ["train", "hfnet", "--config", str(tmp_path / "run.yaml"), "--out", str(run)]
    for more in (["--until", "2"], ["--resume"]):
        result = CliRunner().invoke(app, command + more, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    assert load_checkpoint(run / "checkpoint.pt")["step"] == 4
    with pytest.raises(ConfigError, match="--resume"):
        CliRunner().invoke(app, command, catch_exceptions=False)

    result = CliRunner().invoke(app, ["export", "hfnet", str(run), "--out", str(exported)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    image = cv2.imread(str(config.images[0].folder / "00.png"), cv2.IMREAD_GRAYSCALE)
    features = open_extractor(str(exported), {"threshold": 0}).extract(image)
    assert len(features) > 0
    assert features.descriptors.shape == (len(features), 16)
    assert features.global_descriptor.shape == (8,)


def test_shipped_configuration_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VIZLOC_DATA", "VIZLOC_TEACHERS"):
        monkeypatch.setenv(name, f"/{name.lower()}")
    config = read_options(Path(__file__).parents[1] / "config" / "hfnet_training.yaml", HfNetTraining)
    assert config.teacher.path.is_relative_to("/vizloc_teachers")
    assert "$" not in config.model_dump_json()


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"step": 1})
    with pytest.raises(ConfigError, match=r"checkpoint\.pt"):
        load_network(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ConfigError, match=r"checkpoint\.pt.*damaged"):
        load_checkpoint(path)
    with pytest.raises(ConfigError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "absent.pt")


def test_damaged_targets_are_named(config: HfNetTraining, images: Path) -> None:
    store = TargetStore(Teacher(config.teacher), config.targets)
    image, targets = store.load(images / "00.png")
    kept = next(config.targets.glob("*.npz"))
    same_image, same = store.load(images / "00.png")
    np.testing.assert_array_equal(image, same_image)
    np.testing.assert_array_equal(targets.descriptors, same.descriptors)
    kept.write_bytes(kept.read_bytes()[:50])
    with pytest.raises(ImageError, match=kept.name):
        store.load(images / "00.png")


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
    found, nothing = torch.from_numpy(np.array(logits, np.float32)), torch.zeros(64, 2, 1)
    batch = Batch(gray, taught, nothing, keypoints, torch.ones(64, 2, 1), nothing)
    torch.manual_seed(0)
    refiner = Refiner(32)
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


def test_targets_of_a_crop_are_those_of_its_part(config: HfNetTraining, images: Path) -> None:
    _, targets = TargetStore(Teacher(config.teacher), None).load(images / "01.png")
    part = targets.crop(16, 24, 64, 48)
    np.testing.assert_array_equal(part.labels, targets.labels[:, 3:9, 2:10])
    np.testing.assert_array_equal(part.descriptors, targets.descriptors[:, 3:9, 2:10])
    inside = [(x - 16, y - 24) for x, y in targets.keypoints if 16 <= x <= 79 and 24 <= y <= 71]
    assert len(part.keypoint_descriptors) == len(inside) > 0
    np.testing.assert_allclose(part.keypoints, inside)


def test_samples_lie_between_the_centres_of_cells() -> None:
    maps = torch.arange(12.0).reshape(1, 1, 3, 4)
    points = torch.tensor([[[3.5, 3.5], [7.5, 3.5], [11.5, 11.5], [0.0, 0.0]]])
    assert sample(maps, points)[0, :, 0].tolist() == pytest.approx([0, 0.5, 5, 0], abs=1e-5)


def test_the_rate_falls_tenfold_at_the_drops(config: HfNetTraining) -> None:
    config = config.model_copy(update={"steps": 100, "drops": (0.5, 0.9), "learning_rate": 1.0})
    rates = [learning_rate(config, step) for step in (0, 49, 50, 89, 90, 99)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_augmentation_keeps_size_and_type_and_depends_on_the_seed_only(seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, (48, 64), dtype=np.uint8)
    everything = Augmentation(shade=1, motion_blur=1, exposure=1)
    once, twice = (everything.apply(image, np.random.default_rng(seed)) for _ in range(2))
    assert once.shape == image.shape
    assert once.dtype == np.uint8
    np.testing.assert_array_equal(once, twice)


def test_batches_depend_on_the_step_only(config: HfNetTraining) -> None:
    images = TrainingImages(config.images, config.held_out)
    batches = Batches(config, images, TargetStore(Teacher(config.teacher), None), None)
    torch.testing.assert_close(batches.batch(3).images, batches.batch(3).images)
    assert not torch.equal(batches.batch(3).images, batches.batch(4).images)


def test_a_run_draws_the_images_that_it_always_drew(config: HfNetTraining, tmp_path: Path) -> None:
    """Or a resumed run would not go on as the uninterrupted one; learning the vocabulary takes nothing from it."""
    run = HfNetTrainer(config, tmp_path / "run")
    drawn = [path.stem for path in run.images.draw(8, np.random.default_rng([0, 3]))]
    assert drawn == ["05", "03", "20", "04", "20", "20", "03", "12"]
    assert [path.stem for path in run.images.held_out] == ["00", "01", "08", "09", "14", "15", "22", "23"]
    untaught = Batches(config, run.images, TargetStore(Teacher(config.teacher), None), None).batch(3)
    torch.testing.assert_close(run.batches.batch(3).images, untaught.images)


def test_the_vocabulary_is_kept_and_a_damaged_one_is_named(config: HfNetTraining, tmp_path: Path) -> None:
    HfNetTrainer(config, tmp_path)
    kept = tmp_path / "vlad.npz"
    content = kept.read_bytes()
    HfNetTrainer(config, tmp_path)
    assert kept.read_bytes() == content
    kept.write_bytes(content[:50])
    with pytest.raises(ConfigError, match=r"vlad\.npz: is no vocabulary .*delete it"):
        HfNetTrainer(config, tmp_path)


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
    backbone = HfNet(HfNetConfig(width=1.0, clusters=2, global_dimension=8)).backbone
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
    backbone = HfNet(HfNetConfig(width=0.25, clusters=2, global_dimension=8)).backbone
    with pytest.raises(ConfigError, match=r"other\.npz"):
        load_imagenet(backbone, tmp_path / "other.npz", torch.zeros(2, 1, 64, 64))


def test_a_teacher_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"absent\.onnx"):
        Teacher(TeacherConfig(path=tmp_path / "absent.onnx"))
