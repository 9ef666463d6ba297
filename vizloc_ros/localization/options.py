"""Configuration of the localizer; the nodes' parameters and the command line are made of these."""

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from vizloc_ros.arrays import Float64


class RetrievalOptions(BaseModel):
    """Which places a query is compared with."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    top_k: int = Field(10, ge=1, le=100, description="keyframes to retrieve")
    spacing: float = Field(
        2.0,
        ge=0,
        description="least distance of retrieved keyframes that look the same way, if there are enough [m]",
    )
    descriptors_per_landmark: int = Field(
        2, ge=1, le=100, description="most observations of a landmark in a place, the most similar keyframes' first"
    )
    cluster: bool = Field(True, description="one place per covisible cluster; false: all retrieved keyframes are one")
    search: Literal["auto", "exact", "faiss"] = Field(
        "auto", description="among all keyframes, or through the map's index; auto: the index above 100,000 keyframes"
    )
    shortlist: int = Field(
        100,
        ge=1,
        le=10_000,
        description="least number of keyframes that the index proposes, to be compared exactly",
    )


class PoseOptions(BaseModel):
    """How a pose is found in a place, and what makes it trustworthy."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ratio: float = Field(0.9, gt=0, le=1, description="ratio test between nearest and second landmark")
    max_reprojection_error: float = Field(8.0, gt=0, description="largest reprojection error of an inlier [px]")
    min_inliers: int = Field(15, ge=4, description="fewest inliers of a pose that is believed")
    min_inlier_ratio: float = Field(0.15, ge=0, le=1, description="smallest share of matches that must be inliers")
    sure_inlier_ratio: float = Field(
        0.3, ge=0, le=1, description="share of inliers with which the first place ends the search"
    )
    first_keypoints: int = Field(1024, ge=1, description="best keypoints, which are tried alone first; all if not sure")
    enough_inliers: int = Field(250, ge=4, description="inliers among them with which the others are not needed")
    max_position_std: float = Field(1.0, gt=0, description="largest standard deviation of a believed position [m]")
    pixel_sigma: float = Field(1.0, gt=0, description="least standard deviation of a pixel, for the covariance [px]")
    covariance_scale: float = Field(2.0, gt=0, description="inflates the covariance: errors of matches go together")
    map_position_std: float = Field(0.01, ge=0, description="how well the map's own poses are known [m]")
    map_rotation_std: float = Field(0.04, ge=0, description="how well the map's own poses are known [deg]")
    max_trials: int = Field(5000, ge=100, description="RANSAC trials at most")
    places: Literal["first", "best"] = Field(
        "first", description="first: stop at the first place that is sure (HF-Net); best: try all (hloc)"
    )
    seed: int = Field(0, ge=0, description="of RANSAC: the same features give the same pose")

    @property
    def map_covariance(self) -> Float64:
        """(6, 6) covariance that every pose has from the map, however well it fits [m^2, rad^2]."""
        return np.diag([self.map_position_std**2] * 3 + [np.radians(self.map_rotation_std) ** 2] * 3)


class LocalizationOptions(BaseModel):
    """Both halves, as a configuration file holds them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    retrieval: RetrievalOptions = RetrievalOptions()
    pose: PoseOptions = PoseOptions()
