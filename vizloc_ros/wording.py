"""Values in messages to users: numbers without their type, and names that may be empty."""

from collections.abc import Iterable


def numbers_text(values: Iterable[float]) -> str:
    """Format numbers as ``(0.1, 2, nan)``, of Python or NumPy alike."""
    return f"({', '.join(f'{float(value):g}' for value in values)})"


def name_text(name: str) -> str:
    """Return the name of a frame or topic, or ``(empty)``."""
    return name or "(empty)"
