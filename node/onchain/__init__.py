"""Adapters from the chain package to the replica's inputs and the services' ports."""
