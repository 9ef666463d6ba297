"""Poses, cameras, rectification and the Lie algebra of rigid motions; everything else is built on it."""
