"""Pose by alignment of features: Levenberg-Marquardt on SE(3) (PixLoc, section 3)."""
