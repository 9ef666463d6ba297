"""How the tracker follows, doubts, and gives up."""

from pydantic import BaseModel, ConfigDict, Field

from vizloc_ros.pixloc.motion import MotionOptions
from vizloc_ros.pixloc.optimizer.options import AlignmentOptions
from vizloc_ros.pixloc.verification import VerificationOptions


class TrackerOptions(BaseModel):
    """How the tracker follows, doubts, and gives up."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    alignment: AlignmentOptions = AlignmentOptions()
    verification: VerificationOptions = VerificationOptions()
    motion: MotionOptions = MotionOptions()
    max_landmarks: int = Field(1000, ge=50, le=100_000, description="landmarks that an image is aligned with at most")
    lost_after: int = Field(4, ge=1, description="images in a row without a believed pose after which it is lost")
    lost_after_seconds: float = Field(0.4, gt=0, description="time without a believed pose after which it is lost [s]")
    history: int = Field(30, ge=1, le=1000, description="images kept to carry a late pose forward")
    catch_up: int = Field(2, ge=1, description="of those, most that are aligned on the way to the newest")
    disagreement_distance: float = Field(
        1.0, gt=0, description="a localizer's pose farther away than this contradicts the tracker [m]"
    )
    disagreement_angle: float = Field(5.0, gt=0, description="and one turned by more than this [deg]")
    contradictions: int = Field(2, ge=1, description="in a row, after which the tracker gives way to the localizer")
    covariance_scale: float = Field(4.0, gt=0, description="inflates the covariance: residuals of features go together")
    map_position_std: float = Field(0.01, ge=0, description="how well the map's own poses are known [m]")
    map_rotation_std: float = Field(0.04, ge=0, description="how well the map's own poses are known [deg]")
