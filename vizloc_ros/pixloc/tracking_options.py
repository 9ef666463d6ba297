"""Options of tracking as one tree: the tracker, its submaps and its feature pyramids."""

from pydantic import Field

from vizloc_ros.options import Options
from vizloc_ros.pixloc.submap import SubmapOptions
from vizloc_ros.pixloc.tracking import TrackerOptions

LONG_SIDE = 640


class PyramidOptions(Options):
    """Options of the tracker's feature pyramids."""

    long_side: int = Field(
        LONG_SIDE,
        ge=64,
        le=8192,
        description="the tracker's images are shrunk to this longer side and half its square in area [px]",
    )


class TrackingOptions(PyramidOptions):
    """Options of the tracker, of its submaps, and of the size of its images."""

    tracker: TrackerOptions = TrackerOptions()
    submap: SubmapOptions = SubmapOptions()
