"""Datasets: readers of their formats, images made ready for a network, batches, augmentation, synthetic lines."""
