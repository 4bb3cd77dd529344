"""Contention: many processes reach for the same work and the same money at once; nothing may happen twice."""
