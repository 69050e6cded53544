"""`python -m node`: the same program as the console scripts."""

from __future__ import annotations

from node.cli import main

main()
