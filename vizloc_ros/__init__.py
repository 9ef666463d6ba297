"""Visual localization for ROS 2: where is this camera in a prebuilt map, in metres, at camera rate."""

from vizloc_ros.ros.start_signals import watch_signals

watch_signals()  # before the imports that take time

from vizloc_ros.dependencies import require_dependencies  # noqa: E402

__version__ = "0.1.0"

require_dependencies()
