"""Thin rclpy nodes around the core: messages in, core call, messages out."""
