"""The parts of the benchmark: each starts what it needs, measures in turns, and returns its findings."""
