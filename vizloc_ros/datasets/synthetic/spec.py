"""Specification of the synthetic street, the text after ``synthetic:``, such as ``seed=3&length=20``."""

import re
from dataclasses import dataclass
from typing import Any

from vizloc_ros.datasets.synthetic.lens_covers import COVERS
from vizloc_ros.datasets.synthetic.route import BASE_FROM_CAMERA, LOOP_LENGTH
from vizloc_ros.datasets.synthetic.walk import ROUND_LENGTH, SPEED
from vizloc_ros.errors import DatasetError


@dataclass(frozen=True)
class StreetSpec:
    """Parameters of the synthetic street, corridor or room.

    Attributes:
        seed: seed of the whole world; each seed gives another one.
        length: driven distance, from the start of the lap [m]; in the room one round.
        width: width of the images [px].
        height: height of the images [px]; in the room 480.
        rate: frame rate of the camera [Hz]; in the room 30.
        speed: speed of the vehicle [m/s]; in the room that of a walk.
        world: ``street``, ``corridor`` or ``room``.
        aliased: what repeats along the street: ``fronts`` (one facade on every house) or ``all`` (ground, trees and
            poles, too); empty for nothing.
        covered: cover on the lens in the second lap, a key of ``COVERS``; empty for none.
        covered_camera: camera whose lens that cover is on; empty for all.
        cameras: names of the vehicle's cameras, keys of ``BASE_FROM_CAMERA``; none for one without a name, which is
            where the front camera is.
    """

    seed: int = 0
    length: float = LOOP_LENGTH
    width: int = 640
    height: int = 400
    rate: float = 10.0
    speed: float = 5.0
    world: str = "street"
    aliased: str = ""
    covered: str = ""
    covered_camera: str = ""
    cameras: tuple[str, ...] = ()

    @property
    def step(self) -> float:
        """Distance from one frame to the next [m]."""
        return self.speed / self.rate


_ALLOWED: dict[str, tuple[type[int] | type[float], float, float]] = {
    "seed": (int, 0, 2**32 - 1),
    "length": (float, 0.1, LOOP_LENGTH),
    "width": (int, 64, 4096),
    "height": (int, 64, 4096),
    "rate": (float, 0.1, 1000),
    "speed": (float, 0.1, 50),
}


_WORDS: dict[str, tuple[str, ...]] = {
    "world": ("street", "corridor", "room"),
    "aliased": ("fronts", "all"),
    "covered": tuple(COVERS),
    "covered_camera": tuple(BASE_FROM_CAMERA),
}


_OF_ROOM: dict[str, Any] = {"length": ROUND_LENGTH, "height": 480, "rate": 30.0, "speed": SPEED}


_SEPARATOR = re.compile(r"&|,(?=[^,&]*=|$)")  # a comma without a key after it is within a list


def parse_spec(text: str) -> StreetSpec:
    """Parse ``key=value`` pairs joined by ``&`` or ``,``; cameras are a list, such as ``cameras=front,rear``.

    Raises:
        DatasetError: a key is unknown or its value not allowed; the text names the key and the allowed values.
    """
    values: dict[str, Any] = {}
    for pair in filter(None, _SEPARATOR.split(text)):
        key, _, value = pair.partition("=")
        if key == "cameras":
            values[key] = _cameras(value.split(","), text)
            continue
        if key in _WORDS:
            if value not in _WORDS[key]:
                raise DatasetError(f"synthetic:{text}: {key} is {value!r}; it must be {' or '.join(_WORDS[key])}")
            values[key] = value
            continue
        if key not in _ALLOWED:
            keys = ", ".join((*_ALLOWED, *_WORDS, "cameras"))
            raise DatasetError(f"synthetic:{text}: there is no key {key!r}; the keys are {keys}")
        kind, low, high = _ALLOWED[key]
        try:
            values[key] = kind(value)
        except ValueError:
            values[key] = float("nan")
        if not low <= values[key] <= high:
            noun = "a whole number" if kind is int else "a number"
            raise DatasetError(f"synthetic:{text}: {key} is {value!r}; it must be {noun} from {low:g} to {high:.10g}")
    if values.get("world") == "corridor" and "aliased" in values:
        raise DatasetError(f"synthetic:{text}: the corridor repeats already; aliased is for the street")
    if values.get("world") == "room":
        if not values.keys().isdisjoint(("aliased", "cameras")):
            raise DatasetError(f"synthetic:{text}: aliased and cameras are for the street, the room has one camera")
        values = _OF_ROOM | values
    spec = StreetSpec(**values)
    if spec.covered_camera and spec.covered_camera not in spec.cameras:
        raise DatasetError(
            f"synthetic:{text}: covered_camera is {spec.covered_camera!r}, which is none of the cameras: name them, as "
            f"in cameras={','.join(BASE_FROM_CAMERA)}"
        )
    return spec


def _cameras(names: list[str], text: str) -> tuple[str, ...]:
    if not set(names) <= BASE_FROM_CAMERA.keys() or len(set(names)) < len(names):
        known = ", ".join(BASE_FROM_CAMERA)
        raise DatasetError(
            f"synthetic:{text}: cameras is {','.join(names)!r}; it must be one or more of {known}, each once"
        )
    return tuple(names)
