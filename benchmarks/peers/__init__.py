"""Localization by others beside ours: the same queries, features and map, each method in a process of its own."""
