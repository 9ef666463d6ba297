"""The teacher of HF-Net: what a larger network says about an image, and where its answers are kept."""
