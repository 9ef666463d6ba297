"""Options of an alignment, and its parameters that are learned together with the features."""

from dataclasses import dataclass, field

import numpy as np
from pydantic import Field

from vizloc_ros.arrays import Float64
from vizloc_ros.errors import ConfigError
from vizloc_ros.options import Options
from vizloc_ros.pixloc.optimizer.robust import BarronLoss


class FineOptions(Options):
    """Last level of an alignment, with patches of intensities, and when its pose is not used."""

    enabled: bool = Field(True, description="align patches last, in maps that have some")
    min_sharpness: float = Field(
        0.84,
        ge=0,
        lt=1,
        description="sharpness of an image's patches for those of the map, up to which they are not aligned",
    )
    min_inlier_ratio: float = Field(
        0.4, ge=0, le=1, description="minimum ratio of patches, by contrast, that look as in the map"
    )
    max_deviation: float = Field(
        8.0,
        gt=0,
        le=1000,
        description="maximum deviation from the pose of the feature levels, in standard deviations of that before "
        "covariance_scale, of an image as sharp as the map's; less sharp, it is less, to 0 at min_sharpness",
    )


class AlignmentOptions(Options):
    """Convergence and failure of an alignment."""

    max_iterations: int = Field(30, ge=1, le=1000, description="maximum iterations on a level")
    min_motion: float = Field(
        0.005,
        gt=0,
        le=10,
        description="without a fine level after it, the finest one has converged when a step moves landmarks by less "
        "[pixels of the level]",
    )
    coarse_min_motion: float = Field(
        0.02, gt=0, le=10, description="min_motion of all other levels [pixels of the level]"
    )
    coarse_landmarks: int = Field(
        250, ge=10, le=100_000, description="a level takes half the landmarks of the next finer one, at least this many"
    )
    border: float = Field(
        0.0, ge=0, le=1000, description="landmarks nearer to the border are not used [pixels of the level]"
    )
    min_landmarks: int = Field(10, ge=6, le=10_000, description="minimum landmarks in the image")
    max_distance: float = Field(
        20.0, gt=0, le=10_000, description="maximum distance from the initial pose; beyond, it has diverged [m]"
    )
    inlier_distance: float = Field(
        0.7, gt=0, le=2, description="maximum distance of the unit features of an inlier, on the finest level"
    )
    retry_below: float = Field(
        0.5,
        ge=0,
        le=1,
        description="inlier ratio below which an alignment on all levels is tried again without the coarsest ones",
    )
    fine: FineOptions = FineOptions()


@dataclass(frozen=True)
class LearnedAlignment:
    """Learned damping lambda (PixLoc, Eq. 7) and robust cost rho (Eq. 2) that belong to the features.

    Attributes:
        dampings: (L, 6) damping factors on the diagonal of the Hessian, finest level first, in the order [rho, phi].
        loss: robust cost of the residuals.
    """

    dampings: Float64
    loss: BarronLoss = field(default_factory=BarronLoss)

    def __post_init__(self) -> None:
        if self.dampings.ndim != 2 or self.dampings.shape[1] != 6 or not (self.dampings >= 0).all():
            raise ConfigError(f"dampings {self.dampings.shape} must be L x 6, and none negative")

    @classmethod
    def undamped(cls, levels: int, loss: BarronLoss, damping: float = 1e-2) -> "LearnedAlignment":
        """Return the same small damping for all levels and directions, for features without a learned one."""
        return cls(np.full((levels, 6), damping), loss)
