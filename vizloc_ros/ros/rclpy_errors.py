"""Errors that rclpy raises but does not export, read from its private module in this one place."""

from __future__ import annotations

from rclpy.impl.implementation_singleton import rclpy_implementation

RCLError = rclpy_implementation.RCLError  # refused by the middleware, or ROS is shut down
UnknownROSArgsError = rclpy_implementation.UnknownROSArgsError
