"""Descriptors of two teachers joined to one, and the fit of a student's last layers to its teacher."""

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install 'vizloc_ros[train]'")

import onnx_helpers  # noqa: E402
from hfnet_helpers import texture  # noqa: E402

from vizloc_ros.arrays import Float32  # noqa: E402
from vizloc_ros.errors import ConfigError  # noqa: E402
from vizloc_ros.features.hfnet.hfnet_config import EdgePointConfig  # noqa: E402
from vizloc_ros.features.hfnet.hfnet_network import EdgePointHfNet  # noqa: E402
from vizloc_ros.features.hfnet.postprocessing import sample_cells  # noqa: E402
from vizloc_ros.features.onnx_dense_network import DenseNetwork  # noqa: E402
from vizloc_ros.training.distillation.distillation_options import HfNetTraining  # noqa: E402
from vizloc_ros.training.distillation.hfnet_trainer import HfNetTrainer  # noqa: E402
from vizloc_ros.training.distillation.last_layers import fit_last_layers  # noqa: E402
from vizloc_ros.training.teacher.joined_descriptors import JoinedDescriptors, side_by_side  # noqa: E402
from vizloc_ros.training.teacher.teacher_network import Teacher, TeacherOptions  # noqa: E402

SMALL = EdgePointConfig(
    channels=(8, 12, 16), hidden=48, descriptor_dimension=16, words=4, global_dimension=6, detector_layers=2
)
IMAGES = [cv2.resize(texture(i), (160, 128)) for i in range(8)]


@pytest.fixture
def teachers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    first = onnx_helpers.write_network(tmp_path / "first.onnx", onnx_helpers.DETECTORS["logit"])
    other = np.random.default_rng(1).normal(size=onnx_helpers.KERNELS.shape).astype(np.float32)
    monkeypatch.setitem(onnx_helpers.CONSTANTS, "kernels", other)
    return first, onnx_helpers.write_network(tmp_path / "second.onnx", onnx_helpers.DETECTORS["probability"])


def random_points() -> Float32:
    return np.random.default_rng(2).uniform(8, 120, (200, 2)).astype(np.float32)


def test_a_network_joined_with_itself_keeps_its_descriptors(teachers: tuple[Path, Path]) -> None:
    network = DenseNetwork(teachers[0])
    joined = JoinedDescriptors.learn(network, [network], IMAGES)
    maps = network.maps(IMAGES[0])
    points = random_points()
    np.testing.assert_allclose(joined.sample([maps, maps], points), maps.sample(points), atol=2e-3)


def test_joined_descriptors_have_the_similarities_of_both(teachers: tuple[Path, Path], tmp_path: Path) -> None:
    first, second = (DenseNetwork(path) for path in teachers)
    joined = JoinedDescriptors.learn(first, [second], IMAGES)
    joined.write(tmp_path / "joined.npy")
    again = JoinedDescriptors.read(tmp_path / "joined.npy", [second])
    assert again.checksum == joined.checksum
    maps, points = [first.maps(IMAGES[3]), second.maps(IMAGES[3])], random_points()
    descriptors = again.sample(maps, points)
    assert descriptors.shape == (200, 16)
    np.testing.assert_allclose(np.linalg.norm(descriptors, axis=1), 1, atol=1e-5)
    both = side_by_side(maps, points)
    wanted = both @ both.T / 2

    def distance(candidate: Float32) -> float:
        return float(np.abs(candidate @ candidate.T - wanted).mean())

    assert distance(descriptors) < min(distance(of_one.sample(points)) for of_one in maps)


def test_too_few_images_and_damaged_files_are_named(teachers: tuple[Path, Path], tmp_path: Path) -> None:
    network = DenseNetwork(teachers[0])
    with pytest.raises(ConfigError, match="too few to join descriptors of 32 elements: give more images"):
        JoinedDescriptors.learn(network, [network], [IMAGES[0][:32, :32]])
    (tmp_path / "joined.npy").write_bytes(b"no array")
    with pytest.raises(ConfigError, match=r"joined\.npy: cannot be read .* delete it"):
        JoinedDescriptors.read(tmp_path / "joined.npy", [network])


def test_last_layers_are_fitted_to_the_teacher(teachers: tuple[Path, Path]) -> None:
    torch.manual_seed(0)
    teacher, network = Teacher(TeacherOptions(path=teachers[0], keypoint_ratio=0.01), 1), EdgePointHfNet(SMALL)
    examples = [(image, teacher.targets(image)) for image in IMAGES]

    def similarity() -> tuple[float, float]:
        """Mean cosine of descriptors at keypoints of one image, and correlation of its logits with the teacher's."""
        image, targets = examples[0]
        with torch.no_grad():
            maps = network.maps(torch.from_numpy(image)[None, None].float())
            samples = sample_cells(
                maps.features.permute(0, 2, 3, 1), torch.from_numpy(targets.keypoints), image.shape[::-1], 4
            )
            own = torch.nn.functional.normalize(network.describe(samples), dim=1).numpy()
        logits = teacher.network.maps(image).scores.clip(-7, 4)
        return float((own * targets.keypoint_descriptors / 127).sum(1).mean()), float(
            np.corrcoef(maps.log_odds[0, 0].numpy().ravel(), logits.ravel())[0, 1]
        )

    before = similarity()
    fit_last_layers(network, examples, detector=True)
    after = similarity()
    assert after[0] > before[0] + 0.2
    assert after[1] > max(before[1], 0) + 0.2


def test_nothing_to_fit_is_named() -> None:
    with pytest.raises(ConfigError, match="'fit_images': the teacher has no keypoint"):
        fit_last_layers(EdgePointHfNet(SMALL), [], detector=False)


def test_a_run_keeps_its_projection(teachers: tuple[Path, Path], tmp_path: Path) -> None:
    for i, image in enumerate(IMAGES):
        cv2.imwrite(str(tmp_path / f"{i}.png"), image)
    options = HfNetTraining.model_validate(
        {
            "network": SMALL.model_dump(),
            "teacher": {"path": teachers[0]},
            "joined": [teachers[1]],
            "images": [{"folder": tmp_path, "pattern": "*.png"}],
            "fit_images": 8,
            "crop": 64,
            "batch": 2,
            "steps": 4,
            "global_every": 0,
        }
    )
    HfNetTrainer(options, tmp_path / "run", threads=1).run(until=2)
    kept = (tmp_path / "run" / "joined.npy").read_bytes()
    HfNetTrainer(options, tmp_path / "run", resume=True, threads=1).run()
    assert (tmp_path / "run" / "joined.npy").read_bytes() == kept
    HfNetTrainer(options, tmp_path / "whole", threads=1).run()
    one, other = (torch.load(tmp_path / name / "checkpoint.pt")["network"] for name in ("run", "whole"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_papers_network_is_not_fitted(teachers: tuple[Path, Path], tmp_path: Path) -> None:
    wanted = {"teacher": {"path": teachers[0]}, "images": [{"folder": tmp_path}], "fit_images": 3}
    with pytest.raises(ValueError, match="fit_images: is for encoder: edgepoint2"):
        HfNetTraining.model_validate(wanted)
