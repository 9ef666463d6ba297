"""Bilinear interpolation against OpenCV's, and both layouts against each other."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_allclose, assert_array_equal

from vizloc_ros.arrays import Float32, Float64
from vizloc_ros.geometry.interpolation import Corners, interpolate_channels_first, interpolate_channels_last

quick = settings(max_examples=40, deadline=None)

sizes = st.tuples(st.integers(1, 6), st.integers(1, 7))
positions = hnp.arrays(np.float64, st.tuples(st.integers(0, 20), st.just(2)), elements=st.floats(-3, 10))


def values_of(rows: int, columns: int, channels: int = 4) -> Float32:
    return np.random.default_rng(rows * 10 + columns).normal(size=(rows, columns, channels)).astype(np.float32)


@quick
@given(sizes, positions)
def test_both_layouts_agree(size: tuple[int, int], at: Float64) -> None:
    rows, columns = size
    values, corners = values_of(rows, columns), Corners.of(at, columns, rows)
    first = interpolate_channels_first(np.ascontiguousarray(values.transpose(2, 0, 1)), corners)
    last = interpolate_channels_last(values, corners)
    assert first.dtype == last.dtype == np.float32
    assert last.shape == (len(at), 4)
    assert_allclose(first.T, last, atol=1e-6)
    assert_array_equal(interpolate_channels_last(values[:, :, 0], corners), last[:, 0])


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 1), (5, 7)])
def test_the_values_are_those_of_opencv_with_a_replicated_border(size: tuple[int, int]) -> None:
    rows, columns = size
    values = values_of(rows, columns)
    at = np.random.default_rng(0).integers(-64, 32 * 9, (50, 2)) / 32  # OpenCV's positions are multiples of 1/32
    map_x, map_y = (at[None, :, axis].astype(np.float32) for axis in (0, 1))
    expected = cv2.remap(values, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
    assert_allclose(interpolate_channels_last(values, Corners.of(at, columns, rows)), expected, atol=1e-5)


def test_at_the_centres_of_pixels_the_values_are_exact() -> None:
    rows, columns = 4, 6
    values = values_of(rows, columns)
    grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
    found = interpolate_channels_last(values, Corners.of(grid.astype(np.float64), columns, rows))
    assert_array_equal(found, values.reshape(-1, 4))


@quick
@given(sizes, positions)
def test_some_of_the_positions_are_the_same_positions(size: tuple[int, int], at: Float64) -> None:
    rows, columns = size
    values, corners = values_of(rows, columns), Corners.of(at, columns, rows)
    order = np.arange(len(at))[::-2]
    chosen = interpolate_channels_last(values, corners.take(order))
    assert_array_equal(chosen, interpolate_channels_last(values, corners)[order])
