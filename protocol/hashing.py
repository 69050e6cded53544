"""keccak-256, as Ethereum uses it.

The backend is named: the one that eth-hash would choose by itself takes 4 to 10 us for a call of
64 bytes, this one takes 1 us, which halves the processor time of a round of 25 operators.
"""

from __future__ import annotations

from eth_hash.backends.pysha3 import keccak256 as keccak

__all__ = ["keccak"]
