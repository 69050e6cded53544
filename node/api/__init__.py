"""The node's HTTP API: `docs/api.md` describes it."""
