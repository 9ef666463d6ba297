"""Stage 2: the global head of a distilled HF-Net learns from whole images what a place looks like."""
