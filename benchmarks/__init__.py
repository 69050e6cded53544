"""Benchmarks of the whole network and of its parts; see docs/benchmarks.md."""
