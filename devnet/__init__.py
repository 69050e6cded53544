"""A whole network on one machine: Anvil, EigenLayer core, contracts, nodes, scenarios."""
