"""Speed, size and error rates of every artefact, side by side: `python benchmarks/run.py`. Not part of the wheel."""
