"""Report of a map build: its figures and warnings."""

from pydantic import BaseModel, ConfigDict

from vizloc_ros.mapping.drift_report import DriftReport
from vizloc_ros.mapping.sfm_report import SfmReport


class BuildReport(BaseModel):
    """Figures and warnings of a map build, for map.yaml and ``vizloc map build``.

    Attributes:
        keyframes: number of keyframes.
        landmarks: number of landmarks.
        observations: number of observations of landmarks in keyframes.
        mean_track_length: mean number of keyframes that observe a landmark.
        mean_reprojection_error_px: mean reprojection error of the observations [px].
        pairs: number of matched pairs of keyframes.
        matches_per_pair: mean number of verified matches of a pair.
        pose_agreement: ratio of the tentative matches that lie on the epipolar lines of the known poses.
        median_speed_mps: median speed of the camera [m/s].
        median_depth_m: median depth of the observations [m].
        calibration_shift_px: maximum shift of a pixel by the self-calibration [px]; 0 without a correction.
        weak_keyframes: names of the keyframes with too few observations.
        route_m: length of the route [m]; None in a report of an older version.
        localizable_share: ratio of the route that can be localized.
        warnings: probable errors of the input and their causes.
        seed: seed of the build.
        map_bytes_per_keyframe: size of the map's files, divided by the number of keyframes [bytes].
        seconds: duration of every stage [s].
        sfm: figures of the structure from motion; None for a map of known poses.
        drift: figures of the correction of poses that drift; None if it was not asked for.
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
    route_m: float | None = None
    localizable_share: float | None = None
    warnings: list[str]
    seed: int
    map_bytes_per_keyframe: float | None = None
    seconds: dict[str, float] = {}
    sfm: SfmReport | None = None
    drift: DriftReport | None = None
