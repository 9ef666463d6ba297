"""Extractors of the feature pyramids that PixLoc aligns: the network, gray values, ablations."""
