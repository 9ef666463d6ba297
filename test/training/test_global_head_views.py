"""Parts of the global head's training by themselves: losses, changed views, neighbors, whitening, recall."""

from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install 'vizloc_ros[train]'")

from hfnet_helpers import photo, small_network, texture  # noqa: E402

from vizloc_ros.errors import ConfigError  # noqa: E402
from vizloc_ros.training.augmentation import Augmentation  # noqa: E402
from vizloc_ros.training.distillation.distillation_losses import global_loss  # noqa: E402
from vizloc_ros.training.global_head.contrastive_loss import contrastive_loss  # noqa: E402
from vizloc_ros.training.global_head.photos import (  # noqa: E402
    Photo,
    closeness,
    neighbor_pairs,
)
from vizloc_ros.training.global_head.reduction import whitening_of_changes  # noqa: E402
from vizloc_ros.training.global_head.training_places import place_recall  # noqa: E402
from vizloc_ros.training.global_head.view_bank import ViewBank, describe  # noqa: E402
from vizloc_ros.training.global_head.views import Changes  # noqa: E402

UNCHANGED = Augmentation(brightness=(0, 0), contrast=(1, 1), noise=(0, 0), shade=0, motion_blur=0)


def test_changes_within_images_come_out_alike_in_all_directions() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(400, 12, generator=generator) * torch.linspace(3, 1, 12)
    changes = torch.randn(3, 400, 12, generator=generator) * torch.linspace(0.2, 1, 12)
    vectors = torch.cat([images[None], images + changes])
    weight, bias = whitening_of_changes(vectors, 6)
    described = vectors @ weight.T + bias
    spread = (described[1:] - described[0]).flatten(end_dim=1)
    torch.testing.assert_close(spread.T @ spread / len(spread), torch.eye(6), atol=0.25, rtol=0)
    torch.testing.assert_close(described[0].mean(dim=0), torch.zeros(6), atol=1e-4, rtol=0)
    assert (described[0].std(dim=0).diff() < 0.2).all(), "those in which images differ most come first"


def test_neighbors_whiten_what_differs_between_them_too() -> None:
    generator = torch.Generator().manual_seed(0)
    places = torch.randn(200, 12, generator=generator).repeat_interleave(2, dim=0)
    along = torch.randn(400, 12, generator=generator) * torch.cat([torch.full((3,), 3.0), torch.full((9,), 0.2)])
    images = places + along  # two frames of each place, far apart in three directions
    vectors = torch.stack([images, images + 0.3 * torch.randn(400, 12, generator=generator)])
    pairs = np.arange(400).reshape(200, 2)

    def moment(vectors: torch.Tensor) -> torch.Tensor:
        return vectors.T @ vectors / len(vectors)

    def moments(neighbors: np.ndarray | None) -> tuple[torch.Tensor, torch.Tensor]:
        weight, _ = whitening_of_changes(vectors, 6, neighbors)
        first, changed = vectors @ weight.T
        return moment(changed - first), moment(first[pairs[:, 0]] - first[pairs[:, 1]])

    views, between = moments(pairs)
    torch.testing.assert_close(views * 2 / 3 + between / 3, torch.eye(6), atol=0.1, rtol=0)
    assert between.trace() < 0.2 * moments(None)[1].trace()
    for one, other in zip(moments(None), moments(np.zeros((0, 2), np.int64)), strict=True):
        torch.testing.assert_close(one, other)


def test_contrastive_loss_is_the_cross_entropy_with_all_others() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(6, 5))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    near = rng.uniform(size=(6, 6))
    expected = 0.0
    for i in range(6):
        others = [j for j in range(6) if j != i]
        exponentials = {j: np.exp(vectors[i] @ vectors[j] / 0.2) for j in others}
        for j in others:
            target = near[i, j] / sum(near[i, k] for k in others)
            expected -= target * np.log(exponentials[j] / sum(exponentials.values())) / 6
    assert float(contrastive_loss(torch.tensor(vectors), torch.tensor(near), 0.2)) == pytest.approx(expected)


def test_global_loss_leaves_out_images_without_target() -> None:
    descriptors = torch.nn.functional.normalize(torch.randn(4, 3, generator=torch.manual_seed(0)), dim=1)
    targets = descriptors.flip(0)
    targets[1] = 0
    expected = np.mean([1 - float(descriptors[i] @ targets[i]) for i in (0, 2, 3)])
    assert float(global_loss(descriptors, targets)) == pytest.approx(expected)


def test_closeness_falls_with_distance_and_needs_the_same_direction() -> None:
    near = closeness([photo(0), photo(2.5), photo(1, yaw=40), photo(1, yaw=50), photo(None), photo(None)], 2.5, 45)
    e = np.exp(-1)
    assert near[0] == pytest.approx([1, e, np.exp(-0.16), 0, 0, 0])
    assert near[3, 2] == pytest.approx(1)
    assert near[4] == pytest.approx([0, 0, 0, 0, 1, 0])
    np.testing.assert_array_equal(near, near.T)


def test_neighbors_are_near_and_look_the_same_way() -> None:
    photos = [photo(0), photo(4.9), photo(None), photo(9, yaw=50), photo(9, yaw=-20), photo(20), photo(None)]
    assert neighbor_pairs(photos, 5, 60).tolist() == [[0, 1], [1, 3], [1, 4]]
    assert neighbor_pairs(photos, 5, 80).tolist() == [[0, 1], [1, 3], [1, 4], [3, 4]]
    assert neighbor_pairs(photos, 0, 60).shape == neighbor_pairs(photos[2:3], 5, 60).shape == (0, 2)


def test_changed_views_keep_size_and_follow_their_homography() -> None:
    image = texture(3, (200, 120))
    for seed in range(20):
        view = Changes().apply(image, np.random.default_rng(seed))
        assert (view.shape, view.dtype) == (image.shape, np.uint8)
        assert not np.array_equal(view, image)
    still = Changes(yaw=0, shift=0, scale=(1, 1), perspective=0, occluders=0, photometric=UNCHANGED)
    np.testing.assert_array_equal(still.apply(image, np.random.default_rng(0)), image)
    hidden = still.model_copy(update={"occluders": 4, "occluder_size": (0.2, 0.3)})
    changed = [np.mean(hidden.apply(image, np.random.default_rng(seed)) != image) for seed in range(20)]
    assert 0.03 < max(changed) <= 4 * 0.3**2
    assert min(changed) == 0


def test_homographies_stay_within_their_ranges() -> None:
    centre = np.array([99.5, 59.5, 1])

    def moved(changes: Changes, seed: int) -> np.ndarray:
        point = changes.homography(200, 120, np.random.default_rng(seed)) @ centre
        return point[:2] / point[2] - centre[:2]

    none = Changes(yaw=0, shift=0, scale=(1, 1), perspective=0)
    yaw = [moved(none.model_copy(update={"yaw": 8}), seed) for seed in range(50)]
    assert np.abs(yaw)[:, 1].max() < 1e-9
    assert 0.8 < np.abs(yaw)[:, 0].max() / (0.6 * 200 * np.tan(np.radians(8))) <= 1
    shift = [moved(none.model_copy(update={"shift": 0.1}), seed)[0] for seed in range(50)]
    assert 16 < np.abs(shift).max() <= 20
    scales = [none.model_copy(update={"scale": (0.8, 1.25)}).homography(200, 120, np.random.default_rng(s))[0, 0]
              for s in range(50)]  # fmt: skip
    assert 0.8 <= min(scales) < 0.85
    assert 1.2 < max(scales) <= 1.25
    for seed in range(50):
        bent = none.model_copy(update={"perspective": 3}).homography(200, 120, np.random.default_rng(seed))
        corners = np.array([[[0, 0], [200, 0], [200, 120], [0, 120]]], np.float64)
        assert 0 < np.abs(cv2.perspectiveTransform(corners, bent) - corners).max() <= 3 + 1e-4


def test_place_recall_of_hand_made_similarities() -> None:
    similarity = np.array([[0.9, 0.5, 0.1], [0.2, 0.8, 0.7], [0.3, 0.2, 0.1], [0.1, 0.2, 0.3]], np.float32)
    near = np.array([[True, False, False], [False, False, True], [False, False, True], [False, False, False]])
    assert place_recall(similarity, near, (1, 2, 3)) == pytest.approx([1 / 3, 2 / 3, 1])


def test_the_bank_keeps_what_the_encoder_said(tmp_path: Path) -> None:
    network = small_network()
    photos = [photo(0), Photo("other", lambda: texture(5, (96, 64)))]
    bank = ViewBank.build(tmp_path, photos, 2, Changes(), 0, network.backbone.local)
    for i, one in enumerate(photos):
        with torch.no_grad():
            expected = network.backbone.local(torch.from_numpy(one.read())[None, None].float())[0]
        torch.testing.assert_close(bank.load(i, 0), expected, rtol=1e-3, atol=1e-3)
        assert not torch.allclose(bank.load(i, 1), expected, atol=0.05)

    def never(images: torch.Tensor) -> torch.Tensor:
        raise AssertionError("what is there already was encoded again")

    again = ViewBank.build(tmp_path, photos, 2, Changes(), 0, never)
    views = [again.load(0, 1), again.load(1, 0), again.load(0, 0)]
    head = torch.nn.Sequential(network.backbone.deep, network.global_head)
    with torch.no_grad():
        torch.testing.assert_close(describe(head, views), torch.cat([head(view[None]) for view in views]))
    (tmp_path / "000001.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(ConfigError, match=r"000001\.npy.*delete it"):
        again.load(1, 0)
