"""Restarts of a node that has ended by itself, unless it ends at once time after time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import launch.logging
from launch import LaunchContext, LaunchDescriptionEntity
from launch.actions import EmitEvent
from launch.events import matches_action
from launch.events.process import ProcessExited, ShutdownProcess

RESTART_DELAY_S = 2.0
QUICK_S = 30.0  # loading a large map, or everything on a small computer, takes a while
MOST_QUICK_RESTARTS = 3


class Restarts:
    """Handler of the exits of one process with ``respawn``; it gives up after three that lasted under 30 s.

    A refused parameter would end it every time. launch itself can only count all restarts, those of weeks included, and
    not on Humble.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._started = monotonic()
        self._quick_restarts = 0

    def __call__(self, event: ProcessExited, context: LaunchContext) -> list[LaunchDescriptionEntity] | None:
        """Handle an exit; the ``on_exit`` of the process."""
        if context.is_shutdown:
            return None
        now = self._monotonic()
        if now - self._started >= QUICK_S:
            self._quick_restarts = 0
        self._started = now + RESTART_DELAY_S
        logger: Any = launch.logging.get_logger(event.process_name)
        if self._quick_restarts == MOST_QUICK_RESTARTS:
            logger.error(
                f"ended again with exit code {event.returncode} and is given up after {MOST_QUICK_RESTARTS} restarts "
                "in a row: see above for what it said, and start the launch file again"
            )
            # Before the delay is over: then launch does not start it again.
            return [EmitEvent(event=ShutdownProcess(process_matcher=matches_action(event.action)))]
        self._quick_restarts += 1
        logger.warning(f"ended with exit code {event.returncode} and starts again in {RESTART_DELAY_S:g} s")
        return None
