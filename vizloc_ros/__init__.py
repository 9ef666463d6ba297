"""Visual localization for ROS 2: where is this camera in a prebuilt map, in metres, at camera rate."""

__version__ = "0.1.0"
