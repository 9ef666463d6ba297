"""Exceptions of the package.

Any fault of an input (a file, a topic, a parameter) is raised as a ``VizlocError``. Its text names the input and the
remedy. The command line prints the text and ends with the error's exit code; the nodes put it into their diagnostics.

The exit code is 2 if the command itself is wrong: an option, on the command line or in a file of options, has a value
that is never allowed. It is 1 if an input is: a dataset and its specification, a map, a bag, a network, a folder.
"""

from typing import ClassVar


class VizlocError(Exception):
    """Base of all errors that this package raises on purpose."""

    exit_code: ClassVar[int] = 1


class ConfigError(VizlocError):
    """A parameter or option has a value that cannot be used."""

    exit_code = 2


class InputError(ConfigError):
    """An option is right, but what it names cannot be used: a checkpoint, a network, images, a package."""

    exit_code = 1


class OutputError(VizlocError):
    """A folder or file cannot be written: it is not ours, another process writes it, or the disk does not let us."""


class DeviceError(VizlocError):
    """The device of a network is not available, or does not start."""


class DatasetError(VizlocError):
    """A dataset, or one file or row of it, cannot be read."""


class ImageError(VizlocError):
    """An image cannot be decoded or carries nothing to localize with."""


class FrozenCameraError(ImageError):
    """The image is the one before again: the camera, its driver or the stream hangs."""


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
