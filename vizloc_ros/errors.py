"""Exceptions of the package.

Any fault of an input (a file, a topic, a parameter) is raised as a ``VizlocError``. Its text names the input and the
remedy. The command line prints the text and exits with 1; the nodes put it into their diagnostics.
"""


class VizlocError(Exception):
    """Base of all errors that this package raises on purpose."""


class ConfigError(VizlocError):
    """A parameter or option has a value that cannot be used."""


class DeviceError(VizlocError):
    """The device of a network is not available, or does not start."""


class DatasetError(VizlocError):
    """A dataset, or one file or row of it, cannot be read."""


class ImageError(VizlocError):
    """An image cannot be decoded or carries nothing to localize with."""


class CameraError(VizlocError):
    """A calibration is missing, impossible, or belongs to other images."""


class UncalibratedError(CameraError):
    """A camera_info says nothing yet: its driver has no calibration, and a later one may have."""


class FeatureError(VizlocError):
    """Features cannot be extracted, or are of another kind than the map's."""


class MapError(VizlocError):
    """A map is missing, incomplete, corrupt, or cannot be built from this input."""


class BagError(VizlocError):
    """A rosbag cannot be read, written or played."""


class RosError(VizlocError):
    """ROS 2 is not available, a node did not start, or a message cannot be used."""
