"""Stage 1: HF-Net learns everything from a teacher, on crops (HF-Net paper, section 4.2)."""
