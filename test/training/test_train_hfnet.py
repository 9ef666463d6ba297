"""Distillation of HF-Net with a tiny budget: losses fall, runs resume, conversions are exact."""

import csv
import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import yaml
from pydantic import ValidationError
from repository import REPOSITORY
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install 'vizloc_ros[train]'")

from torch import nn  # noqa: E402

from vizloc_ros.cli.config_file import read_options  # noqa: E402
from vizloc_ros.cli.main import app  # noqa: E402
from vizloc_ros.errors import ConfigError, DatasetError, ImageError  # noqa: E402
from vizloc_ros.features.device import Device  # noqa: E402
from vizloc_ros.features.extractor import open_extractor  # noqa: E402
from vizloc_ros.features.hfnet.hfnet_config import MobileNetConfig  # noqa: E402
from vizloc_ros.features.hfnet.hfnet_network import MobileHfNet  # noqa: E402
from vizloc_ros.features.onnx_dense_network import DenseNetwork, DenseNetworkConfig  # noqa: E402
from vizloc_ros.training.checkpoint import load_checkpoint, load_network, save_checkpoint  # noqa: E402
from vizloc_ros.training.distillation.distillation_batches import Batch, Batches  # noqa: E402
from vizloc_ros.training.distillation.distillation_options import HfNetTraining  # noqa: E402
from vizloc_ros.training.distillation.hfnet_trainer import HfNetTrainer, learning_rate  # noqa: E402
from vizloc_ros.training.log import TrainingLog  # noqa: E402
from vizloc_ros.training.teacher.target_store import TargetStore  # noqa: E402
from vizloc_ros.training.teacher.teacher_network import Teacher, TeacherOptions  # noqa: E402
from vizloc_ros.training.teacher.warps import Warps  # noqa: E402
from vizloc_ros.training.training_images import ImageSource, TrainingImages  # noqa: E402
from vizloc_ros.training.training_options import fixed_options  # noqa: E402

pytestmark = pytest.mark.e2e

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
            "teacher": {"path": teacher_path, "keypoint_ratio": 0.01},
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
    resumed = HfNetTrainer(config, tmp_path / "parts", resume=True)
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


@pytest.fixture
def small(config: HfNetTraining) -> HfNetTraining:
    """Options of a run of a second: local heads only."""
    return config.model_copy(update={"steps": 4, "validate_every": 2, "global_every": 0, "batch": 2})


def test_a_run_on_few_images_validates(small: HfNetTraining, images: Path, tmp_path: Path) -> None:
    few = ImageSource(folder=images, pattern="0[2-5].png")
    config = small.model_copy(update={"images": [few], "held_out": 0.03, "steps": 2})
    run = HfNetTrainer(config, tmp_path / "run")
    assert [path.name for path in run.images.held_out] == ["02.png"]
    run.run()
    assert losses(run.folder, "held_out_clean_detector")
    with pytest.raises(DatasetError, match=r"1 images match '05.png', .* give more"):
        TrainingImages([few.model_copy(update={"pattern": "05.png"})], 0.03)
    with pytest.raises(DatasetError, match=r"0 images match '\*\.tif'"):
        TrainingImages([few.model_copy(update={"pattern": "*.tif"})], 0.03)


def test_a_failing_validation_loses_nothing(
    small: HfNetTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = HfNetTrainer(small, tmp_path / "run")
    monkeypatch.setattr(run, "validate", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run.run()
    assert load_checkpoint(run.checkpoint)["step"] == 2


def test_an_interrupted_run_is_saved_and_continues_the_same_curve(small: HfNetTraining, tmp_path: Path) -> None:
    def stop(step: int, values: Mapping[str, float]) -> None:
        if step == 3:
            raise KeyboardInterrupt

    run = HfNetTrainer(small, tmp_path / "parts")
    with pytest.raises(KeyboardInterrupt):
        run.run(each_step=stop)
    assert load_checkpoint(run.checkpoint)["step"] == 3
    for folder, resume in (("whole", False), ("parts", True)):
        HfNetTrainer(small, tmp_path / folder, resume=resume).run()
    whole, parts = (losses(tmp_path / folder, "held_out_clean_detector") for folder in ("whole", "parts"))
    assert parts == pytest.approx(whole, rel=1e-4)


def test_an_unreadable_image_stops_a_run_that_has_been_saved(
    small: HfNetTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = HfNetTrainer(small, tmp_path / "run")
    batch = run.batches.batch

    def gone(step: int) -> Batch:
        if step == 3:
            raise ImageError("gone")
        return batch(step)

    monkeypatch.setattr(run.batches, "batch", gone)
    with pytest.raises(ImageError, match="gone"):
        run.run()
    assert load_checkpoint(run.checkpoint)["step"] == 3


def test_a_diverged_run_stops_before_it_is_saved(
    small: HfNetTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = HfNetTrainer(small, tmp_path / "run")
    loss = run.loss.forward
    monkeypatch.setattr(
        run.loss, "forward", lambda *given: (loss(*given)[0] * (np.nan if run.step == 3 else 1), loss(*given)[1])
    )
    with pytest.raises(ConfigError, match=r"step 3: loss and gradient are nan .*learning_rate.*checkpoint\.pt"):
        run.run()
    assert load_checkpoint(run.checkpoint)["step"] == 2
    assert all(torch.isfinite(values).all() for values in run.network.parameters())


def test_a_run_is_not_overwritten_nor_resumed_as_another(small: HfNetTraining, tmp_path: Path) -> None:
    HfNetTrainer(small, tmp_path).run(until=2)
    absent = small.model_copy(update={"teacher": TeacherOptions(path=tmp_path / "absent.onnx")})
    with pytest.raises(ConfigError, match=r"checkpoint\.pt: there is a run already"):
        HfNetTrainer(absent, tmp_path)
    with pytest.raises(ConfigError, match=r"another teacher\.keypoint_ratio, teacher\.path: resume it with that"):
        HfNetTrainer(absent, tmp_path, resume=True)
    longer = {"steps": 6, "drops": (0.1, 0.2), "learning_rate": 1e-4, "validate_every": 3, "targets": None}
    assert HfNetTrainer(small.model_copy(update=longer), tmp_path, resume=True).step == 2
    source = ImageSource(folder=small.images[0].folder, pattern="0*.png")
    changed = {"seed": 3, "batch": 3, "crop": 32, "images": [source]}
    with pytest.raises(ConfigError, match=r"another batch, crop, images\[0\]\.pattern, seed:"):
        HfNetTrainer(small.model_copy(update=changed), tmp_path, resume=True)
    saved = load_checkpoint(tmp_path / "checkpoint.pt")
    save_checkpoint(tmp_path / "checkpoint.pt", saved | {"network": MobileHfNet(MobileNetConfig()).state_dict()})
    with pytest.raises(ConfigError, match=r"checkpoint\.pt: is a checkpoint of another network"):
        HfNetTrainer(small, tmp_path, resume=True)
    save_checkpoint(tmp_path / "checkpoint.pt", saved | {"config": '{"global_training": {"layers": "head"}}'})
    with pytest.raises(ConfigError, match=r"checkpoint\.pt: is no checkpoint of this stage"):
        HfNetTrainer(small, tmp_path, resume=True)
    with pytest.raises(ConfigError, match="no such checkpoint"):
        HfNetTrainer(small, tmp_path / "empty", resume=True)


def test_a_teacher_of_other_descriptors_is_refused(small: HfNetTraining, tmp_path: Path) -> None:
    network = small.network.model_copy(update={"descriptor_dimension": 24})
    with pytest.raises(
        ConfigError, match=r"network\.descriptor_dimension is 24, .*teacher\.path .*corners\.onnx have 16"
    ):
        HfNetTrainer(small.model_copy(update={"network": network}), tmp_path)


def test_small_images_are_found_when_a_run_starts(small: HfNetTraining, images: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"\.png \(and 23 more\): smaller than a crop of 104 px"):
        HfNetTrainer(small.model_copy(update={"crop": 104}), tmp_path)
    with pytest.raises(ValidationError, match=r"a view of 64 px is smaller than a crop of 96 px"):
        HfNetTraining.model_validate(small.model_dump() | {"crop": 96, "warps": {"ratio": 0.5, "side": 64}})


def test_the_teacher_obeys_threads_and_provider(
    config: HfNetTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices = []

    def opened(path: Path, network: DenseNetworkConfig, device: Device) -> DenseNetwork:
        devices.append(device)
        return DenseNetwork(path, network, dataclasses.replace(device, provider="cpu"))

    monkeypatch.setattr("vizloc_ros.training.teacher.teacher_network.DenseNetwork", opened)
    content = config.model_copy(update={"steps": 1, "global_every": 0}).model_dump(mode="json")
    content["teacher"]["provider"] = "cuda"
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(content))
    command = ["train", "hfnet", "--config", str(tmp_path / "run.yaml"), "--out", str(tmp_path), "--threads", "1"]
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    assert devices == [Device("cuda", threads=1)]
    on_gpu = config.teacher.model_copy(update={"provider": "cuda"})
    assert Teacher(on_gpu).fingerprint == Teacher(config.teacher).fingerprint


def test_the_log_goes_on_after_a_kill_and_a_fresh_run_starts_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    log = TrainingLog(path)
    log.write(10, {"loss": 1.5, "held_out": float("nan")})
    log.write(20, {"loss": -1e-7})
    whole = path.read_bytes()
    log.write(30, {"loss": 3.0})
    for torn in (b"20", b"20,lo", b"20,loss,0.2", b"\xff\x00\r\n"):
        path.write_bytes(path.read_bytes() + torn)
        assert TrainingLog(path, resumed=20).path.read_bytes() == whole
    assert TrainingLog(path).path.read_text().splitlines() == ["step,name,value"]


def test_shipped_configuration_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VIZLOC_DATA", "VIZLOC_TEACHERS"):
        monkeypatch.setenv(name, f"/{name.lower()}")
    config = read_options(REPOSITORY / "config" / "hfnet_training.yaml", HfNetTraining)
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
    for damaged in (kept.read_bytes()[:50], b""):
        kept.write_bytes(damaged)
        with pytest.raises(ImageError, match=kept.name):
            store.load(images / "00.png")


def test_kept_targets_are_those_of_this_teacher_these_warps_and_this_image(
    config: HfNetTraining, images: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "moved" / images.name
    shutil.copytree(images, folder)
    path, warps, store = folder / "00.png", Warps(side=64), TargetStore(Teacher(config.teacher), config.targets)
    twist = Warps(side=64, rotation=5)
    store.load(images / "00.png")

    def added(store: TargetStore, variant: int | None = None) -> int:
        """Number of targets that were computed."""
        before = len(list(config.targets.glob("*.npz")))
        store.load(path, variant)
        return len(list(config.targets.glob("*.npz"))) - before

    assert added(store) == 0  # the folder has moved
    few = config.teacher.model_copy(update={"keypoint_ratio": 0.005})
    assert added(dataclasses.replace(store, teacher=Teacher(few))) == 1
    trained = tmp_path / "corners.onnx"
    network = onnx.load(config.teacher.path)
    network.doc_string = "trained for longer"
    onnx.save(network, trained)
    assert added(dataclasses.replace(store, teacher=Teacher(TeacherOptions(path=trained, keypoint_ratio=0.01)))) == 1
    assert [added(dataclasses.replace(store, warps=w), 0) for w in (warps, twist, warps)] == [1, 1, 0]
    assert added(dataclasses.replace(store, warps=warps.model_copy(update={"ratio": 0.3, "variants": 5})), 0) == 0
    cv2.imwrite(str(path), cv2.imread(str(images / "01.png")))
    assert added(store) == 1
    path.unlink()
    with pytest.raises(ImageError, match=r"00\.png: cannot be read"):
        store.load(path)


def test_targets_of_a_crop_are_those_of_its_part(config: HfNetTraining, images: Path) -> None:
    _, targets = TargetStore(Teacher(config.teacher), None).load(images / "01.png")
    part = targets.crop(16, 24, 64, 48)
    np.testing.assert_array_equal(part.labels, targets.labels[:, 3:9, 2:10])
    np.testing.assert_array_equal(part.descriptors, targets.descriptors[:, 3:9, 2:10])
    inside = [(x - 16, y - 24) for x, y in targets.keypoints if 16 <= x <= 79 and 24 <= y <= 71]
    assert len(part.keypoint_descriptors) == len(inside) > 0
    np.testing.assert_allclose(part.keypoints, inside)


def test_the_rate_falls_tenfold_at_the_drops(config: HfNetTraining) -> None:
    config = config.model_copy(update={"steps": 100, "drops": (0.5, 0.9), "learning_rate": 1.0})
    rates = [learning_rate(config, step) for step in (0, 49, 50, 89, 90, 99)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


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
    teacher = config.teacher.model_copy(update={"keypoint_ratio": 0.012})
    fewer = [ImageSource(folder=config.images[0].folder, pattern="1*.png")]
    for changed in ({"teacher": teacher}, {"images": fewer}, {"vlad_words": 7}):
        with pytest.raises(ConfigError, match=rf"vlad\.npz: was learned with another {next(iter(changed))}"):
            HfNetTrainer(config.model_copy(update=changed), tmp_path)
    kept.write_bytes(content[:50])
    with pytest.raises(ConfigError, match=r"vlad\.npz: is no vocabulary .*delete it"):
        HfNetTrainer(config, tmp_path)


def test_a_teacher_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"absent\.onnx"):
        Teacher(TeacherOptions(path=tmp_path / "absent.onnx"))


def test_a_resumed_run_may_change_only_what_is_marked(config: HfNetTraining) -> None:
    """Length, rate and locations are marked where the options are declared; of other paths, the last name counts."""
    fixed = dict(fixed_options(config))
    assert fixed["teacher.path"] == "corners.onnx"
    assert fixed["images[0].pattern"] == "*.png"
    assert fixed["warps.ratio"] == 0
    changeable = {"steps", "drops", "learning_rate", "validate_every", "targets", "imagenet", "images[0].folder"}
    assert not fixed.keys() & {*changeable, "teacher.provider"}
