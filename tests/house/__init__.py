"""The rules of the house: each is proven by a planted violation, then held against the project."""
