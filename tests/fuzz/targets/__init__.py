"""The targets, one file per kind of bytes; tests/fuzz/table.py names them."""
