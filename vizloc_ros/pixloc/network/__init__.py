"""Networks that extract the features (PyTorch): the paper's UNet, and a light one for CPUs and small GPUs."""
