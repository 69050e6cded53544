"""`python -m devnet`: see docs/devnet.md."""

from __future__ import annotations

import sys

from devnet.cli import run

sys.exit(run(sys.argv[1:]))
