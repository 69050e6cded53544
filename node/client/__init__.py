"""The requester's side: talks to nodes over their HTTP API, holds the private input."""
