"""From frames of logits to text: greedy decoding, beam search, and the character n-grams that guide it."""
