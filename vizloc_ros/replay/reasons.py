"""Reasons for which images get no pose, counted from the diagnostics of the nodes."""

from __future__ import annotations

from collections import Counter

from diagnostic_msgs.msg import DiagnosticStatus

from vizloc_ros.ros.diagnostics import node_of
from vizloc_ros.wording import without_numbers

_FAILURES = ("rejected", "failed")  # counts of the nodes


class Reasons:
    """Counter of the images that a node could not use or localize, by what it said of them.

    Nodes publish counts and the worst message once a second: all images that failed in a second get that message.
    Messages that differ in numbers only are one reason, with the text of the first.
    """

    def __init__(self) -> None:
        self._texts: dict[tuple[str, str], str] = {}
        self._images: Counter[tuple[str, str]] = Counter()
        self._reports: Counter[tuple[str, str]] = Counter()
        self._failures: dict[str, int] = {}

    def add(self, status: DiagnosticStatus) -> None:
        """Add a node's next status."""
        failures = sum(int(pair.value) for pair in status.values if pair.key in _FAILURES and pair.value.isdecimal())
        node = node_of(status)
        new = failures - self._failures.get(node, 0)
        self._failures[node] = failures
        if status.level == DiagnosticStatus.OK:
            return
        key = node, without_numbers(status.message)
        self._texts.setdefault(key, f"{node}: {status.message}")
        self._images[key] += max(new, 0)
        self._reports[key] += 1

    def clear(self) -> None:
        """Forget what was said so far, and the images up to now."""
        for counter in (self._texts, self._images, self._reports):
            counter.clear()

    @property
    def images(self) -> dict[str, int]:
        """Numbers of images by reason, most frequent first."""
        return {self._texts[key]: count for key, count in self._images.most_common() if count}

    @property
    def warnings(self) -> dict[str, int]:
        """Numbers of reports by message, of those that cost no image; most frequent first."""
        return {self._texts[key]: count for key, count in self._reports.most_common() if not self._images[key]}
