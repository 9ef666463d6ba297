"""Training of the networks. Imports run one way: what is shared <- teacher <- distillation <- global_head."""
