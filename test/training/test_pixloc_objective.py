"""Batches see landmarks as the nodes do; what an alignment costs, and which level learns from it."""

import cv2
import numpy as np
import pytest
from pycolmap import Rigid3d

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install 'vizloc_ros[train]'")

from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera  # noqa: E402
from vizloc_ros.geometry.poses import perturbed  # noqa: E402
from vizloc_ros.geometry.se3 import so3_exp  # noqa: E402
from vizloc_ros.pixloc.network.model import PixLocNetwork  # noqa: E402
from vizloc_ros.pixloc.network.pixloc_config import LightConfig  # noqa: E402
from vizloc_ros.pixloc.optimizer.projection import project  # noqa: E402
from vizloc_ros.pixloc.optimizer.robust import BarronLoss  # noqa: E402
from vizloc_ros.training.pixloc.alignment_loss import gate, reprojection_errors, reprojection_loss  # noqa: E402
from vizloc_ros.training.pixloc.objective import align_batch  # noqa: E402
from vizloc_ros.training.pixloc.pair_batches import Batch, collate  # noqa: E402
from vizloc_ros.training.pixloc.training_pairs import Pair, View  # noqa: E402

CAMERA = PinholeCamera(160, 96, 120.0, 118.0, 78.3, 49.1)
CORRECTION = IntrinsicsCorrection(focal=0.01, cx=1.5, cy=-2.0, radial=-0.03)
FAR_AWAY = np.array([12_000.0, -7_000.0, 300.0])  # single precision has steps of a millimetre there
CPU = torch.device("cpu")
LOSS = BarronLoss(0.0, 0.3)


def pose_at(position: np.ndarray, turn: np.ndarray) -> Rigid3d:
    return Rigid3d(so3_exp(turn), position).inverse()


def view(position: np.ndarray, turn: np.ndarray) -> View:
    return View("somewhere", CAMERA, np.zeros((96, 160), np.uint8), pose_at(position, turn), CORRECTION)


def pair(seed: int, count: int) -> Pair:
    """Landmarks that both images see, far from the map's origin."""
    rng = np.random.default_rng(seed)
    query = view(FAR_AWAY + rng.normal(size=3), 0.05 * rng.normal(size=3))
    keyframe = view(FAR_AWAY + rng.normal(size=3), 0.05 * rng.normal(size=3))
    rays = CAMERA.rays(rng.uniform([10, 10], [150, 86], (count, 2))) * rng.uniform(3, 30, (count, 1))
    points = (FAR_AWAY + rays).astype(np.float32)
    return Pair(query, keyframe, points, perturbed(query.cam_from_map.inverse(), 0.2, 1.0, rng).inverse())


def batch(pairs: list[Pair], seed: int = 0) -> Batch:
    """Pairs whose images are smooth noise: a query has the image of its keyframe."""
    rng = np.random.default_rng(seed)
    noise = [cv2.GaussianBlur(rng.normal(size=(96, 160)), (0, 0), 3) for _ in pairs]
    images = [(128 + 40 * n / n.std()).clip(0, 255).astype(np.uint8) for n in noise]
    return collate(pairs, images, images, CPU)


def test_a_batch_projects_as_the_nodes_do_however_far_from_the_origin() -> None:
    pairs = [pair(0, 40), pair(1, 25)]
    together = batch(pairs)
    assert together.real.sum(dim=1).tolist() == [40, 25]
    assert torch.equal(together.points[1, 25:], together.points[1, :1].expand(15, 3))
    for lens, poses, cams_from_map in (
        (together.query_lens, together.truth, [p.query.cam_from_map for p in pairs]),
        (together.query_lens, together.initial_poses, [p.initial_pose for p in pairs]),
        (together.keyframe_lens, together.keyframe_pose, [p.keyframe.cam_from_map for p in pairs]),
    ):
        pixels, seen = lens.project(poses, together.points)
        for i, (each, cam_from_map) in enumerate(zip(pairs, cams_from_map, strict=True)):
            points, rows = each.points.astype(np.float64), slice(len(each.points))
            rotation, translation = cam_from_map.rotation.matrix(), cam_from_map.translation
            nodes = project(rotation[None], translation[None], points, CAMERA, CORRECTION)
            np.testing.assert_allclose(pixels[i, rows], nodes.pixels[0], atol=1e-3)
            np.testing.assert_allclose(seen[i, rows], points @ rotation.T + translation, atol=1e-4)
            ideal, _ = CAMERA.project(points @ rotation.T + translation)
            np.testing.assert_allclose(pixels[i, rows], ideal + CORRECTION.shift(ideal, CAMERA), atol=1e-3)


def test_the_loss_is_pseudo_huber_up_to_fifty_pixels() -> None:
    pixels = torch.tensor([[[3.0, 4.0], [1.0, 1.0]]])
    torch.testing.assert_close(reprojection_errors(pixels, torch.zeros(1, 2, 2)), torch.tensor([[5.0, 2**0.5]]))
    errors = torch.tensor([0.0, 0.02, 2.0, 49.0, 51.0, 900.0], requires_grad=True)
    losses = reprojection_loss(errors[:, None], torch.ones(6, 1))
    expected = [0, 0.02**2 / 2, 4 * (2**0.5 - 1), 4 * ((1 + 24.5**2) ** 0.5 - 1), *2 * [4 * (626**0.5 - 1)]]
    np.testing.assert_allclose(losses.detach(), expected, rtol=1e-3, atol=1e-6)
    losses.sum().backward()
    assert errors.grad is not None
    assert (errors.grad[1:4] > 0).all()
    assert errors.grad[4:].tolist() == [0, 0], "beyond, farther is not worse"
    counted = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    some = reprojection_loss(torch.tensor([[2.0, 900.0, 0.0], [7.0, 7.0, 7.0]]), counted)
    np.testing.assert_allclose(some, [2 * (2**0.5 - 1), 0], rtol=1e-6)


def test_an_exact_pose_has_a_finite_gradient() -> None:
    pixels = torch.zeros(1, 4, 2, requires_grad=True)
    reprojection_loss(reprojection_errors(pixels, torch.zeros(1, 4, 2)), torch.ones(1, 4)).sum().backward()
    assert pixels.grad is not None
    assert torch.isfinite(pixels.grad).all()


def test_a_level_may_learn_when_the_one_before_left_few_of_its_pixels() -> None:
    errors = torch.tensor([[47.0, 47.0, 999.0], [49.0, 49.0, 0.0]])
    counted = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
    assert gate(errors, counted, stride=16, factor=3).tolist() == [1, 0]
    assert gate(errors, counted, stride=8, factor=3).tolist() == [0, 0]


@pytest.mark.parametrize(("factor", "learning"), [(1e-6, [3]), (1e6, [0, 1, 2, 3])])
def test_a_level_beyond_the_gate_gets_no_gradient(factor: float, learning: list[int]) -> None:
    torch.manual_seed(0)
    network = PixLocNetwork(LightConfig(channels=(4, 8, 8), hidden=16, dimension=8))
    aligned = align_batch(network, batch([pair(0, 40), pair(1, 25)]), LOSS, 3, factor)
    assert aligned.level_losses.shape == (4,)
    of_all = aligned.level_losses.mean().item()
    of_learning = aligned.level_losses[learning].sum().item() / 4
    assert aligned.loss.item() == pytest.approx(of_learning, rel=1e-5)
    assert (aligned.loss.item() == pytest.approx(of_all, rel=1e-5)) == (len(learning) == 4)
    aligned.loss.backward()
    moved = [level for level in range(4) if network.damping.grad[level].abs().sum() > 0]
    assert moved == learning
    assert (network.features.finest_uncertainty.weight.grad.abs().sum() > 0) == (0 in learning)
    assert not aligned.pose.translation.requires_grad
