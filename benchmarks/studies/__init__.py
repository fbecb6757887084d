"""Measurements of single questions: several seeds, fine-tuning, what a language model or the decode gains or costs."""
