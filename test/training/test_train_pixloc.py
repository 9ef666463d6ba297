"""End-to-end training of PixLoc with a tiny budget: a batch is overfitted, runs resume, networks are exported."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from repository import REPOSITORY
from typer.testing import CliRunner

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install 'vizloc_ros[train]'")

from pixloc_small import write_edgepoint2  # noqa: E402

from vizloc_ros.cli.config_file import read_options  # noqa: E402
from vizloc_ros.cli.main import app  # noqa: E402
from vizloc_ros.errors import ConfigError  # noqa: E402
from vizloc_ros.features.extractor import open_extractor  # noqa: E402
from vizloc_ros.features.hfnet.edgepoint2 import ENCODER_ORDER  # noqa: E402
from vizloc_ros.mapping.builder import build_map  # noqa: E402
from vizloc_ros.pixloc.extractors.pyramid_extractor import open_pyramid_extractor  # noqa: E402
from vizloc_ros.pixloc.network.light import LightNetwork  # noqa: E402
from vizloc_ros.pixloc.network.pixloc_config import LightConfig  # noqa: E402
from vizloc_ros.readers import open_dataset  # noqa: E402
from vizloc_ros.training.checkpoint import load_checkpoint, save_checkpoint  # noqa: E402
from vizloc_ros.training.pixloc.objective import Aligned, align_batch  # noqa: E402
from vizloc_ros.training.pixloc.pair_batches import Batch  # noqa: E402
from vizloc_ros.training.pixloc.pixloc_trainer import PixLocTrainer  # noqa: E402
from vizloc_ros.training.pixloc.pixloc_training_options import PairSource, PixLocTraining  # noqa: E402
from vizloc_ros.training.pixloc.trained import open_trained  # noqa: E402
from vizloc_ros.training.training_run import DivergedError  # noqa: E402

pytestmark = pytest.mark.e2e

TINY = {  # and sharp: the levels of small images have too few cells to be smoothed
    "kind": "light", "channels": [8, 16, 24], "hidden": 32, "dimension": 16, "levels": 3, "smoothing": [0, 0, 0, 0]
}  # fmt: skip
HELD_OUT = {"held_out": 0.4, "gap": 1}
NEAR_ZERO = 0.05  # mean pseudo-Huber loss of all levels; 0.3 px


@pytest.fixture(scope="module")
def source(street_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Frames of the synthetic street and their map."""
    dataset, folder = open_dataset(f"folder:{street_folder}"), tmp_path_factory.mktemp("mapped") / "map"
    build_map(dataset.records("map"), open_extractor("rootsift"), folder, dataset=dataset.name)
    return {"dataset": dataset.name, "map": str(folder)}


def settings(source: dict[str, Any], **changed: Any) -> dict[str, Any]:
    return {
        "network": TINY, "sources": [{**source, **HELD_OUT}], "long_side": 128, "partners": {"landmarks": 48},
        "batch": 2, "iterations": 2, "steps": 6, "validate_every": 3, "validation_pairs": 3, "learning_rate": 1e-3,
    } | changed  # fmt: skip


def trainer(source: dict[str, Any], out: Path, resume: bool = False, **changed: Any) -> PixLocTrainer:
    return PixLocTrainer(PixLocTraining.model_validate(settings(source, **changed)), out, resume=resume)


def logged(folder: Path) -> list[list[str]]:
    with (folder / "log.csv").open(newline="") as file:
        return [row for row in csv.reader(file) if row[1] != "seconds"]


def tensors(state: object) -> Iterator[torch.Tensor]:
    """All tensors in nested dictionaries and lists, in order."""
    if isinstance(state, torch.Tensor):
        yield state
    elif isinstance(state, dict | list):
        for part in state.values() if isinstance(state, dict) else state:
            yield from tensors(part)


def distances(aligned: Any, batch: Batch) -> np.ndarray:
    """(B,) how far cameras are from where they truly are [m]."""
    centres = [-(p.rotation.transpose(1, 2) @ p.translation[..., None])[..., 0] for p in (aligned, batch.truth)]
    return (centres[0] - centres[1]).norm(dim=1).numpy()


def test_a_batch_is_overfitted(source: dict[str, Any], tmp_path: Path) -> None:
    config = settings(
        {**source, "query_split": "query"}, long_side=224, steps=70, iterations=5, learning_rate=3e-3,
        initial_poses={"translation": 1, "rotation": 3},
    )  # fmt: skip
    config["sources"][0].update(held_out=0, gap=0)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    command = ["train", "pixloc", "--overfit", "--config", str(tmp_path / "run.yaml"), "--out", str(tmp_path / "run")]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    losses = [float(row[2]) for row in logged(tmp_path / "run") if row[1] == "loss"]

    fresh = PixLocTrainer(PixLocTraining.model_validate(config), tmp_path / "fresh", overfit=True)
    batch, trained = fresh.batch(0), open_trained(tmp_path / "run" / "checkpoint.pt")
    assert torch.equal(batch.images, fresh.batch(9).images)
    with torch.no_grad():
        before, after = (
            align_batch(network, batch, trained.loss, 5, fresh.options.gate)
            for network in (fresh.network, trained.network)
        )
    assert before.loss > 100 * NEAR_ZERO
    assert max(losses[-1], after.loss.item()) < NEAR_ZERO, losses
    assert distances(batch.initial_poses, batch).max() > 0.2
    assert distances(after.pose, batch).max() < 0.03


def test_a_resumed_run_is_the_same_to_the_last_bit(source: dict[str, Any], tmp_path: Path) -> None:
    whole = trainer(source, tmp_path / "whole")
    whole.run()
    trainer(source, tmp_path / "parts").run(until=3)
    resumed = trainer(source, tmp_path / "parts", resume=True)
    assert resumed.step == 3
    resumed.run()
    assert (resumed.step, resumed.best) == (whole.step, whole.best) == (6, resumed.best)
    for name in ("latest.pt", "checkpoint.pt"):
        states = [load_checkpoint(run.folder / name) for run in (whole, resumed)]
        assert states[0]["step"] == states[1]["step"]
        pairs = list(zip(*map(tensors, states), strict=True))
        assert len(pairs) > 20
        assert all(torch.equal(a, b) for a, b in pairs), name
    last = [[row for row in logged(run.folder) if row[0] == "6"] for run in (whole, resumed)]
    assert last[0] == last[1]
    assert {"loss", "held_out_converged", "held_out_loss", "level2"} <= {row[1] for row in last[0]}
    start = trainer(source, tmp_path / "start").network.state_dict()
    assert any(not torch.equal(values, start[name]) for name, values in whole.network.state_dict().items())


def test_batches_depend_on_seed_and_step_and_spare_what_is_held_out(source: dict[str, Any], tmp_path: Path) -> None:
    first, again = trainer(source, tmp_path / "a"), trainer(source, tmp_path / "b")
    other = trainer(source, tmp_path / "c", seed=1)
    for name in ("images", "points", "real"):
        assert torch.equal(getattr(first.batch(4), name), getattr(again.batch(4), name))
    assert torch.equal(first.batch(4).initial_poses.translation, again.batch(4).initial_poses.translation)
    for changed in (first.batch(5), other.batch(4)):
        assert not torch.equal(changed.images, first.batch(4).images)
    plain = trainer(source, tmp_path / "plain", **{f"{side}_appearance": {"strength": 0} for side in ("query", "map")})
    records = open_dataset(source["dataset"]).records("map")
    truths = np.array([record.world_from_cam.inverse().rotation.matrix() for record in records])
    for step in range(12):
        for rotation in plain.batch(step).truth.rotation.numpy():
            assert np.abs(truths - rotation).max(axis=(1, 2)).argmin() < 4  # of 8: 3 are held out, 1 is the gap


def test_a_run_is_not_overwritten_nor_resumed_as_another(source: dict[str, Any], tmp_path: Path) -> None:
    trainer(source, tmp_path, steps=2, validate_every=2).run()
    kept = (tmp_path / "latest.pt").read_bytes()
    with pytest.raises(ConfigError, match=r"latest\.pt: there is a run already"):
        trainer(source, tmp_path)
    changes = {"seed": 1, "batch": 1, "partners": {"landmarks": 32}, "query_appearance": {"night": 0}}
    with pytest.raises(ConfigError, match=r"another batch, partners\.landmarks, query_appearance\.night, seed:"):
        trainer(source, tmp_path, resume=True, **changes)
    with pytest.raises(ConfigError, match=r"another sources\[0\]\.gap:"):
        trainer(source, tmp_path, resume=True, sources=[{**source, **HELD_OUT, "gap": 0}])
    moved = tmp_path / "moved" / "map"
    moved.parent.mkdir()
    moved.symlink_to(source["map"])
    longer = {"steps": 4, "learning_rate": 1e-4, "validate_every": 1, "sources": [{**source, **HELD_OUT, "map": moved}]}
    assert trainer(source, tmp_path, resume=True, **longer).step == 2
    assert (tmp_path / "latest.pt").read_bytes() == kept
    with pytest.raises(ConfigError, match="no such checkpoint"):
        trainer(source, tmp_path / "empty", resume=True)
    state = load_checkpoint(tmp_path / "latest.pt")
    save_checkpoint(tmp_path / "latest.pt", state | {"config": '{"teacher": {"path": "net.onnx"}}'})
    with pytest.raises(ConfigError, match=r"latest\.pt: is no checkpoint of this stage"):
        trainer(source, tmp_path, resume=True)


def test_the_gradient_is_clipped_before_the_step(
    source: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trainer(source, tmp_path, clip=1e-3)
    norms, step = [], run.optimizer.step

    def measured() -> None:
        gradients = [values.grad.flatten() for values in run.network.parameters() if values.grad is not None]
        norms.append(torch.cat(gradients).norm().item())
        step()

    monkeypatch.setattr(run.optimizer, "step", measured)
    values = [run._train_step() for _ in range(3)]
    assert all(each["gradient"] > 0.1 for each in values), "too small to be clipped"
    assert norms == pytest.approx([1e-3] * 3, rel=1e-3)


def test_what_is_learned_is_saved_when_interrupted_but_not_when_it_diverged(
    source: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(at: int, interrupted: bool) -> Any:
        def align(network: Any, batch: Batch, *given: Any) -> Aligned:
            aligned = align_batch(network, batch, *given)
            if not network.training or run.step != at:
                return aligned
            if interrupted:
                raise KeyboardInterrupt
            return Aligned(aligned.loss * np.nan, aligned.pose, aligned.level_losses)

        return align

    module = "vizloc_ros.training.pixloc.pixloc_trainer.align_batch"
    run = trainer(source, tmp_path)
    monkeypatch.setattr(module, failing(2, interrupted=True))
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert load_checkpoint(run.latest)["step"] == 2
    run = trainer(source, tmp_path, resume=True)
    monkeypatch.setattr(module, failing(5, interrupted=False))
    with pytest.raises(DivergedError, match=r"step 5: loss and gradient are nan .*learning_rate.*latest\.pt"):
        run.run()
    assert load_checkpoint(run.latest)["step"] == 3
    assert all(torch.isfinite(values).all() for values in run.network.parameters())


def test_the_command_trains_from_variables_and_both_exports_are_one_network(
    source: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = source["dataset"].removeprefix("folder:")
    monkeypatch.setenv("SOMEWHERE", folder)
    content = json.dumps(settings(source, steps=2, validate_every=2)).replace(folder, "${SOMEWHERE}")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(json.loads(content)))
    run = tmp_path / "run"
    command = ["train", "pixloc", "--config", str(tmp_path / "run.yaml"), "--out", str(run)]
    for more in (["--until", "1"], ["--resume"]):
        result = CliRunner().invoke(app, command + more, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    assert "held_out_converged" in result.output
    assert load_checkpoint(run / "latest.pt")["step"] == 2
    with pytest.raises(ConfigError, match="--resume"):
        CliRunner().invoke(app, command, catch_exceptions=False)

    direct, tensors_only, again = (tmp_path / name for name in ("direct.onnx", "net.safetensors", "again.onnx"))
    for origin, out in ((run, direct), (run / "checkpoint.pt", tensors_only), (tensors_only, again)):
        CliRunner().invoke(app, ["export", "pixloc", str(origin), "--out", str(out)], catch_exceptions=False)
    assert open_pyramid_extractor(str(direct)).model_id == open_pyramid_extractor(str(again)).model_id
    for path in (direct, tensors_only, again):
        assert folder.encode() not in path.read_bytes(), "a path of this machine is in the shipped file"
    image = open_dataset(source["dataset"]).records("map")[0].read_image()
    levels = [open_pyramid_extractor(str(path), long_side=128).extract(image).levels for path in (direct, again)]
    for a, b in zip(*levels, strict=True):
        np.testing.assert_array_equal(a.features, b.features)
    trained = open_trained(run / "checkpoint.pt")
    np.testing.assert_allclose(
        open_pyramid_extractor(str(again)).learned.dampings, trained.network.dampings().detach(), rtol=1e-6
    )


def test_training_starts_from_edgepoint2(source: dict[str, Any], tmp_path: Path) -> None:
    torch.manual_seed(7)
    published = LightNetwork(LightConfig.model_validate(TINY))
    path = write_edgepoint2(tmp_path / "published.onnx", published)
    run = trainer(source, tmp_path / "run", pretrained=str(path))
    theirs, ours = published.state_dict(), run.network.features.state_dict()
    taken = {name for name, values in ours.items() if torch.equal(values, theirs[name]) and values.abs().sum() > 0}
    assert taken == {f"{name}.{part}" for name in ENCODER_ORDER for part in ("weight", "bias")}
    with pytest.raises(ConfigError, match="'pretrained' is for the light network only"):
        trainer(source, tmp_path / "unet", pretrained=str(path), network={"kind": "unet"})


def test_shipped_configuration_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VIZLOC_DATA", "VIZLOC_TEACHERS"):
        monkeypatch.setenv(name, f"/{name.lower()}")
    config = read_options(REPOSITORY / "config" / "pixloc_training.yaml", PixLocTraining)
    assert config.pretrained is not None
    assert config.pretrained.is_relative_to("/vizloc_teachers")
    assert config.sources[0].dataset == "folder:/vizloc_data/kitti00"
    assert "$" not in config.model_dump_json()


def test_the_documented_keys_and_defaults_are_those_of_the_code() -> None:
    page = (REPOSITORY / "docs" / "training.md").read_text()
    table = page.split("<!-- settings: pixloc training -->")[1].split("<!-- end -->")[0]
    shown = dict(re.findall(r"^\| `(\w+)` \|(.*?)\|", table, re.MULTILINE))
    defaults = PixLocTraining(sources=[PairSource(dataset="folder:route")])
    assert shown.keys() == PixLocTraining.model_fields.keys()
    given = {
        name: yaml.safe_load(default.strip(" `"))
        for name, default in shown.items()
        if default.strip() not in ("", "none")
    }
    assert PixLocTraining.model_validate({"sources": defaults.sources, **given}) == defaults
    assert given["partners"] == defaults.partners.model_dump()
    assert given["initial_poses"] == defaults.initial_poses.model_dump()
    assert all(f"`{name}`" in page.split("<!-- end -->")[-1] for name in PairSource.model_fields)
