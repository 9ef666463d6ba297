"""Map: the format on disk, the map in memory, and the build from posed images."""
