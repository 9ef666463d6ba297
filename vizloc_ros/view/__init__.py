"""Viewer without RViz: maps, results and bags as recordings of rerun."""
