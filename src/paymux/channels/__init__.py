"""The outside: each folder is one channel, with equal file names."""
