"""Datasets: readers of recordings and rendered worlds, which yield records."""
