"""Teacher networks of HF-Net, and the store of their targets."""
