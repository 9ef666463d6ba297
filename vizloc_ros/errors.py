"""The one exception family of the package.

Whatever is wrong with an input (a file, a topic, a parameter) is raised as a ``VizlocError`` whose text names it and
says what to do. The command line prints that text and ends with 1; the nodes put it into their diagnostics.
"""


class VizlocError(Exception):
    """Base of everything this package raises on purpose."""


class ConfigError(VizlocError):
    """A parameter or option has a value that cannot be used."""


class DeviceError(VizlocError):
    """What a network is to run on is not there, or does not start."""


class DatasetError(VizlocError):
    """A dataset, or one file or row of it, cannot be read."""


class ImageError(VizlocError):
    """An image cannot be decoded or carries nothing to localize with."""


class CameraError(VizlocError):
    """A calibration is missing, impossible, or belongs to other images."""


class FeatureError(VizlocError):
    """Features cannot be extracted, or are of another kind than the map's."""


class MapError(VizlocError):
    """A map is missing, incomplete, corrupt, or cannot be built from this input."""


class BagError(VizlocError):
    """A rosbag cannot be read, written or played."""


class RosError(VizlocError):
    """ROS 2 is not there, or a node did not come up."""
