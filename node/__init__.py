"""The operator node: a trio shell around the pure protocol."""
