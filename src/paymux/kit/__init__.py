"""Tools without business: clock, ids, sealing, scrubbing."""
