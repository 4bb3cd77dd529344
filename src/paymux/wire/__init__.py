"""Dialects: bytes to domain and back; no decisions about money."""
