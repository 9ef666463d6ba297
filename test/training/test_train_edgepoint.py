"""HF-Net on EdgePoint2's encoder, with a tiny budget: distillation, vocabulary, export, and what is refused."""

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

from hfnet_helpers import small_network, texture  # noqa: E402
from onnx_helpers import DETECTORS, write_network  # noqa: E402
from pydantic import ValidationError  # noqa: E402

from vizloc_ros.cli.config_file import read_options  # noqa: E402
from vizloc_ros.cli.main import app  # noqa: E402
from vizloc_ros.errors import ConfigError  # noqa: E402
from vizloc_ros.features.hfnet.runtime import HfNetExtractor  # noqa: E402
from vizloc_ros.training.checkpoint import load_network, save_checkpoint  # noqa: E402
from vizloc_ros.training.distillation.distillation_options import HfNetTraining  # noqa: E402
from vizloc_ros.training.distillation.hfnet_trainer import HfNetTrainer  # noqa: E402
from vizloc_ros.training.teacher.teacher_network import Source, Teacher, TeacherOptions  # noqa: E402
from vizloc_ros.training.teacher.warps import Warps  # noqa: E402
from vizloc_ros.training.vocabulary import VocabularyTraining, learn_vocabulary  # noqa: E402

pytestmark = pytest.mark.e2e

NETWORK = {
    "encoder": "edgepoint2",
    "channels": [8, 12, 16],
    "hidden": 32,
    "descriptor_dimension": 16,
    "words": 4,
    "global_dimension": 6,
    "detector_layers": 2,
    "refiner_channels": 8,
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for i in range(10):
        cv2.imwrite(str(folder / f"{i:02}.png"), cv2.resize(texture(i), (160, 128)))
    return folder


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_network(tmp_path_factory.mktemp("teacher") / "teacher.onnx", DETECTORS["logit"])


@pytest.fixture
def options(photos: Path, teacher: Path) -> dict[str, Any]:
    return {
        "network": NETWORK,
        "teacher": {"path": str(teacher)},
        "images": [{"folder": str(photos)}],
        "appearance": {"snow": 1, "rain": 0.5, "flare": 0.5, "jpeg": 0.5},
        "warps": {"ratio": 0.7, "side": 96, "descriptors": "image"},
        "contrast": 0.3,
        "crop": 64,
        "batch": 2,
        "steps": 30,
        "global_every": 0,
        "validate_every": 15,
        "learning_rate": 2e-3,
    }


def logged(folder: Path, name: str) -> list[float]:
    rows = [line.split(",") for line in (folder / "log.csv").read_text().splitlines()[1:]]
    return [float(value) for _, logged_name, value in rows if logged_name == name]


def test_it_is_distilled_gets_a_vocabulary_and_is_exported(options: dict[str, Any], tmp_path: Path) -> None:
    HfNetTrainer(HfNetTraining.model_validate(options), tmp_path / "run", threads=1).run()
    clean = logged(tmp_path / "run", "held_out_clean_detector")
    assert clean[-1] < clean[0]
    config = {
        "checkpoint": str(tmp_path / "run" / "checkpoint.pt"),
        "images": options["images"],
        "num_images": 8,
        "views": 2,
        "changes": {"roll": 20, "appearance": {"snow": 0.5}},
    }
    (tmp_path / "vocabulary.yaml").write_text(yaml.safe_dump(config))
    for command in (
        ["train", "hfnet-vocabulary", "--config", str(tmp_path / "vocabulary.yaml"), "--out", str(tmp_path / "run2")],
        ["export", "hfnet", str(tmp_path / "run2"), "--out", str(tmp_path / "own.onnx")],
    ):
        CliRunner().invoke(app, command, catch_exceptions=False)
    before, _ = load_network(tmp_path / "run" / "checkpoint.pt")
    after, details = load_network(tmp_path / "run2" / "checkpoint.pt")
    assert torch.equal(before.encoder.finest.weight, after.encoder.finest.weight)
    assert not torch.equal(before.global_head.words, after.global_head.words)
    assert json.loads(details["training"])["vocabulary"]["num_images"] == 8
    extractor = HfNetExtractor.open({"weights": str(tmp_path / "own.onnx"), "threshold": 0.0}, None)
    features = extractor.extract(cv2.resize(texture(3), (160, 100)))
    assert len(features)
    assert features.global_descriptor.shape == (6,)
    assert np.linalg.norm(features.global_descriptor) == pytest.approx(1, abs=1e-3)


def test_the_same_seed_gives_the_same_vocabulary(options: dict[str, Any], tmp_path: Path) -> None:
    HfNetTrainer(HfNetTraining.model_validate({**options, "steps": 1}), tmp_path / "run", threads=1).run()
    config = {"checkpoint": tmp_path / "run" / "checkpoint.pt", "images": options["images"], "num_images": 9}
    for out in ("a", "b"):
        learn_vocabulary(VocabularyTraining.model_validate(config), tmp_path / out)
    one, other = (load_network(tmp_path / out / "checkpoint.pt")[0].global_head for out in ("a", "b"))
    assert torch.equal(one.projection, other.projection)
    with pytest.raises(ConfigError, match="views cannot whiten a global descriptor of 6 elements"):
        learn_vocabulary(VocabularyTraining.model_validate({**config, "num_images": 2, "views": 1}), tmp_path / "c")


def test_a_network_with_netvlad_learns_no_vocabulary(photos: Path, tmp_path: Path) -> None:
    network = small_network()
    config = json.dumps({"network": network.config.model_dump()})
    save_checkpoint(tmp_path / "mobile.pt", {"network": network.state_dict(), "step": 1, "config": config})
    wanted = {"checkpoint": tmp_path / "mobile.pt", "images": [{"folder": photos}]}
    with pytest.raises(ConfigError, match="its global head is NetVLAD: use 'vizloc train hfnet-global'"):
        learn_vocabulary(VocabularyTraining.model_validate(wanted), tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"global_every": 1}, "global_every: encoder edgepoint2 learns its global head later"),
        ({"crop": 72}, "crop: 72 px is no multiple of 32 px"),
        ({"network": {**NETWORK, "width": 0.5}}, "Extra inputs are not permitted"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        HfNetTraining.model_validate({**options, **change})


def test_weights_of_the_other_encoder_are_refused(options: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "mobile.npz").touch()
    config = HfNetTraining.model_validate({**options, "imagenet": tmp_path / "mobile.npz"})
    with pytest.raises(ConfigError, match="'imagenet' is for encoder: mobilenet_v2"):
        HfNetTrainer(config, tmp_path / "run", threads=1)


def test_descriptors_of_a_view_are_those_of_the_image_at_the_same_points(teacher: Path) -> None:
    image = cv2.resize(texture(5), (160, 128))
    warps = Warps(side=64, rotation=30, scale=(0.8, 1.2))
    view, image_from_view = warps.apply(image, np.random.default_rng(2))
    source = Source(image, image_from_view)
    teacher_network = Teacher(TeacherOptions(path=teacher), 1)
    own, of_image = teacher_network.targets(view), teacher_network.targets(view, source)
    np.testing.assert_array_equal(own.labels, of_image.labels)
    assert 0 < len(of_image.keypoints) <= len(own.keypoints)
    center = np.array([[63 / 2, 63 / 2]], np.float32)
    corner = source.original(center)
    pixel = cv2.getRectSubPix(image, (1, 1), tuple(map(float, corner[0])))[0, 0]
    assert float(pixel) == pytest.approx(float(cv2.getRectSubPix(view, (1, 1), (31.5, 31.5))[0, 0]), abs=12)
    still = Source(image, np.eye(3))
    whole = teacher_network.targets(image)
    np.testing.assert_array_equal(
        teacher_network.targets(image, still).keypoint_descriptors, whole.keypoint_descriptors
    )


def test_shipped_configurations_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VIZLOC_PHOTOS", "VIZLOC_TEACHERS", "VIZLOC_RUNS"):
        monkeypatch.setenv(name, f"/{name.lower()}")
    training = read_options(REPOSITORY / "config" / "hfnet_edgepoint_training.yaml", HfNetTraining)
    vocabulary = read_options(REPOSITORY / "config" / "hfnet_vocabulary.yaml", VocabularyTraining)
    assert training.pretrained == training.teacher.path
    assert vocabulary.changes.appearance == training.appearance
    assert "$" not in training.model_dump_json() + vocabulary.model_dump_json()
