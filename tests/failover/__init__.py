"""Failover: real PostgreSQL servers lose their leader in every way we know, and nothing acknowledged."""
