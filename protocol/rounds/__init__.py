"""The parts of the round machine; `protocol/round.py` is its front."""
