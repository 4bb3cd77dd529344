"""Everything that is promised, tried out: `make test` runs it."""
