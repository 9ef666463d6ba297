"""End-to-end training of PixLoc, from pixels to pose (PixLoc, section 3.2)."""
