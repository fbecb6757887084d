"""Files that are written whole or not at all, and what the process may use of its machine."""
