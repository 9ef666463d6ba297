"""Stage 1: distillation of HF-Net from a teacher, on crops (HF-Net, section 4.2)."""
