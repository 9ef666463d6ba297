"""Memory of the retrieval: a belief over keyframes that is carried from image to image (a discrete Bayes filter).

One blurred or dark image says little about the place, several in a row say more: the vehicle can only have driven so
far between them. This is the filter of FAB-MAP and RTAB-Map, over retrieved keyframes instead of all.
"""

from copy import copy

import numpy as np
from scipy.spatial import cKDTree

from vizloc_ros.arrays import Float32, Float64, Int64

_SPREAD = 0.02  # of the cosine to a query, between keyframes of one place
_ELSEWHERE = 0.1  # probability that the camera is where nobody expects it: carried off, or never known
_MARGIN = 3.0  # m; keyframes see a place from this far away, even at rest
_BELIEVED = 40  # most probable keyframes that are carried on


class PlaceMemory:
    """Probabilities of keyframes, given the images of the last seconds.

    Images are taken in order of time. One of the same time as the last replaces it, such as one that was turned the
    other way. An older one, or one after a gap, starts from nothing.
    """

    def __init__(self, positions: Float64, seconds: float, max_speed: float) -> None:
        """Know nothing.

        Args:
            positions: (K, 3) positions of all keyframes [m].
            seconds: time between images after which the earlier ones are forgotten [s].
            max_speed: maximum speed of the camera [m/s].
        """
        self._tree = cKDTree(positions)
        self._seconds, self._max_speed = seconds, max_speed
        self.forget()

    def empty(self) -> "PlaceMemory":
        """Memory of the same keyframes that knows nothing."""
        other = copy(self)
        other.forget()
        return other

    def forget(self) -> None:
        """Know nothing again."""
        nothing = np.zeros(0, np.int64), np.zeros(0)
        self._stamp_ns: int | None = None
        self._believed, self._expected = nothing, nothing

    def expect(self, stamp_ns: int) -> Int64:
        """Return ascending keyframes that the camera may have reached by the time of the next image."""
        if self._stamp_ns is not None and stamp_ns != self._stamp_ns:
            elapsed = (stamp_ns - self._stamp_ns) / 1e9
            if 0 < elapsed <= self._seconds:
                self._expected = self._moved(self._max_speed * elapsed + _MARGIN)
            else:
                self.forget()
        self._stamp_ns = stamp_ns
        return self._expected[0]

    def update(self, keyframes: Int64, similarities: Float32) -> Float64:
        """Take the expected image into account.

        Args:
            keyframes: (P,) distinct keyframes, the expected ones among them.
            similarities: (P,) cosines of their global descriptors and the image's.

        Returns:
            (P,) probabilities, up to a factor.
        """
        before = np.full(len(keyframes), _ELSEWHERE / self._tree.n)
        expected, probabilities = self._expected
        if len(expected):
            rows = np.searchsorted(expected, keyframes).clip(max=len(expected) - 1)
            before += (1 - _ELSEWHERE) * np.where(expected[rows] == keyframes, probabilities[rows], 0)
        likelihood = np.exp((similarities.astype(np.float64) - similarities.max()) / _SPREAD)
        after = before * likelihood
        after /= after.sum()
        best = np.argsort(-after, kind="stable")[:_BELIEVED]
        self._believed = keyframes[best], after[best] / after[best].sum()
        return after

    def _moved(self, reach: float) -> tuple[Int64, Float64]:
        """Ascending keyframes within reach of those believed in, and their probabilities after the move."""
        near = self._tree.query_ball_point(self._tree.data[self._believed[0]], reach)
        counts = np.array([len(each) for each in near])
        reached, which = np.unique(np.concatenate(near).astype(np.int64), return_inverse=True)
        probabilities: Float64 = np.bincount(which, np.repeat(self._believed[1] / counts, counts)).astype(np.float64)
        return reached, probabilities
