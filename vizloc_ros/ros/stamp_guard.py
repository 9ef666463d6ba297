"""Order of image stamps: images that may be used, images to drop, and jumps of the clock that reset the state."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from vizloc_ros.timing import NANOSECONDS

RESET_AFTER_NS = NANOSECONDS
_AHEAD_NS = 5 * NANOSECONDS  # a stamp that is farther ahead must be confirmed by the next one
_AHEAD_INTERVALS = 3  # the same as a ratio of the last interval, for slow cameras


class Verdict(Enum):
    """Result for a stamp; its image is dropped unless it is OK."""

    OK = "ok"
    UNSTAMPED = "unstamped"
    OUT_OF_ORDER = "out_of_order"
    AHEAD = "ahead"  # far ahead of all before: one wrong stamp, or the images have paused
    JUMPED_BACK = "jumped_back"  # drop all that was derived from earlier images, too


@dataclass(frozen=True)
class StampCheck:
    """Verdict on a stamp, and its reason for diagnostics (empty if OK)."""

    verdict: Verdict
    message: str = ""

    @property
    def ok(self) -> bool:
        """True if the image may be used."""
        return self.verdict is Verdict.OK


class StampGuard:
    """Comparison of each stamp with the newest before it. For one thread."""

    def __init__(self) -> None:
        self._last_ns: int | None = None
        self._ahead_ns: int | None = None  # a stamp that the next one may confirm
        self._interval_ns = 0

    def check(self, stamp_ns: int) -> StampCheck:
        """Check the next stamp [ns]. After a jump back, that stamp is the one to compare with."""
        result = self._compare(stamp_ns)
        if result.verdict is Verdict.AHEAD:
            self._ahead_ns = stamp_ns
        elif result.verdict in (Verdict.OK, Verdict.JUMPED_BACK):
            before = self._last_ns if self._ahead_ns is None or stamp_ns < self._ahead_ns else self._ahead_ns
            self._interval_ns = max(0, stamp_ns - before) if before is not None else 0
            self._last_ns, self._ahead_ns = stamp_ns, None
        return result

    def _compare(self, stamp_ns: int) -> StampCheck:
        if stamp_ns < 0 or (stamp_ns == 0 and self._last_ns is not None):  # a recording may begin at 0
            return StampCheck(
                Verdict.UNSTAMPED, "image without a stamp dropped: the camera driver must fill in header.stamp"
            )
        if self._last_ns is None:
            return StampCheck(Verdict.OK)
        ahead_ns = stamp_ns - self._last_ns
        if ahead_ns > 0:
            confirmed = self._ahead_ns is not None and stamp_ns > self._ahead_ns
            if confirmed or ahead_ns <= max(_AHEAD_NS, _AHEAD_INTERVALS * self._interval_ns):
                return StampCheck(Verdict.OK)
            return StampCheck(
                Verdict.AHEAD,
                f"image stamped {ahead_ns / NANOSECONDS:.1f} s after the one before dropped: the next ones will tell "
                "whether that was a pause or a wrong stamp",
            )
        back_ns = self._last_ns - stamp_ns
        back_s = back_ns / NANOSECONDS
        if back_ns >= RESET_AFTER_NS:
            return StampCheck(
                Verdict.JUMPED_BACK, f"time jumped back by {back_s:.1f} s (a bag that starts over?): state reset"
            )
        if back_ns == 0:
            return StampCheck(Verdict.OUT_OF_ORDER, "image with the stamp of the one before it dropped")
        return StampCheck(Verdict.OUT_OF_ORDER, f"image {back_s * 1e3:.1f} ms older than the one before it dropped")
