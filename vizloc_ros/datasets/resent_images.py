"""Images of the last seconds that come again with new stamps, as when a driver falls back in its buffer.

All images after them are as late, though none of those was seen before, and their poses are right for an earlier time.
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
        late_ns: time by which the last image is late [ns]; 0 if it is not known to be.
    """

    def __init__(self) -> None:
        self.late_ns = 0
        self._seen: deque[tuple[int, int]] = deque(maxlen=_MOST)  # digest and stamp [ns] of different images
        self._in_a_row = self._stream_late_ns = self._lag_ns = self._last_ns = 0

    def receive(self, digest: int, stamp_ns: int) -> None:
        """Take the digest of the next image, in order of time; one that goes back is of another recording."""
        step_ns = stamp_ns - self._last_ns
        if step_ns < 0 or (self._stream_late_ns and step_ns > max(self._stream_late_ns, _RESTART_NS)):
            self._seen.clear()
            self._in_a_row = self._stream_late_ns = 0
        self._last_ns = stamp_ns
        while self._seen and stamp_ns - self._seen[0][1] > _REMEMBERED_NS:
            self._seen.popleft()
        before = next((at_ns for seen, at_ns in reversed(self._seen) if seen == digest), None)
        newest_ns = self._seen[-1][1] if self._seen else None
        if before is None or before == newest_ns:  # the last image again is a frozen one, and not late
            self._in_a_row, self.late_ns = 0, self._stream_late_ns
            if before is None:
                self._seen.append((digest, stamp_ns))
            return
        lag_ns = stamp_ns - before
        continues = self._in_a_row and abs(lag_ns - self._lag_ns) <= step_ns / 2
        self._in_a_row, self._lag_ns = self._in_a_row + 1 if continues else 1, lag_ns
        if self._in_a_row >= _IN_A_ROW:
            self._stream_late_ns = lag_ns
        self.late_ns = lag_ns
