"""Images of the last seconds that come again with new stamps, as when a driver falls back in its buffer.

All images after them are as late, though none of those was seen before, and their poses are right for an earlier time.
One image alone is no late stream, nor are images in reverse order, as a simulator without noise may show them.
So the stream is not to be trusted until it has been away for longer than it is late, as when the driver restarts.
"""

from collections import deque

_REMEMBERED_NS = 5_000_000_000
_MOST = 1024  # images
_RESTART_NS = 1_000_000_000  # least time without an image after which a late stream is another one
_IN_A_ROW = 2  # images that are late by the same time


class ResentImages:
    """Search for each image of one camera among those of the last seconds. For one thread.

    Attributes:
        late_ns: time by which the images are late [ns]; 0 if they are not known to be.
    """

    def __init__(self) -> None:
        self.late_ns = 0
        self._seen: deque[tuple[int, int]] = deque(maxlen=_MOST)  # digest and stamp [ns] of different images
        self._in_a_row = self._lag_ns = self._last_ns = 0
        self._last = -1  # digest

    def receive(self, digest: int, stamp_ns: int) -> None:
        """Take the digest of the next image, in order of time; one that goes back is of another recording."""
        step_ns = stamp_ns - self._last_ns
        if step_ns < 0 or (self.late_ns and step_ns > max(self.late_ns, _RESTART_NS)):
            self._seen.clear()
            self._in_a_row = self.late_ns = 0
        self._last_ns = stamp_ns
        while self._seen and stamp_ns - self._seen[0][1] > _REMEMBERED_NS:
            self._seen.popleft()
        last, self._last = self._last, digest
        if digest == last:  # a frozen camera, or images that come twice
            return
        before = next((at_ns for seen, at_ns in reversed(self._seen) if seen == digest), None)
        if before is None:
            self._seen.append((digest, stamp_ns))
            self._in_a_row = 0
            return
        lag_ns = stamp_ns - before
        continues = self._in_a_row and abs(lag_ns - self._lag_ns) <= step_ns / 2
        self._in_a_row, self._lag_ns = self._in_a_row + 1 if continues else 1, lag_ns
        if self._in_a_row >= _IN_A_ROW:
            self.late_ns = lag_ns
