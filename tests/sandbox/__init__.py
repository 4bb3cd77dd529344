"""The sandbox, tested through its wires: what it answers, what it books, what it calls back."""
