"""Planted money bugs: each must be caught by the simulation, or a checker is missing."""
