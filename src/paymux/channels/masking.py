"""What of a secret may be kept in history: nothing, but of a barcode enough for people to tell it by."""

_BARCODES = frozenset({"auth_code", "dynamic_id"})
_TOLD_CHARS_MIN = 16


def masked(name: str, value: str) -> str:
    """Hide the value of a field; a whole barcode keeps its first and last two characters."""
    if name in _BARCODES and len(value) >= _TOLD_CHARS_MIN:
        return f"{value[:2]}{'*' * 12}{value[-2:]}"
    return "***"
