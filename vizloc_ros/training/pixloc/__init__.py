"""Trains PixLoc end to end, from pixels to pose (PixLoc, section 3.3)."""
