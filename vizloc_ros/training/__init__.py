"""Training of the networks. Imports run one way: shared modules <- teacher <- distillation <- global_head."""
