"""Order of integers and the first ones of each, against NumPy's own."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vizloc_ros.arrays import first_of_each, ordered


@given(arrays(np.int32, st.integers(0, 200), elements=st.integers(0, 2**31 - 1) | st.integers(0, 5)))
def test_equal_integers_keep_their_order(values: np.ndarray) -> None:
    np.testing.assert_array_equal(ordered(values), np.argsort(values, kind="stable"))


@given(arrays(np.int64, st.integers(0, 200), elements=st.integers(0, 9)))
def test_the_first_of_each_is_marked(labels: np.ndarray) -> None:
    expected = np.sort(np.unique(labels, return_index=True)[1])
    np.testing.assert_array_equal(np.flatnonzero(first_of_each(labels, 10)), expected)
