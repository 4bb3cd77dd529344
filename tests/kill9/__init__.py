"""kill -9: real processes die under load, in every way we know, and the books are held against each other."""
