"""A whole network on one machine: Anvil, the EigenLayer core, our contracts, operator nodes and scenarios."""
