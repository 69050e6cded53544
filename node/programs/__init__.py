"""Programs that ship with the node, seen from the side of the requester and the prover."""
