"""The pure protocol: messages, rounds, market, jobs, batches. No I/O, no clock, no randomness."""
