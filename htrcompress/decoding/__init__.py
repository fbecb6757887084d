"""From frames of logits to labels: the NumPy reference, and greedy decoding in tensor operators."""
