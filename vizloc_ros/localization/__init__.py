"""Hierarchical localization: from an image's features to a verified pose."""
