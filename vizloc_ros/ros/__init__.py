"""Adapters between ROS 2 and the core, for any node."""
