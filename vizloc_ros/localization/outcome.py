"""Outcome of the localization of one image: a verified pose, or the reason why there is none."""

from dataclasses import dataclass, field

from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64, Int32


@dataclass(frozen=True)
class LocalizedPose:
    """Verified pose of a query.

    Attributes:
        map_from_cam: pose of the camera's optical frame in the map.
        covariance: (6, 6) covariance [x y z, rotation about fixed x y z] in the map frame [m^2, rad^2].
        keypoints: (n,) indices of the query's inlier keypoints.
        landmark_ids: (n,) ids of the landmarks that they match.
        positions: (n, 3) landmark positions in the map frame [m].
        rejected: (m - n,) indices of the keypoints whose matches are outliers.
        reprojection_rms: RMS reprojection error of the inliers [px].
        place: index of the place among the candidates.
        probability: probability that it is not of another place or by chance, or more: further landmarks are looked at
            only until it is enough, see ``pose_evidence``.
    """

    map_from_cam: Rigid3d
    covariance: Float64
    keypoints: Int32
    landmark_ids: Int32
    positions: Float64
    rejected: Int32
    reprojection_rms: float
    place: int
    probability: float = 1.0


@dataclass(frozen=True)
class Localization:
    """Outcome for one query.

    Attributes:
        pose: verified pose, or None.
        reason: reason why there is no pose; empty with a pose.
        matches: number of matches in the place of the pose, or in the place that came closest to one.
        inliers: number of inliers among them.
        timings_ms: duration of each stage [ms].
    """

    pose: LocalizedPose | None
    reason: str
    matches: int
    inliers: int
    timings_ms: dict[str, float] = field(default_factory=dict)
