"""The map: its format on disk, and how it is built from posed images."""
