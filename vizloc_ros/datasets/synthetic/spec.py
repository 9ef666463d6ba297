"""The text behind ``synthetic:``, such as ``seed=3&length=20``."""

import re
from dataclasses import dataclass
from typing import Any

from vizloc_ros.datasets.synthetic.route import LOOP_LENGTH
from vizloc_ros.errors import DatasetError


@dataclass(frozen=True)
class StreetSpec:
    """What can be asked of the synthetic street.

    Attributes:
        seed: of everything random; another seed is another street.
        length: how much of the round is driven, from its start [m].
        width: of the images [px].
        height: of the images [px].
        rate: of the camera [Hz].
        speed: of the vehicle [m/s].
    """

    seed: int = 0
    length: float = LOOP_LENGTH
    width: int = 640
    height: int = 400
    rate: float = 10.0
    speed: float = 5.0

    @property
    def step(self) -> float:
        """Metres from one frame to the next."""
        return self.speed / self.rate


_ALLOWED: dict[str, tuple[type[int] | type[float], float, float]] = {
    "seed": (int, 0, 2**32 - 1),
    "length": (float, 0.1, LOOP_LENGTH),
    "width": (int, 64, 4096),
    "height": (int, 64, 4096),
    "rate": (float, 0.1, 1000),
    "speed": (float, 0.1, 50),
}


def parse_spec(text: str) -> StreetSpec:
    """Reads ``key=value`` pairs joined by ``&`` or ``,``.

    Raises:
        DatasetError: naming the key and what is allowed.
    """
    values: dict[str, Any] = {}
    for pair in filter(None, re.split("[&,]", text)):
        key, _, value = pair.partition("=")
        if key not in _ALLOWED:
            raise DatasetError(f"synthetic:{text}: there is no key {key!r}; the keys are {', '.join(_ALLOWED)}")
        kind, low, high = _ALLOWED[key]
        try:
            values[key] = kind(value)
        except ValueError:
            values[key] = float("nan")
        if not low <= values[key] <= high:
            noun = "a whole number" if kind is int else "a number"
            raise DatasetError(f"synthetic:{text}: {key} is {value!r}; it must be {noun} from {low:g} to {high:.10g}")
    return StreetSpec(**values)
