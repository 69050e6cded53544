"""What a node does beside its replica; each service depends on ports alone."""
