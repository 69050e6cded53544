"""Proving: workers, keys and checkpoints."""
