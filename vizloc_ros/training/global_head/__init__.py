"""Stage 2: training of the global head of a distilled HF-Net, on whole images."""
