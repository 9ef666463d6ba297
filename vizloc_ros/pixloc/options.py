"""All options of tracking, as a configuration file holds them."""

from pydantic import BaseModel, ConfigDict, Field

from vizloc_ros.pixloc.submap import SubmapOptions
from vizloc_ros.pixloc.tracker_options import TrackerOptions

LONG_SIDE = 640


class TrackingOptions(BaseModel):
    """The tracker, and what it gets of the map."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tracker: TrackerOptions = TrackerOptions()
    submap: SubmapOptions = SubmapOptions()
    long_side: int = Field(
        LONG_SIDE, ge=64, description="an image's longer side is shrunk to this, its area to half the square [px]"
    )
