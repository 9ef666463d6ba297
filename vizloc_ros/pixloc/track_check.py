"""Localizations and images against the track: some must agree before it is published, and contradictions end it.

A wrong localization can start a track that looks right: repeated facades align well with each other. So the poses that
follow are published only after localizations of other images have ended where the track was at their times; one of them
may be of an image just before the track begins, if the camera comes from there by the motion that follows.
An image that fits the map where the camera cannot be tells that stamps or images are in the wrong order; nothing tells
which of them. Not in the PixLoc paper.
"""

from dataclasses import dataclass

from pycolmap import Rigid3d
from pydantic import Field

from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.options import Options
from vizloc_ros.timing import NANOSECONDS

_DOUBTFUL = 2  # images that must be tracked after one that is unlike the map; the last one is published


class TrackCheckOptions(Options):
    """Comparison of the localizer's poses with the track."""

    confirmations: int = Field(
        2,
        ge=1,
        le=100,
        description="localizations that must agree with each other, and with the motion between them, before poses "
        "are published; the first one counts",
    )
    conflict_distance: float = Field(
        1.0, gt=0, le=100, description="distance from which a pose of the localizer conflicts with the track [m]"
    )
    conflict_angle: float = Field(
        5.0, gt=0, le=180, description="angle from which a pose of the localizer conflicts with the track [deg]"
    )
    max_conflicts: int = Field(
        2,
        ge=1,
        le=100,
        description="conflicting poses in a row, that agree with each other, after which they replace the track",
    )
    conflict_timeout: float = Field(
        2.0, ge=0, le=60, description="time for which one conflicting pose withholds those of the track [s]"
    )
    settling_images: int = Field(
        5,
        ge=0,
        le=1000,
        description="images that must be tracked before poses are published again, after one that looks as in the map "
        "where the camera cannot have moved to",
    )


@dataclass
class TrackCheck:
    """Count of the localizations that agree with the track, and of those that contradict it.

    Attributes:
        options: see ``TrackCheckOptions``.
        agreeing: localizations that agree, the one that the track has started from included.
    """

    options: TrackCheckOptions
    agreeing: int = 0

    def __post_init__(self) -> None:
        self._conflicts = 0
        self._moved: Rigid3d | None = None  # map_from_map of the last conflicting pose: from the track's to its own
        self._conflict_ns, self._distance = 0, 0.0
        self._unsettled = self._doubtful = 0  # images that are still to be tracked

    @property
    def is_confirmed(self) -> bool:
        """True once enough localizations have agreed."""
        return self.agreeing >= self.options.confirmations

    @property
    def is_contradicted(self) -> bool:
        """True if the last localization conflicts with the track."""
        return self._conflicts > 0

    @property
    def is_doubted(self) -> bool:
        """True if a localization or an image speaks against the track, or has done so a moment ago."""
        return bool(self._conflicts or self._unsettled or self._doubtful)

    def reset(self) -> None:
        """Forget everything."""
        self.restart(0)
        self._unsettled = 0

    def restart(self, agreeing: int) -> None:
        """Start with a new track, on which ``agreeing`` localizations agree."""
        self.agreeing, self._conflicts, self._moved, self._doubtful = agreeing, 0, None, 0

    def note_image(self, *, tracked: bool, contradicts: bool = False, unlike: bool = False) -> None:
        """Count an image.

        Args:
            tracked: it was tracked.
            contradicts: it contradicts the track, see ``Verification.contradicts``; only a confirmed one counts.
            unlike: nothing in it looks as in the map. A part of the next one may, if the camera is broken.
        """
        if contradicts and self.is_confirmed:
            self._unsettled = self.options.settling_images
        elif unlike and self.is_confirmed:
            self._doubtful = _DOUBTFUL
        elif tracked:
            self._unsettled, self._doubtful = max(0, self._unsettled - 1), max(0, self._doubtful - 1)

    def compare(self, given: Rigid3d, own: Rigid3d, stamp_ns: int) -> int:
        """Count a localization ``given`` of an image whose pose in the track is ``own``.

        Returns:
            0 if the track goes on; else the number of localizations that agree on the given pose, which replaces it.
        """
        if not self._is_far(given, own):
            self.restart(self.agreeing + 1)
            return 0
        if not self.is_confirmed:
            return 1
        again = self._moved is not None and not self._is_far(given, self._moved * own)
        self._conflicts = self._conflicts + 1 if again else 1
        self._moved, self._conflict_ns = given * own.inverse(), stamp_ns
        self._distance, _ = pose_error(given, own)
        return self._conflicts if self._conflicts >= self.options.max_conflicts else 0

    def confirm(self, given: Rigid3d, own: Rigid3d | None) -> None:
        """Count a localization from before the track if it is ``given`` where the track comes from: at ``own``."""
        if own is not None and not self._is_far(given, own):
            self.agreeing += 1

    def withheld(self, stamp_ns: int) -> str:
        """Reason why a pose of the track is not published; empty if it is."""
        options = self.options
        if not self.is_confirmed:
            return f"{self.agreeing} of {options.confirmations} localizations agree: waits for another one"
        if self._conflicts and (stamp_ns - self._conflict_ns) / NANOSECONDS <= options.conflict_timeout:
            return f"a localization {self._distance:.2g} m away contradicts the track: waits for another one"
        if self._unsettled:
            return (
                "an image looks as in the map where the camera cannot have moved to: are images or stamps in the wrong "
                f"order? waits for {self._unsettled} more images"
            )
        return ""

    @property
    def doubt(self) -> str:
        """Reason why the pose of one image is not published, though the track goes on; empty if it is."""
        if self._doubtful:
            return "the image before looks as nothing in the map: waits for another one that looks as the map"
        return ""

    def _is_far(self, given: Rigid3d, own: Rigid3d) -> bool:
        distance, angle = pose_error(given, own)
        return distance > self.options.conflict_distance or angle > self.options.conflict_angle
