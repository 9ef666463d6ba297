"""HF-Net (Sarlin et al., CVPR 2019): a small network for keypoints, local descriptors and a global descriptor."""
