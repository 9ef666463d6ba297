"""Full names of nodes in a launch file."""

from __future__ import annotations

from launch import LaunchContext
from launch_ros.utilities import make_namespace_absolute, prefix_namespace


def absolute_namespace(context: LaunchContext, namespace: str) -> str:
    """Namespace that a node gets within those of the launch files around; empty for the root."""
    around = context.launch_configurations.get("ros_namespace")
    return str(make_namespace_absolute(prefix_namespace(around, namespace)) or "").rstrip("/")
