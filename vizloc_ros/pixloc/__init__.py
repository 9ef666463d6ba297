"""PixLoc: follows the camera by aligning deep features of its image with those of the map's landmarks."""
