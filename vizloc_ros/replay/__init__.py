"""Replays of bags through the nodes, on machines without ``ros2 launch`` and ``ros2 bag``."""
