"""PixLoc: aligns deep features of an image with reference features of the map's landmarks, and tracks the camera."""
