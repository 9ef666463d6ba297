"""Report of a structure from motion: what was registered, the intrinsics, and where the scale is from."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Scale = Literal["metric", "unknown"]
UNKNOWN_SCALE = (
    "scale: unknown: one unit of this map is no meter, and its poses, speeds and covariances are in that unit. "
    "Build it again with --scale-from, or use rotations and relative positions only"
)


class CameraEstimate(BaseModel):
    """Intrinsics of a camera.

    Attributes:
        width: image width [px].
        height: image height [px].
        focal_px: focal length [px].
        focal_std_px: its standard deviation [px]; None if it was known, or cannot be told.
        radial: radial distortion k1.
        radial_std: its standard deviation; None as above.
        origin: origin of the intrinsics that it began with: ``known`` ones stay, others are refined.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int
    height: int
    focal_px: float
    focal_std_px: float | None = None
    radial: float = 0.0
    radial_std: float | None = None
    origin: str


class SfmReport(BaseModel):
    """Figures of a structure from motion, for map.yaml and ``vizloc map from-images``.

    Attributes:
        images: number of images.
        registered: number of images with a pose.
        unregistered: names of the others.
        other_models: number of such images in each further model, not connected to the one that was taken.
        pairs: number of pairs that were matched.
        verified_pairs: number of pairs with enough matches that fit the geometry of two views.
        reprojection_error_px: mean reprojection error [px].
        cameras: intrinsics of the cameras.
        scale: "metric" or "unknown".
        scale_source: source of the scale.
        scale_deviation: deviation of what it is from: relative for lengths, meters for positions; None: not known.
        seconds: duration of every stage [s].
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: int
    registered: int
    unregistered: list[str]
    other_models: list[int]
    pairs: int
    verified_pairs: int
    reprojection_error_px: float
    cameras: list[CameraEstimate]
    scale: Scale
    scale_source: str
    scale_deviation: float | None = None
    seconds: dict[str, float] = {}

    @property
    def warnings(self) -> list[str]:
        """Warnings of the map: images without a pose, and an unknown scale."""
        warnings = []
        if self.unregistered:
            shown = ", ".join(self.unregistered[:5]) + (" ..." if len(self.unregistered) > 5 else "")
            others = f"; further models have {', '.join(map(str, self.other_models))} of them" * bool(self.other_models)
            warnings.append(
                f"{len(self.unregistered)} of the {self.images} images are not in the map: {shown}{others}: they share "
                "too little with it, take images in between"
            )
        return warnings + ([UNKNOWN_SCALE] if self.scale == "unknown" else [])
