"""The global head's training with a tiny budget: losses fall, runs resume, what is frozen stays, places are found."""

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from repository import REPOSITORY
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install 'vizloc_ros[train]'")

from hfnet_helpers import SMALL, photo, small_network, texture  # noqa: E402
from onnx_helpers import DETECTORS, write_network  # noqa: E402
from pydantic import ValidationError  # noqa: E402

from vizloc_ros.cli.config_file import read_options  # noqa: E402
from vizloc_ros.cli.main import app  # noqa: E402
from vizloc_ros.errors import ConfigError, DatasetError, FeatureError  # noqa: E402
from vizloc_ros.features.hfnet.weights import read_weights  # noqa: E402
from vizloc_ros.features.types import NO_GLOBAL_DESCRIPTOR, Features  # noqa: E402
from vizloc_ros.features.vlad import Vlad  # noqa: E402
from vizloc_ros.training.checkpoint import load_checkpoint, load_network, save_checkpoint  # noqa: E402
from vizloc_ros.training.global_head.contrastive_loss import contrastive_loss  # noqa: E402
from vizloc_ros.training.global_head.global_batches import GlobalBatches  # noqa: E402
from vizloc_ros.training.global_head.global_head_options import GlobalTraining  # noqa: E402
from vizloc_ros.training.global_head.global_head_trainer import GlobalHeadTrainer  # noqa: E402
from vizloc_ros.training.global_head.photos import (  # noqa: E402
    PosedSource,
    distances,
    posed_photos,
    positions,
)
from vizloc_ros.training.global_head.reduction import whitening_of_changes  # noqa: E402
from vizloc_ros.training.provenance import without_folders  # noqa: E402
from vizloc_ros.training.teacher.global_network import GlobalTeacher, GlobalTeacherOptions  # noqa: E402
from vizloc_ros.training.teacher.target_store import TargetStore  # noqa: E402
from vizloc_ros.training.teacher.teacher_network import Teacher, TeacherOptions  # noqa: E402

pytestmark = pytest.mark.e2e

FRAMES, SPACING, SIZE = 36, 1.5, (128, 64)
LOSSES = {
    "distill": {"distill": 1},
    "self_supervised": {"self_supervised": 1},
    "posed": {"posed": 1},
    "combined": {"distill": 1, "self_supervised": 0.5, "posed": 1},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drive along a wall, some other images, and a first stage: checkpoint, teacher, vocabulary."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "drive").mkdir()
    (folder / "others").mkdir()
    wall = texture(0, (SIZE[0] + 12 * FRAMES, SIZE[1]), sigma=2.5)
    rows = ["image,split,timestamp_s,tx,ty,tz,qx,qy,qz,qw"]
    for i in range(FRAMES):
        cv2.imwrite(str(folder / "drive" / f"{i:02}.png"), wall[:, 12 * i : 12 * i + SIZE[0]])
        rows.append(f"{i:02}.png,train,{i},{SPACING * i},0,0,0,0,0,1")
    (folder / "drive" / "poses.csv").write_text("\n".join(rows))
    (folder / "drive" / "intrinsics.txt").write_text(f"{SIZE[0]} {SIZE[1]} 100 100 63.5 31.5")
    for i in range(12):
        cv2.imwrite(str(folder / "others" / f"{i:02}.png"), texture(10 + i, (96, 80), sigma=2.5))
    network = small_network()
    told = {"network": SMALL.model_dump(), "teacher": {"path": str(folder / "teacher.onnx")}}
    state = {"network": network.state_dict(), "step": 7, "config": json.dumps(told)}
    save_checkpoint(folder / "first" / "checkpoint.pt", state)
    write_network(folder / "teacher.onnx", DETECTORS["probability"])
    store = TargetStore(Teacher(teacher(folder)), None)
    known = [store.load(path)[1] for path in sorted(folder.glob("[do]*/*.png"))]
    described = [
        Features(
            t.keypoints, np.zeros(len(t.keypoints), np.float32), t.keypoint_descriptors, NO_GLOBAL_DESCRIPTOR, SIZE
        )
        for t in known
    ]
    vlad = Vlad.learn(described, words=4, dimension=SMALL.global_dimension, seed=0)
    arrays = {"words": vlad.words, "mean": vlad.mean, "projection": vlad.projection}
    np.savez(folder / "first" / "vlad.npz", **arrays, teacher=store.teacher.fingerprint)
    return folder


def teacher(folder: Path) -> TeacherOptions:
    return TeacherOptions(path=folder / "teacher.onnx", keypoint_ratio=0.01)


def settings(data: Path, **changed: Any) -> dict[str, Any]:
    return {
        "checkpoint": str(data / "first" / "checkpoint.pt"),
        "posed": {"dataset": f"folder:{data / 'drive'}", "held_out": 0.4, "gap": 3},
        "images": [{"folder": str(data / "others"), "pattern": "*.png"}],
        "teacher": teacher(data).model_dump(mode="json"),
        "losses": LOSSES["combined"],
        "cache": str(data / "cache"),
        "changes": {"occluders": 1, "photometric": {"contrast": [0.7, 1.2]}},
        "views": 3, "batch": 8, "stretch_radius": 6, "steps": 12, "learning_rate": 0.003, "validate_every": 4,
    } | changed  # fmt: skip


def trainer(data: Path, out: Path, resume: bool = False, **changed: Any) -> GlobalHeadTrainer:
    return GlobalHeadTrainer(GlobalTraining.model_validate(settings(data, **changed)), out, resume=resume)


def logged(folder: Path) -> list[list[str]]:
    with (folder / "log.csv").open(newline="") as file:
        return [row for row in csv.reader(file) if row[1] != "seconds"]


@pytest.mark.parametrize("losses", LOSSES)
def test_each_loss_falls(data: Path, tmp_path: Path, losses: str) -> None:
    run = trainer(data, tmp_path, losses=LOSSES[losses])
    draws = [run.batches.draw(step) for step in range(100, 106)]  # of none of the steps

    def mean_losses() -> dict[str, float]:
        with torch.no_grad():
            found = [run.losses(draw) for draw in draws]
        return {name: float(np.mean([float(f[name]) for f in found])) for name in found[0]}

    before = mean_losses()
    run.run()
    after = mean_losses()
    assert before.keys() == LOSSES[losses].keys()
    assert all(after[name] < 0.95 * before[name] for name in before), (before, after)


def test_a_resumed_run_continues_the_same_curve(data: Path, tmp_path: Path) -> None:
    whole = trainer(data, tmp_path / "whole")
    whole.run()
    first = trainer(data, tmp_path / "parts")
    first.run(until=4)
    second = trainer(data, tmp_path / "parts", resume=True)
    assert second.step == 4
    second.run()
    assert logged(whole.folder) == logged(second.folder)
    assert whole.best == second.best
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, second.network.state_dict()[name]), name


@pytest.mark.parametrize(("layers", "trained"), [("head", ["global_head"]), ("deep", ["global_head", "backbone.deep"])])
@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_all_but_the_trained_layers_stay(
    data: Path, tmp_path: Path, layers: str, trained: list[str], optimizer: str
) -> None:
    run = trainer(data, tmp_path, layers=layers, optimizer=optimizer, losses=LOSSES["self_supervised"])
    run.run(until=2)
    start = load_checkpoint(data / "first" / "checkpoint.pt")["network"]
    changed = {name for name, tensor in run.network.state_dict().items() if not torch.equal(tensor, start[name])}
    assert all(name.startswith(tuple(trained)) and "running" not in name for name in changed)
    assert all(any(name.startswith(part) for name in changed) for part in trained)


def test_the_best_network_is_kept_in_the_first_stages_format(data: Path, tmp_path: Path) -> None:
    run = trainer(data, tmp_path)
    run.run()
    recalls = {int(row[0]): float(row[2]) for row in logged(tmp_path) if row[1] == "held_out_recall_1"}
    assert sorted(recalls) == [0, 4, 8, 12]
    assert run.best["recall_1"] == pytest.approx(max(recalls.values()), abs=1e-5)
    network, details = load_network(run.checkpoint)
    assert recalls[int(details["steps"])] == max(recalls.values())
    split = trainer(data, tmp_path / "again")
    split.network.load_state_dict(network.state_dict())
    assert split.data.places.recall(split.head) == run.best


def test_the_command_trains_from_variables_and_the_export_takes_the_result(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOMEWHERE", str(data))
    content = json.loads(json.dumps(settings(data, steps=2, losses={"posed": 1})).replace(str(data), "${SOMEWHERE}"))
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(content))
    command = ["train", "hfnet-global", "--config", str(tmp_path / "run.yaml"), "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "recall_1" in result.output
    with pytest.raises(ConfigError, match="--resume"):
        CliRunner().invoke(app, command, catch_exceptions=False)
    exported = tmp_path / "net.onnx"
    CliRunner().invoke(app, ["export", "hfnet", str(tmp_path / "run"), "--out", str(exported)], catch_exceptions=False)
    assert str(data).encode() not in read_weights(exported).model, "a path of this machine is in the shipped file"


def write_global_teacher(path: Path, elements: int, size: tuple[int, int] | None = None) -> Path:
    """Write a network whose output is the mean color of ``elements`` vertical strips of an image."""

    class Means(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.interpolate(image.mean(dim=(1, 2))[:, None], elements)[:, 0] - 0.2

    axes = None if size else {"image": {2: "h", 3: "w"}}
    torch.onnx.export(
        Means().eval(), (torch.rand(1, 3, *(size or (64, 64))),), path, dynamo=False, opset_version=17,
        input_names=["image"], output_names=["vector"], dynamic_axes=axes,
    )  # fmt: skip
    return path


def test_a_global_teacher_s_vectors_are_distilled_in_place_of_vlad(data: Path, tmp_path: Path) -> None:
    path = write_global_teacher(tmp_path / "means.onnx", SMALL.global_dimension)
    changed = {"losses": {"distill": 1}, "teacher": None, "cache": str(tmp_path / "cache")}
    run = trainer(data, tmp_path / "run", global_teacher={"path": str(path)}, **changed)
    columns = np.arange(SMALL.global_dimension)
    for shown, target in zip(run.data.photos, run.data.targets, strict=True):
        image = shown.read() / 255
        expected = image.mean(axis=0)[columns * image.shape[1] // len(columns)] - 0.2
        np.testing.assert_allclose(target, expected / np.linalg.norm(expected), atol=1e-5)
    kept = {file.name for file in (tmp_path / "cache").glob("targets_*.npy")}
    trainer(data, tmp_path / "again", global_teacher={"path": str(path)}, **changed)
    assert {file.name for file in (tmp_path / "cache").glob("targets_*.npy")} == kept
    trainer(data, tmp_path / "third", global_teacher={"path": str(path), "value_range": 255}, **changed)
    assert len(list((tmp_path / "cache").glob("targets_*.npy"))) == 2
    before = run.losses(run.batches.draw(100))["distill"].item()
    run.run()
    assert run.losses(run.batches.draw(100))["distill"].item() < 0.95 * before


def test_a_global_teacher_that_does_not_fit_is_named(data: Path, tmp_path: Path) -> None:
    short = write_global_teacher(tmp_path / "short.onnx", 5)
    with pytest.raises(ConfigError, match=r"short\.onnx makes 5 elements, and network\.global_dimension .* is 12"):
        trainer(data, tmp_path, global_teacher={"path": str(short)})
    with pytest.raises(ConfigError, match=r"name one of its outputs in global_teacher\.output: vector"):
        trainer(data, tmp_path, global_teacher={"path": str(short), "output": "descriptor"})
    fixed = GlobalTeacherOptions(path=write_global_teacher(tmp_path / "fixed.onnx", 12, (48, 96)))
    assert np.linalg.norm(GlobalTeacher(fixed, 12).describe(texture(0))) == pytest.approx(1)
    with pytest.raises(FeatureError, match=r"fixed\.onnx: its vector has the length"):
        GlobalTeacher(fixed.model_copy(update={"value_range": np.inf}), 12).describe(texture(0))


def test_a_whitened_reduction_needs_no_steps_and_changes_nothing_else(data: Path, tmp_path: Path) -> None:
    kept = trainer(data, tmp_path / "kept", steps=0, losses={})
    kept.run()
    whitened = trainer(data, tmp_path / "whitened", steps=0, losses={}, reduction="whiten")
    whitened.run()
    assert whitened.best["recall_5"] >= kept.best["recall_5"]
    before, after = (load_network(run.checkpoint)[0].state_dict() for run in (kept, whitened))
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"global_head.reduce.weight", "global_head.reduce.bias"}
    near = trainer(data, tmp_path / "near", steps=0, losses={}, reduction="whiten", neighbors=4)
    assert not torch.allclose(near.head[-1].reduce.weight, whitened.head[-1].reduce.weight)


def test_a_run_is_not_overwritten_nor_resumed_as_another(data: Path, tmp_path: Path) -> None:
    trainer(data, tmp_path, steps=2, losses={"posed": 1}).run()
    with pytest.raises(ConfigError, match=r"latest\.pt: there is a run already"):
        trainer(data, tmp_path, checkpoint=str(tmp_path / "absent.pt"))
    with pytest.raises(ConfigError, match=r"latest\.pt: the run was started with another losses\.distill, .* seed:"):
        trainer(data, tmp_path, resume=True, seed=1)
    again = trainer(data, tmp_path, resume=True, losses={"posed": 1}, steps=3, learning_rate=0.1, validate_every=1)
    assert again.step == 2
    other = load_checkpoint(data / "first" / "checkpoint.pt") | {"network": small_network(seed=1).state_dict()}
    save_checkpoint(tmp_path / "other.pt", other)
    with pytest.raises(ConfigError, match=r"other\.pt: is not the checkpoint that .*latest\.pt started from"):
        trainer(data, tmp_path, resume=True, losses={"posed": 1}, checkpoint=str(tmp_path / "other.pt"))
    (tmp_path / "latest.pt").write_bytes((data / "first" / "checkpoint.pt").read_bytes())
    with pytest.raises(ConfigError, match=r"latest\.pt: is no checkpoint of this stage"):
        trainer(data, tmp_path, resume=True)


def test_what_is_learned_is_saved_when_interrupted_but_not_when_it_diverged(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(at: int, error: type[BaseException] | None) -> Any:
        def contrast(descriptors: torch.Tensor, closeness: torch.Tensor, temperature: float) -> torch.Tensor:
            if run.step == at and error is not None:
                raise error
            return contrastive_loss(descriptors, closeness, temperature) * (np.nan if run.step == at else 1)

        return contrast

    module = "vizloc_ros.training.global_head.global_head_trainer.contrastive_loss"
    run = trainer(data, tmp_path, losses={"posed": 1})
    monkeypatch.setattr(module, failing(3, KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert load_checkpoint(run.latest)["step"] == 3
    run = trainer(data, tmp_path, losses={"posed": 1}, resume=True)
    monkeypatch.setattr(module, failing(6, None))
    with pytest.raises(ConfigError, match=r"step 6: loss and gradient are nan .*latest\.pt"):
        run.run()
    assert load_checkpoint(run.latest)["step"] == 4
    assert all(torch.isfinite(values).all() for values in run.network.state_dict().values())


def test_losses_are_computed_where_the_network_is(data: Path, tmp_path: Path) -> None:
    """The meta device refuses tensors of another, as a GPU would."""
    run = trainer(data, tmp_path)
    run.head.to("meta")
    assert {loss.device.type for loss in run.losses(run.batches.draw(0)).values()} == {"meta"}


def test_training_frames_keep_away_from_held_out_places(data: Path) -> None:
    source = PosedSource(dataset=f"folder:{data / 'drive'}", held_out=0.25, gap=5)
    training, held_out = posed_photos(source, 960)
    assert [shown.name for shown in held_out] == [f"{i:02}.png" for i in range(27, FRAMES)]
    assert distances(positions(training), positions(held_out)).min() == pytest.approx(4 * SPACING)
    with pytest.raises(DatasetError, match="gap"):
        posed_photos(source.model_copy(update={"gap": 100}), 960)


def test_a_batch_depends_on_seed_and_step_and_has_stretches(data: Path) -> None:
    config = GlobalTraining.model_validate(settings(data, batch=12, stretches=2))
    photos = [photo(SPACING * i) for i in range(60)] + [photo(None)] * 40
    batches = GlobalBatches(config, photos)
    for step in range(30):
        draw, again = batches.draw(step), GlobalBatches(config, photos).draw(step)
        np.testing.assert_array_equal(draw.photos, again.photos)
        np.testing.assert_array_equal(draw.views, again.views)
        assert len(set(draw.photos)) == 12
        assert (draw.views[0] != draw.views[1]).all()
        along = positions([photos[i] for i in draw.photos[~draw.random]])
        assert len(along) == 6
        assert np.isfinite(along).all()
        assert all(
            np.sort(row)[2] <= 2 * config.stretch_radius for row in distances(along, along)
        )  # three to a stretch
    assert not np.array_equal(batches.draw(0).photos, batches.draw(1).photos)
    unposed = GlobalBatches(config.model_copy(update={"losses": config.losses.model_copy(update={"posed": 0})}), photos)
    assert unposed.draw(0).random.all()


def test_what_is_wrong_with_a_configuration_is_said(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="teacher"):
        GlobalTraining.model_validate(settings(data, teacher=None))
    with pytest.raises(ConfigError, match=r"reduction: whiten: \d+ images cannot whiten"):
        whitening_of_changes(torch.rand(2, 8, 20), 8)
    with pytest.raises(ValidationError, match="give at least one a weight"):
        GlobalTraining.model_validate(settings(data, losses={}))
    with pytest.raises(ConfigError, match=r"batch: 64 .* there are"):
        trainer(data, tmp_path, batch=64, losses=LOSSES["posed"])
    with pytest.raises(ConfigError, match=r"none\.npz.*'vlad'"):
        trainer(data, tmp_path, vlad=str(tmp_path / "none.npz"))
    arrays = {"words": np.zeros((2, 16)), "mean": np.zeros(32), "projection": np.zeros((32, 5))}
    np.savez(tmp_path / "short.npz", **arrays, teacher="?")
    with pytest.raises(ConfigError, match=r"short\.npz: is for global descriptors of 5"):
        trainer(data, tmp_path, vlad=str(tmp_path / "short.npz"))
    with pytest.raises(ConfigError, match=r"vlad\.npz: was learned with another teacher"):
        trainer(data, tmp_path, teacher=teacher(data).model_copy(update={"keypoint_ratio": 0.005}))


def test_provenance_tells_no_folders() -> None:
    told = {"path": "/a/b/net.onnx", "sets": ["folder:/data/street", "kitti:/k?camera=0", "D:\\x\\y"], "share": 0.5}
    assert without_folders(told) == {
        "path": "net.onnx",
        "sets": ["folder:street", "kitti:k?camera=0", "y"],
        "share": 0.5,
    }
    assert without_folders(["*.png", "runs/first", "8 px/m", ""]) == ["*.png", "runs/first", "8 px/m", ""]


def test_shipped_configuration_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VIZLOC_DATA", "VIZLOC_RUNS", "VIZLOC_TEACHERS"):
        monkeypatch.setenv(name, f"/{name.lower()}")
    config = read_options(REPOSITORY / "config" / "hfnet_global_training.yaml", GlobalTraining)
    assert config.checkpoint.is_relative_to("/vizloc_runs")
    assert config.posed.dataset.startswith("folder:/vizloc_data/")
    assert "$" not in config.model_dump_json()
