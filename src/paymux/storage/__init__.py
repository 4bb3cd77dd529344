"""Memory: the same promises on every engine."""
