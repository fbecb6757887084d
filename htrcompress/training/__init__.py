"""The training loop and everything that it needs: data, objective, optimiser, checkpoint, validation, logs."""
