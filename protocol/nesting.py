"""How deep JSON nests, told before it is decoded.

Decoders recurse on the C stack, and their guard is Python's recursion limit, which py_ecc raises to
100,000 when something imports it: deep nesting would then kill the process.
"""

from __future__ import annotations

import re
from typing import Final

MAX_DEPTH: Final = 32
"""Arrays and objects within each other; nothing that we read has half as many."""
# A string that never ends matches to the end, too: else every quote in it would be tried again.
_TOKEN: Final = re.compile(rb'(?s)"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{}]')


def too_deep(raw: bytes) -> bool:
    """Tell whether JSON text nests deeper than MAX_DEPTH, as far as it is JSON at all."""
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:
        return False
    depth = 0
    for token in _TOKEN.finditer(raw):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(token[0], 0)
        if depth > MAX_DEPTH:
            return True
    return False
