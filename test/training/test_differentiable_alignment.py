"""The differentiable alignment takes the steps of the fast one, and gradients flow through them."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

torch = pytest.importorskip("torch", reason="PyTorch is needed to train: pip install 'vizloc_ros[train]'")

from pixloc_scene import CAMERA, PRIORS, TRUTH, Scene, scene, stack  # noqa: E402
from pycolmap import Rigid3d  # noqa: E402

from vizloc_ros.arrays import Float64  # noqa: E402
from vizloc_ros.geometry.camera import IntrinsicsCorrection  # noqa: E402
from vizloc_ros.geometry.se3 import se3_exp  # noqa: E402
from vizloc_ros.pixloc.optimizer.alignment import align  # noqa: E402
from vizloc_ros.pixloc.optimizer.alignment_options import AlignmentOptions  # noqa: E402
from vizloc_ros.pixloc.optimizer.robust import BarronLoss  # noqa: E402
from vizloc_ros.pixloc.references import sample_references  # noqa: E402
from vizloc_ros.training.pixloc.differentiable_alignment import (  # noqa: E402
    Lens,
    Level,
    Pose,
    align_level,
    inside,
    positions_on,
    reference_features,
    sample_with_derivatives,
)

NOISY = scene(noise=0.05)
ITERATIONS = 6


def pose_of(priors: list[Rigid3d]) -> Pose:
    return Pose(*map(torch.tensor, stack(priors)))


def lens_of(count: int, radial: float = 0.0) -> Lens:
    repeated = torch.ones(count, dtype=torch.float64)
    return Lens(
        torch.tensor([[CAMERA.fx, CAMERA.fy]]).double().repeat(count, 1),
        torch.tensor([[CAMERA.cx, CAMERA.cy]]).double().repeat(count, 1),
        radial * repeated,
    )


def level_of(what: Scene, index: int, count: int) -> Level:
    """The same image for each of ``count`` pairs, in double precision."""
    image, references = what.pyramid.levels[index], what.references.levels[index]

    def repeated(values: Float64) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float64)[None].repeat(count, *[1] * values.ndim)

    return Level(
        repeated(image.features.transpose(2, 0, 1)),
        repeated(image.confidences[None]),
        repeated(references.features),
        repeated(references.confidences),
        torch.tensor(what.learned.dampings[index]),
    )


def points_of(what: Scene, count: int) -> torch.Tensor:
    return torch.tensor(what.references.positions)[None].repeat(count, 1, 1)


@pytest.mark.parametrize("index", [0, 1, 2])
@pytest.mark.parametrize(("alpha", "radial"), [(0.0, 0.0), (2.0, 0.0), (-2.0, 0.0), (0.0, -0.05)])
def test_steps_are_those_of_the_fast_alignment(index: int, alpha: float, radial: float) -> None:
    what = scene(noise=0.05, correction=IntrinsicsCorrection(radial=radial)).with_loss(BarronLoss(alpha, 0.3))
    alone = what.only_level(index)
    fast = align(
        [alone.view(IntrinsicsCorrection(radial=radial))],
        PRIORS,
        alone.learned,
        AlignmentOptions(max_iterations=ITERATIONS, min_motion=1e-12),
    )
    assert all(outcome.iterations == (ITERATIONS,) for outcome in fast)
    count = len(PRIORS)
    slow = align_level(
        level_of(what, index, count),
        points_of(what, count),
        lens_of(count, radial),
        CAMERA.size,
        pose_of(PRIORS),
        what.learned.loss,
        ITERATIONS,
    )
    rotations, translations = stack([outcome.cam_from_map for outcome in fast])
    assert_allclose(slow.rotation.numpy(), rotations, atol=1e-5)
    assert_allclose(slow.translation.numpy(), translations, atol=1e-4)
    assert np.abs(translations - stack(PRIORS)[1]).max() > 0.1, "the steps lead somewhere"


def test_padded_landmarks_do_not_count() -> None:
    level, points = level_of(NOISY, 1, 1), points_of(NOISY, 1)
    options = (lens_of(1), CAMERA.size, pose_of(PRIORS[:1]), NOISY.learned.loss, ITERATIONS)
    expected = align_level(level, points, *options)
    filled = replace(
        level,
        references=torch.cat([level.references, torch.ones_like(level.references)], dim=1),
        reference_confidences=torch.cat([level.reference_confidences, torch.zeros(1, 300).double()], dim=1),
    )
    found = align_level(filled, torch.cat([points, points.flip(1) + 0.5], dim=1), *options)
    assert_allclose(found.translation, expected.translation, atol=1e-12)
    assert_allclose(found.rotation, expected.rotation, atol=1e-12)


def test_a_pair_without_information_stays_and_does_not_change_others() -> None:
    level = level_of(NOISY, 1, 2)
    level.reference_confidences[1] = 0
    for leaf in (level.features, level.damping):
        leaf.requires_grad_()
    options = (CAMERA.size, pose_of(PRIORS[:2]), NOISY.learned.loss, 3)
    both = align_level(level, points_of(NOISY, 2), lens_of(2), *options)
    assert_allclose(both.translation.detach()[1], stack(PRIORS[:2])[1][1], atol=1e-12)
    assert_allclose(both.rotation.detach()[1], stack(PRIORS[:2])[0][1], atol=1e-12)
    assert (both.translation.detach()[0] - pose_of(PRIORS).translation[0]).norm() > 0.05
    both.translation.sum().backward()
    assert torch.isfinite(level.damping.grad).all()
    assert torch.isfinite(level.features.grad).all(), "the exponential divides by the angle, which is zero"


def test_a_singular_pair_stays_and_does_not_change_others() -> None:
    level = level_of(NOISY, 1, 2)
    level.references[1] = np.nan
    options = (CAMERA.size, pose_of(PRIORS[:2]), NOISY.learned.loss, 3)
    both = align_level(level, points_of(NOISY, 2), lens_of(2), *options)
    alone = align_level(
        level_of(NOISY, 1, 1), points_of(NOISY, 1), lens_of(1), CAMERA.size, pose_of(PRIORS[:1]), NOISY.learned.loss, 3
    )
    assert_allclose(both.translation[0], alone.translation[0], atol=1e-10)
    assert_allclose(both.translation[1], stack(PRIORS[:2])[1][1], atol=1e-12)


def test_gradients_reach_features_confidences_references_and_damping() -> None:
    level = level_of(NOISY, 1, 2)
    leaves = [level.features, level.confidences, level.references, level.reference_confidences, level.damping]
    for leaf in leaves:
        leaf.requires_grad_()
    pose = align_level(
        level, points_of(NOISY, 2), lens_of(2), CAMERA.size, pose_of(PRIORS[:2]), NOISY.learned.loss, ITERATIONS
    )
    (pose.translation - torch.tensor(TRUTH.translation)).square().sum().backward()
    for leaf in leaves:
        assert torch.isfinite(leaf.grad).all()
        assert (leaf.grad != 0).any()
    assert (level.damping.grad != 0).all()
    assert not pose.detach().translation.requires_grad


def test_gradients_are_numeric_ones() -> None:
    """Through two steps from a tiny and from a large motion, by damping, references and their confidences."""
    few = replace(NOISY, references=NOISY.references.take(np.arange(0, 300, 25)))
    level, points, loss = level_of(few, 2, 2), points_of(few, 2), NOISY.learned.loss
    start = pose_of([se3_exp(np.full(6, 1e-7)) * TRUTH, PRIORS[0]])

    def aligned(damping: torch.Tensor, references: torch.Tensor, confidences: torch.Tensor) -> torch.Tensor:
        changed = replace(level, damping=damping, references=references, reference_confidences=confidences)
        pose = align_level(changed, points, lens_of(2, -0.03), CAMERA.size, start, loss, 2)
        return torch.cat([pose.translation, pose.rotation.flatten(1)], dim=1)

    inputs = (level.damping, level.references, level.reference_confidences)
    for each in inputs:
        each.requires_grad_()
    assert torch.autograd.gradcheck(aligned, inputs, eps=1e-7, atol=1e-5, rtol=1e-4, fast_mode=True)


def test_an_exact_initial_pose_stays_and_has_a_gradient() -> None:
    exact = scene()
    level = level_of(exact, 0, 1)
    for leaf in (level.features, level.damping):
        leaf.requires_grad_()
    pose = align_level(level, points_of(exact, 1), lens_of(1), CAMERA.size, pose_of([TRUTH]), exact.learned.loss, 2)
    assert_allclose(pose.translation.detach()[0], TRUTH.translation, atol=1e-5)
    (pose.translation.sum() + pose.rotation.sum()).backward()
    assert torch.isfinite(level.features.grad).all()
    assert torch.isfinite(level.damping.grad).all()


def test_samples_are_those_of_the_map() -> None:
    level, rng = NOISY.pyramid.levels[1], np.random.default_rng(0)
    pixels = rng.uniform((4, 4), (315, 235), (40, 2))
    expected = sample_references(level, pixels, normalize=True)
    positions = positions_on(torch.tensor(pixels)[None], level.shape, CAMERA.size)
    assert_allclose(positions[0], level.positions(pixels), atol=1e-9)
    maps = torch.tensor(level.features.transpose(2, 0, 1))[None].double()
    assert_allclose(reference_features(maps, positions)[0], expected.features, atol=1e-6)
    confidences = sample_with_derivatives(torch.tensor(level.confidences)[None, None].double(), positions)[0]
    assert_allclose(confidences[0, :, 0], expected.confidences, atol=1e-6)


def test_samples_have_the_numeric_derivatives() -> None:
    maps = torch.tensor(np.random.default_rng(1).normal(size=(2, 3, 5, 6)))
    positions = torch.tensor([[[0.5, 0.3], [5.0, 4.0]], [[3.2, 1.7], [4.9, 0.1]]]).double()
    _, by_x, by_y = sample_with_derivatives(maps, positions)
    eps = 1e-6
    for derivative, axis in ((by_x, 0), (by_y, 1)):
        before = positions.clone()
        before[..., axis] -= eps
        numeric = (sample_with_derivatives(maps, positions)[0] - sample_with_derivatives(maps, before)[0]) / eps
        assert_allclose(derivative, numeric, atol=1e-5)


def test_inside_a_level_and_in_front_of_the_camera() -> None:
    positions = torch.tensor([[[0.0, 0.0], [5.0, 3.0], [5.1, 3.0], [2.0, -0.1], [2.0, 2.0]]])
    depth = torch.tensor([[1.0, 1.0, 1.0, 1.0, -1.0]])
    assert inside(positions, (4, 6), depth).tolist() == [[True, True, False, False, False]]
