"""Options of the hierarchical localizer: global retrieval, and the pose from matches."""

from typing import Literal

from pydantic import Field

from vizloc_ros.options import Options


class RetrievalOptions(Options):
    """Global retrieval of keyframes, and their covisible clusters (HF-Net, section 3)."""

    top_k: int = Field(10, ge=1, le=100, description="keyframes to retrieve")
    further_k: int = Field(
        10,
        ge=0,
        le=100,
        description="further keyframes if the most similar one is below confident_similarity; their places are tried "
        "last",
    )
    confident_similarity: float = Field(
        0.3, ge=-1, le=1, description="cosine of global descriptors from which no further keyframes are retrieved"
    )
    neighbors: int = Field(
        2,
        ge=0,
        le=20,
        description="keyframes whose similarity to the query is averaged with that of a retrieved one, its nearest "
        "in appearance, to order the retrieved ones; 0: none, as HF-Net",
    )
    spacing: float = Field(
        -1.0,
        ge=-1,
        le=100,
        description="minimum distance between retrieved keyframes of one viewing direction, if there are enough [m]; "
        "negative: a seventh of the median depth of the map's landmarks",
    )
    memory: float = Field(
        2.0,
        ge=0,
        le=60,
        description="time between images of a sequence after which the earlier ones no longer say where the camera is "
        "[s]; 0: each image for itself, as HF-Net",
    )
    remembered_k: int = Field(
        3,
        ge=0,
        le=100,
        description="of top_k, the keyframes that earlier images have a say in; the others are by the image alone",
    )
    max_speed: float = Field(
        20.0, gt=0, le=1000, description="speed up to which a place stays likely from image to image [m/s]"
    )
    descriptors_per_landmark: int = Field(
        2, ge=1, le=100, description="maximum observations of a landmark in a place, the most similar keyframes' first"
    )
    cluster: bool = Field(True, description="one place per covisible cluster; false: all retrieved keyframes are one")
    search: Literal["auto", "exact", "faiss"] = Field(
        "auto", description="among all keyframes, or through the map's index; auto: the index above 100,000 keyframes"
    )
    shortlist: int = Field(
        100, ge=1, le=10_000, description="minimum number of keyframes from the index that are compared exactly"
    )


class PoseOptions(Options):
    """Matching, PnP with RANSAC, and the verification of the pose (HF-Net, sections 3 and 5.2)."""

    ratio: float = Field(
        0.9,
        gt=0,
        le=1,
        description="ratio test between the nearest observation and the second, if they are of two landmarks",
    )
    max_reprojection_error: float = Field(8.0, gt=0, le=100, description="maximum reprojection error of an inlier [px]")
    min_inliers: int = Field(15, ge=4, le=10_000, description="minimum inliers of an accepted pose")
    min_inlier_ratio: float = Field(0.15, ge=0, le=1, description="minimum inlier ratio of an accepted pose")
    min_probability: float = Field(
        0.93,
        ge=0,
        lt=1,
        description="minimum probability, by all evidence, that an accepted pose is not of another place; 0: HF-Net",
    )
    max_rival_ratio: float = Field(
        0.3,
        gt=0,
        le=1,
        description="ratio of a pose's inliers from which another pose, far from it, makes it ambiguous; 1: HF-Net",
    )
    rival_distance: float = Field(
        1.0, gt=0, le=1000, description="distance from which another pose contradicts an accepted one [m]"
    )
    rival_places: int = Field(4, ge=0, le=100, description="other retrieved places in which such poses are looked for")
    confident_inlier_ratio: float = Field(
        0.3, ge=0, le=1, description="inlier ratio from which no further place is tried"
    )
    first_keypoints: int = Field(
        512, ge=1, le=10_000, description="keypoints with the best scores, which are tried alone first"
    )
    first_observations: int = Field(
        2048,
        ge=2,
        le=10_000_000,
        description="observations of a place, of the most similar keyframes, which are tried alone first",
    )
    enough_inliers: int = Field(
        100, ge=4, le=10_000, description="inliers among the first keypoints from which the others are not matched"
    )
    max_position_std: float = Field(
        0.4, gt=0, le=1000, description="maximum standard deviation of an accepted position [m]"
    )
    pixel_sigma: float = Field(
        1.0, gt=0, le=100, description="minimum standard deviation of a keypoint, for the covariance [px]"
    )
    covariance_scale: float = Field(
        2.0, gt=0, le=1000, description="factor on the covariance: errors of matches are correlated"
    )
    map_position_std: float = Field(0.01, ge=0, le=10, description="standard deviation of the map's own positions [m]")
    map_rotation_std: float = Field(
        0.04, ge=0, le=10, description="standard deviation of the map's own rotations [deg]"
    )
    max_trials: int = Field(5000, ge=100, le=1_000_000, description="maximum RANSAC trials")
    places: Literal["first", "best"] = Field(
        "first", description="first: stop at the first confident place (HF-Net); best: try all (hloc)"
    )
    guided: bool = Field(True, description="refine a verified pose with further matches near it; false: HF-Net")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of RANSAC: the same features give the same pose")


class LocalizationOptions(Options):
    """Options of the hierarchical localizer."""

    retrieval: RetrievalOptions = RetrievalOptions()
    pose: PoseOptions = PoseOptions()
