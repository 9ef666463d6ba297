"""What the tracker knows."""

from enum import Enum


class TrackerState(Enum):
    """Published as the text of its value."""

    NOT_LOCALIZED = "NOT_LOCALIZED"
    TRACKING = "TRACKING"
    LOST = "LOST"
