"""Values in messages to users: numbers without their type, and names that may be empty."""

import re
from collections.abc import Iterable

import numpy as np


def numbers_text(values: Iterable[float]) -> str:
    """Format numbers as ``(0.1, 2, nan)``, of Python or NumPy alike."""
    return f"({', '.join(f'{float(value):g}' for value in values)})"


def number_text(value: float) -> str:
    """Format a number for a table, never with an exponent: 54019, 740, 8.52, 0.0000123."""
    if isinstance(value, int) or not abs(value) < 1000:
        return f"{value:.0f}"
    return np.format_float_positional(value, precision=3, fractional=False, trim="-")


_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def without_numbers(text: str) -> str:
    """Return a message with every number replaced by 0: messages that differ in numbers only are one reason."""
    return _NUMBER.sub("0", text)


def name_text(name: str) -> str:
    """Return the name of a frame or topic, or ``(empty)``."""
    return name or "(empty)"
