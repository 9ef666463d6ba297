"""HF-Net (Sarlin et al., CVPR 2019): one small network for keypoints, local descriptors and a global descriptor."""
