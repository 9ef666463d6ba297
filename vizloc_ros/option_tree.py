"""Tree of all options of localization and tracking."""

from vizloc_ros.localization.localization_options import LocalizationOptions
from vizloc_ros.pixloc.tracking_options import TrackingOptions


class OptionTree(LocalizationOptions, TrackingOptions):
    """Options of a ``--config`` file of ``vizloc localize``, ``track`` and ``evaluate``.

    The nodes declare parameters of the same names: the map server ``retrieval`` and ``submap``, the localizer ``pose``,
    the tracker ``tracker`` and ``long_side``.
    """
