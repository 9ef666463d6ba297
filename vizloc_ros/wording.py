"""Values in messages to users: numbers without their type, times of stages, and names that may be empty."""

import re
from collections.abc import Iterable, Mapping
from itertools import islice

import numpy as np

_MAX_NUMBERS = 36  # a covariance
_SHORTEST_S = 0.05


def numbers_text(values: Iterable[float]) -> str:
    """Format numbers as ``(0.1, 2, nan)``, of Python or NumPy alike; of very many, the first."""
    texts = [f"{float(value):g}" for value in islice(values, _MAX_NUMBERS + 1)]
    return f"({', '.join([*texts[:_MAX_NUMBERS], '...'] if len(texts) > _MAX_NUMBERS else texts)})"


def number_text(value: float) -> str:
    """Format a number for a table, never with an exponent: 54019, 740, 8.52, 0.0000123."""
    if isinstance(value, int) or not abs(value) < 1000:
        return f"{value:.0f}"
    return np.format_float_positional(value, precision=3, fractional=False, trim="-")


_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


def stages_text(seconds: Mapping[str, float]) -> str:
    """Times of stages [s] for a message, without those that took none, as "extract 8.1 s, match 1.8 s"."""
    return ", ".join(f"{stage} {taken:.1f} s" for stage, taken in seconds.items() if taken >= _SHORTEST_S)


def without_numbers(text: str) -> str:
    """Return a message with every number replaced by 0: messages that differ in numbers only are one reason."""
    return _NUMBER.sub("0", text)


def short_text(text: str, chars: int = 80) -> str:
    """Return the begin of a text from outside, on one line."""
    return " ".join((text if len(text) <= chars else f"{text[:chars]}...").split())


def name_text(name: str) -> str:
    """Return the name of a frame or topic, or ``(empty)``; the begin of one that is too long."""
    return short_text(name) or "(empty)"
