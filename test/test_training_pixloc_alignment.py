"""The differentiable alignment is the nodes' alignment; its loss, its gates and its gradients."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from pycolmap import Rigid3d

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install 'vizloc_ros[train]'")

from vizloc_ros.datasets.record import Record  # noqa: E402
from vizloc_ros.geometry.camera import PinholeCamera  # noqa: E402
from vizloc_ros.geometry.camera_correction import CameraCorrection  # noqa: E402
from vizloc_ros.geometry.se3 import so3_exp  # noqa: E402
from vizloc_ros.pixloc.network.config import LightConfig  # noqa: E402
from vizloc_ros.pixloc.network.model import PixLocNetwork  # noqa: E402
from vizloc_ros.pixloc.optimizer.alignment import align  # noqa: E402
from vizloc_ros.pixloc.optimizer.options import AlignmentOptions, LearnedAlignment  # noqa: E402
from vizloc_ros.pixloc.optimizer.projection import project  # noqa: E402
from vizloc_ros.pixloc.optimizer.robust import BarronLoss  # noqa: E402
from vizloc_ros.pixloc.pyramid import FeaturePyramid, level_of_image  # noqa: E402
from vizloc_ros.pixloc.references import LevelReferences, References  # noqa: E402
from vizloc_ros.training.pixloc.alignment import (  # noqa: E402
    Lens,
    Level,
    Pose,
    align_level,
    positions_on,
    reference_features,
    sample,
)
from vizloc_ros.training.pixloc.batches import Batch, collate  # noqa: E402
from vizloc_ros.training.pixloc.losses import gate, reprojection_errors, reprojection_loss  # noqa: E402
from vizloc_ros.training.pixloc.objective import align_batch  # noqa: E402
from vizloc_ros.training.pixloc.pairs import Pair, View, perturbed  # noqa: E402

CAMERA = PinholeCamera(160, 96, 120.0, 118.0, 78.3, 49.1)
CORRECTION = CameraCorrection(focal=0.01, cx=1.5, cy=-2.0, radial=-0.03)
FAR_AWAY = np.array([12_000.0, -7_000.0, 300.0])  # single precision has steps of a millimetre there
CPU = torch.device("cpu")
LOSS = BarronLoss(0.0, 0.3)


def pose_at(position: np.ndarray, turn: np.ndarray) -> Rigid3d:
    return Rigid3d(so3_exp(turn), position).inverse()


def view(position: np.ndarray, turn: np.ndarray) -> View:
    record = Record("somewhere", 0, CAMERA, "map", None, lambda: np.zeros((96, 160), np.uint8))
    return View(record, np.zeros((96, 160), np.uint8), pose_at(position, turn), CORRECTION)


def pair(seed: int, count: int) -> Pair:
    """Landmarks that both images see, far from the map's origin."""
    rng = np.random.default_rng(seed)
    query = view(FAR_AWAY + rng.normal(size=3), 0.05 * rng.normal(size=3))
    keyframe = view(FAR_AWAY + rng.normal(size=3), 0.05 * rng.normal(size=3))
    rays = CAMERA.rays(rng.uniform([10, 10], [150, 86], (count, 2))) * rng.uniform(3, 30, (count, 1))
    points = (FAR_AWAY + rays).astype(np.float32)
    return Pair(query, keyframe, points, perturbed(query.cam_from_map, 0.2, 1.0, rng))


def batch(pairs: list[Pair], seed: int = 0) -> Batch:
    """Pairs whose images are smooth noise: a query looks just as its keyframe."""
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
        (together.query_lens, together.start, [p.start for p in pairs]),
        (together.keyframe_lens, together.keyframe_pose, [p.keyframe.cam_from_map for p in pairs]),
    ):
        pixels, seen = lens.project(poses, together.points)
        for i, (each, cam_from_map) in enumerate(zip(pairs, cams_from_map, strict=True)):
            points, rows = each.points.astype(np.float64), slice(len(each.points))
            rotation, translation = cam_from_map.rotation.matrix(), cam_from_map.translation
            nodes = project(rotation[None], translation[None], points, CAMERA, CORRECTION)
            np.testing.assert_allclose(pixels[i, rows], nodes.pixels[0], atol=1e-3)
            np.testing.assert_allclose(seen[i, rows], nodes.points_cam[0], atol=1e-4)
            ideal, _ = CAMERA.project(points @ rotation.T + translation)
            np.testing.assert_allclose(pixels[i, rows], ideal + CORRECTION.shift(ideal, CAMERA), atol=1e-3)


def smooth_maps(rng: np.random.Generator, shape: tuple[int, int, int]) -> np.ndarray:
    """(C, H, W) unit features."""
    maps = np.stack([cv2.GaussianBlur(rng.normal(size=shape[1:]), (0, 0), 2.5) for _ in range(shape[0])])
    return maps / np.linalg.norm(maps, axis=0)


@pytest.mark.parametrize("iterations", [1, 2, 8])
def test_the_steps_are_those_of_the_nodes(iterations: int) -> None:
    rng = np.random.default_rng(5)
    features, confidences = smooth_maps(rng, (6, 48, 80)), rng.uniform(0.3, 1, (48, 80))
    rays = CAMERA.rays(rng.uniform([5, 5], [154, 90], (80, 2)))
    points = rays * rng.uniform(3, 30, (80, 1)) + [0, 0, 1]
    points[:4, 2] *= -1  # behind the camera
    truth, start = Rigid3d(), pose_at(np.array([0.1, -0.05, 0.15]), np.radians([0.5, -0.8, 0.4]))
    damping = 10.0 ** rng.uniform(-4, 0, 6)

    def double(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.asarray(values, np.float64))[None]

    def pose(cam_from_map: Rigid3d) -> Pose:
        return Pose(double(cam_from_map.rotation.matrix()), double(cam_from_map.translation))

    off = replace(CORRECTION, focal=0)  # which the nodes leave out of their derivative
    centre = double([CAMERA.cx + off.cx, CAMERA.cy + off.cy])
    lens = Lens(double([CAMERA.fx, CAMERA.fy]), centre, torch.tensor([off.radial]).double())
    pixels, _ = lens.project(pose(truth), double(points))
    places = positions_on(pixels, (48, 80), CAMERA.size).clamp(min=torch.zeros(2), max=torch.tensor([79.0, 47.0]))
    references = reference_features(double(features), places)
    reference_confidences = rng.uniform(0.2, 1, 80)
    level = Level(
        double(features), double(confidences)[None], references, double(reference_confidences), torch.tensor(damping)
    )
    found = align_level(level, double(points), lens, CAMERA.size, pose(start), LOSS, iterations)

    image = level_of_image(
        features.transpose(1, 2, 0).astype(np.float32), confidences.astype(np.float32), CAMERA.size, normalize=False
    )
    of_landmarks = LevelReferences(references[0].numpy().astype(np.float32), reference_confidences.astype(np.float32))
    (expected,) = align(
        FeaturePyramid((image,), CAMERA.size), References(points, np.arange(80), (of_landmarks,)), CAMERA, [start],
        LearnedAlignment(damping[None], LOSS),
        AlignmentOptions(max_iterations=iterations, min_motion=1e-300, max_distance=1e3), off,
    )  # fmt: skip
    assert expected.iterations == (iterations,)
    np.testing.assert_allclose(found.rotation[0], expected.cam_from_map.rotation.matrix(), atol=2e-6)
    np.testing.assert_allclose(found.translation[0], expected.cam_from_map.translation, atol=1e-5)
    before, after = (np.linalg.norm(np.asarray(t)) for t in (start.translation, found.translation[0]))
    assert after < before, "no step towards the truth"


def small_level(rng: np.random.Generator) -> tuple[tuple[torch.Tensor, ...], torch.Tensor, Lens, Pose]:
    """What may be learned of a level, points, lens and start, in double precision."""
    points = torch.tensor(CAMERA.rays(rng.uniform([30, 20], [130, 76], (20, 2))) * rng.uniform(3, 9, (20, 1)))[None]
    lens = Lens(
        torch.tensor([[CAMERA.fx, CAMERA.fy]]).double(),
        torch.tensor([[CAMERA.cx, CAMERA.cy]]).double(),
        torch.tensor([-0.01]).double(),
    )
    unit = Pose(torch.eye(3).double()[None], torch.zeros(1, 3).double())
    features = torch.tensor(smooth_maps(rng, (4, 12, 20)))[None]
    references = reference_features(features, positions_on(lens.project(unit, points)[0], (12, 20), CAMERA.size))
    learned = (
        features,
        torch.tensor(rng.uniform(0.3, 1, (1, 1, 12, 20))),
        references,
        torch.tensor(rng.uniform(0.3, 1, (1, 20))),
        torch.tensor(10.0 ** rng.uniform(-3, -1, 6)),
    )
    return learned, points, lens, Pose(unit.rotation, torch.tensor([[0.03, -0.02, 0.04]]).double())


def test_gradients_of_the_pose_are_right() -> None:
    learned, points, lens, start = small_level(np.random.default_rng(1))

    def pose(*values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        found = align_level(Level(*values), points, lens, CAMERA.size, start, LOSS, 2)
        return found.rotation, found.translation

    given = tuple(values.detach().requires_grad_() for values in learned)
    assert torch.autograd.gradcheck(pose, given, eps=1e-6, atol=1e-5, fast_mode=True)


def test_what_no_landmark_fixes_stays_and_teaches_nothing() -> None:
    learned, points, lens, start = small_level(np.random.default_rng(2))
    given = [values.detach().requires_grad_() for values in learned]
    level = replace(Level(*given), reference_confidences=torch.zeros(1, 20).double())
    found = align_level(level, points, lens, CAMERA.size, start, LOSS, 3)
    assert torch.equal(found.translation.detach(), start.translation)
    (found.rotation.sum() + found.translation.sum()).backward()
    assert all(torch.isfinite(values.grad).all() for values in given if values.grad is not None)
    behind = points * torch.tensor([1.0, 1.0, -1.0])
    assert torch.equal(align_level(level, behind, lens, CAMERA.size, start, LOSS, 3).translation, start.translation)


def test_samples_are_bilinear_with_their_derivatives() -> None:
    maps = torch.tensor(np.random.default_rng(0).normal(size=(1, 3, 5, 7)))
    at = torch.tensor([[[0.0, 0.0], [6.0, 4.0], [2.25, 1.5], [5.9, 0.1]]]).double().requires_grad_()
    value, by_x, by_y = sample(maps, at)
    grid = 2 * at.detach() / torch.tensor([6.0, 4.0]) - 1
    expected = torch.nn.functional.grid_sample(maps, grid[:, None], align_corners=True)[:, :, 0].transpose(1, 2)
    torch.testing.assert_close(value.detach(), expected)
    for channel in range(3):
        (slope,) = torch.autograd.grad(value[..., channel].sum(), at, retain_graph=True)
        torch.testing.assert_close(torch.stack([by_x[..., channel], by_y[..., channel]], dim=-1).detach(), slope)


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
