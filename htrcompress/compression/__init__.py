"""Making a trained network smaller: distillation losses and structured pruning."""
