"""Suppression, selection, refinement and sampling, each against a plain reference."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is needed for what is exported: pip install 'vizloc_ros[train]'")

from hfnet_helpers import texture  # noqa: E402
from torch.nn import functional  # noqa: E402

from vizloc_ros.features.hfnet.hfnet_network import log_odds_of_cells  # noqa: E402
from vizloc_ros.features.hfnet.postprocessing import (  # noqa: E402
    best_keypoints,
    dilate,
    non_max_suppression,
    sample_cells,
)
from vizloc_ros.features.hfnet.subpixel import SubpixelHead, log_score_windows, quadratic_offsets, windows  # noqa: E402

RADIUS = 4


def greedy(scores: np.ndarray, radius: int) -> set[tuple[int, int]]:
    """Pixels (row, column), best first, each of which forbids all others within the radius."""
    free = np.ones(scores.shape, bool)
    kept = set()
    for flat in np.argsort(-scores, axis=None):
        row, column = (int(i) for i in np.unravel_index(flat, scores.shape))
        if free[row, column]:
            kept.add((row, column))
            free[max(row - radius, 0) : row + radius + 1, max(column - radius, 0) : column + radius + 1] = False
    return kept


def distinct_scores(seed: int, sigma: float) -> np.ndarray:
    """(48, 72) scores of which no two are equal; sigma is the smoothness, 0 for noise."""
    rng = np.random.default_rng(seed)
    base = texture(seed, (72, 48), sigma).astype(float) if sigma else rng.random((48, 72))
    order = np.argsort(np.argsort((base + 1e-3 * rng.random(base.shape)).ravel()))
    return ((order + 1) / order.size).reshape(base.shape).astype(np.float32)


def suppressed(scores: np.ndarray, rounds: int) -> set[tuple[int, int]]:
    kept = non_max_suppression(torch.from_numpy(scores)[None, None], RADIUS, rounds)[0, 0].numpy()
    rows, columns = np.nonzero(kept)
    np.testing.assert_array_equal(kept[rows, columns], scores[rows, columns])
    return {(int(row), int(column)) for row, column in zip(rows, columns, strict=True)}


@pytest.mark.parametrize("sigma", [0.0, 1.0, 3.0])
@pytest.mark.parametrize("seed", range(3))
def test_suppression_against_greedy(seed: int, sigma: float) -> None:
    scores = distinct_scores(seed, sigma)
    expected = greedy(scores, RADIUS)
    assert suppressed(scores, rounds=30) == expected
    one, two, three = (suppressed(scores, rounds) for rounds in (1, 2, 3))
    assert one < two <= three <= expected
    maximum = dilate(torch.from_numpy(scores)[None, None], RADIUS)[0, 0].numpy()
    assert one == {(int(r), int(c)) for r, c in np.argwhere(scores == maximum)}


def test_suppression_recovers_what_only_a_suppressed_pixel_exceeds() -> None:
    scores = np.full((1, 40), 1e-6, np.float32)
    scores[0, [10, 14, 18]] = 0.9, 0.8, 0.7  # 14 is suppressed by 10, and so does not suppress 18
    scores += np.linspace(0, 1e-7, 40, dtype=np.float32)
    assert (0, 18) not in suppressed(scores, rounds=1)
    assert {(0, 10), (0, 18)} <= suppressed(scores, rounds=2)
    assert (0, 14) not in suppressed(scores, rounds=3)


def test_equal_scores_stay() -> None:
    assert len(suppressed(np.full((6, 7), 0.3, np.float32), rounds=3)) == 42


def test_dilation_is_the_maximum_of_the_square() -> None:
    values = torch.rand(1, 1, 30, 41)
    torch.testing.assert_close(dilate(values, RADIUS), functional.max_pool2d(values, 9, stride=1, padding=4))


@pytest.mark.parametrize("count", [5, 40, 300])
def test_the_best_keypoints_away_from_the_border(count: int) -> None:
    scores = distinct_scores(1, 1.0)
    kept = non_max_suppression(torch.from_numpy(scores)[None, None], RADIUS, 3)
    points, best = (values.numpy() for values in best_keypoints(kept, count, border=4))
    assert points.shape == (count, 2)
    rows, columns = np.nonzero(kept[0, 0].numpy())
    inner = (rows >= 4) & (rows < 44) & (columns >= 4) & (columns < 68)
    rows, columns = rows[inner], columns[inner]
    order = np.argsort(-scores[rows, columns])[:count]
    np.testing.assert_array_equal(points[: len(order)], np.stack([columns, rows], axis=1)[order])
    np.testing.assert_array_equal(best[: len(order)], scores[rows, columns][order])
    assert (best[len(order) :] == 0).all()
    assert (points >= 4).all()
    assert (points < [68, 44]).all()


def fitted_offsets(scores: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    return quadratic_offsets(log_score_windows(scores, scores.shape[-1] * points[:, 1] + points[:, 0]))


def test_a_gaussian_s_centre_is_found_between_the_pixels() -> None:
    """Of a Gaussian the logarithm is the quadratic that is fitted, so the centre is exact."""
    rng = np.random.default_rng(0)
    points = np.array([[9, 8], [24, 20], [40, 31]])
    centres = points + rng.uniform(-0.45, 0.45, points.shape)
    y, x = np.mgrid[:40, :56]
    squared = (x[..., None] - centres[:, 0]) ** 2 + (y[..., None] - centres[:, 1]) ** 2
    scores = np.exp(-squared / (2 * 1.5**2)).max(axis=2).astype(np.float32) * 0.4
    offsets = fitted_offsets(torch.from_numpy(scores), torch.from_numpy(points)).numpy()
    np.testing.assert_allclose(points + offsets, centres, atol=1e-4)


def test_offsets_stay_within_half_a_pixel() -> None:
    points = torch.tensor([[5, 5]])
    rising = torch.exp(torch.arange(100.0).reshape(1, 1, 10, 10) / 10)
    for scores in (torch.rand(1, 1, 10, 10), torch.zeros(1, 1, 10, 10), torch.ones(1, 1, 10, 10), rising):
        assert (fitted_offsets(scores, points).abs() <= 0.5).all()
    torch.testing.assert_close(fitted_offsets(torch.ones(1, 1, 10, 10), points), torch.zeros(1, 2))


def test_windows_are_the_pixels_around() -> None:
    maps = torch.arange(2 * 20 * 30).reshape(2, 20, 30)
    crop, x, y = torch.tensor([0, 1]), torch.tensor([7, 25]), torch.tensor([4, 15])
    found = windows(maps, (crop * 20 + y) * 30 + x, 4)
    for i in range(2):
        assert (found[i].reshape(9, 9) == maps[crop[i], y[i] - 4 : y[i] + 5, x[i] - 4 : x[i] + 5]).all()


def test_a_fresh_refiner_is_the_quadratic_fit_and_a_trained_one_moves_no_further_than_it_may() -> None:
    torch.manual_seed(0)
    refiner, gray, logarithms = SubpixelHead(16), 255 * torch.rand(50, 81), -5 * torch.rand(50, 25)
    torch.testing.assert_close(refiner(gray, logarithms), quadratic_offsets(logarithms))
    for values in refiner.parameters():
        torch.nn.init.normal_(values)
    offsets = refiner(gray, logarithms)
    assert 2 < offsets.abs().max() <= 3
    torch.testing.assert_close(refiner(gray + 20, logarithms - 1), offsets, atol=1e-3, rtol=1e-3)
    assert torch.isfinite(refiner(torch.zeros(1, 81), torch.full((1, 25), -20.0))).all()


@pytest.mark.parametrize("cells", [(2, 2), (5, 9), (12, 7)])
def test_sampling_against_grid_sample(cells: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    rows, columns = cells
    dense = functional.normalize(torch.randn(1, 24, rows, columns, generator=generator), dim=1)
    size = torch.tensor([8.0 * columns, 8.0 * rows])
    points = torch.rand(200, 2, generator=generator) * size - 0.5  # to the outer edges of the outermost pixels
    grid = 2 * (points + 0.5) / size - 1
    expected = functional.grid_sample(dense, grid[None, None], padding_mode="border", align_corners=False)[0, :, 0].t()
    found = sample_cells(dense.permute(0, 2, 3, 1), points, (8 * columns, 8 * rows), 8)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_log_odds_are_against_no_keypoint() -> None:
    logits = 5 * torch.randn(2, 65, 5, 9)
    pixels, none = logits.split((64, 1), dim=1)
    torch.testing.assert_close(log_odds_of_cells(logits), torch.nn.functional.pixel_shuffle(pixels - none, 8))
