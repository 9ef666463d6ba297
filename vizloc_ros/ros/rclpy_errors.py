"""Errors that rclpy raises but does not export, read from its private module in this one place."""

from __future__ import annotations

from rclpy.exceptions import InvalidHandle, NotInitializedException
from rclpy.impl.implementation_singleton import rclpy_implementation

RCLError = rclpy_implementation.RCLError  # refused by the middleware, or ROS is shut down
UnknownROSArgsError = rclpy_implementation.UnknownROSArgsError

# Any of them may come of a shutdown: it depends on the call that it comes before.
SHUTDOWN_ERRORS = (RCLError, InvalidHandle, NotInitializedException)
