"""The tree of all options of localization and tracking."""

from vizloc_ros.localization.localization_options import LocalizationOptions
from vizloc_ros.pixloc.tracking_options import TrackingOptions


class OptionTree(LocalizationOptions, TrackingOptions):
    """What a ``--config`` file of ``vizloc localize``, ``track`` and ``evaluate`` holds.

    The nodes declare the same names as parameters: ``retrieval`` and ``submap`` those of the map server, ``pose`` those
    of the localizer, ``tracker`` and ``long_side`` those of the tracker.
    """
