"""The reliability page: what was tried, how often, what came of it, how to repeat it."""
