"""Refusal of a launch that cannot do what it was asked for, before it has started anything."""

from __future__ import annotations

from launch import LaunchContext, LaunchDescriptionEntity
from launch.actions import OpaqueFunction, TimerAction

from vizloc_ros.errors import ConfigError

_REFUSED = "vizloc_refused"


def refuse(context: LaunchContext, reason: str) -> list[LaunchDescriptionEntity]:
    """Actions that end the launch with this message and exit code 1.

    An exception raised right here would leave behind, as orphans, the processes that a launch file around this one has
    just started: launch knows of them only when it has gone through all files.
    """

    def end(_: LaunchContext) -> None:
        raise ConfigError(reason)

    context.launch_configurations[_REFUSED] = reason
    return [TimerAction(period=0.0, actions=[OpaqueFunction(function=end)])]


def is_refused(context: LaunchContext) -> bool:
    """Return true if the launch is about to end, so that nothing more must be started."""
    return _REFUSED in context.launch_configurations
