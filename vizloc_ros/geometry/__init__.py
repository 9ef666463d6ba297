"""Poses, cameras, rectification, interpolation, covariances, and the Lie groups of rigid motions."""
