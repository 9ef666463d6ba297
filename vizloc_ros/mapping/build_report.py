"""What a build has to say about its map."""

from pydantic import BaseModel, ConfigDict


class BuildReport(BaseModel):
    """Figures and warnings of a map build, as map.yaml and ``vizloc map build`` give them.

    Attributes:
        pose_agreement: share of look-alike matches that lie on the epipolar lines of the known poses.
        calibration_shift_px: how far, at most, the self-calibration moves a pixel; 0 if it found nothing to correct.
        weak_keyframes: names of the keyframes that see too few landmarks.
        warnings: what is probably wrong with the input, with its cause.
        seconds: time of every stage [s].
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    keyframes: int
    landmarks: int
    observations: int
    mean_track_length: float
    mean_reprojection_error_px: float
    pairs: int
    matches_per_pair: float
    pose_agreement: float
    median_speed_mps: float
    median_depth_m: float
    calibration_shift_px: float
    weak_keyframes: list[str]
    warnings: list[str]
    seed: int
    map_bytes_per_keyframe: float | None = None
    seconds: dict[str, float] = {}
