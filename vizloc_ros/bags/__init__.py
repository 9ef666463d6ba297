"""Rosbags: written from datasets, played on machines without ros2 bag."""
