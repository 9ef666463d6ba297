"""Search for the roll of a camera by the images that localize, where the answer comes later or not at all."""

import random

from vizloc_ros.geometry.quarter_turns import Roll

_PATIENCE = 10  # images in a row without a pose before other rolls are tried again


class RollSearch:
    """Choice of a roll for each image: all in turn until an image localizes, then the roll of that image.

    Without poses again, as off the mapped route, every second image keeps that roll.
    """

    def __init__(self, seed: int = 0) -> None:
        self._found: Roll | None = None
        self._without_pose = 0
        self._random = random.Random(seed)
        self._round: list[Roll] = []
        self._started = False

    def choose(self, likely: Roll = Roll.NONE) -> Roll:
        """Choose the roll for the next image; the first two are ``Roll.NONE`` and ``likely``.

        Later rounds are in random order: nodes after this one may take only every second or fourth image.
        """
        self._without_pose += 1
        if self._found is not None and (self._without_pose <= _PATIENCE or self._without_pose % 2):
            return self._found
        if not self._round:
            rest = self._random.sample(list(Roll), len(Roll))
            self._round = rest if self._started else list(dict.fromkeys((Roll.NONE, likely, *rest)))
            self._started = True
        return self._round.pop(0)

    def found(self, roll: Roll) -> None:
        """Note that an image localized with a roll."""
        self._found, self._without_pose = roll, 0
