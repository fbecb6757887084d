"""What runs each peer, in an environment of its own: each file is started by that environment's Python.

They may import nothing of this project but the files beside them; `ours.py` alone runs in its environment.
"""
