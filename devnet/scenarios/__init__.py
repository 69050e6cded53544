"""One file per scenario, named as `python -m devnet scenario NAME`; each defines SCENARIO."""
