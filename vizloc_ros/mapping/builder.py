"""Map build: extract, learn, match, self-calibrate, match again, triangulate, write (HF-Net, section 5.3)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from pycolmap import Rigid3d
from pydantic import BaseModel, ConfigDict, Field

from vizloc_ros import __version__
from vizloc_ros.datasets.exif import UPRIGHT, exif_orientation, orientation_text
from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import DatasetError, ImageError, MapError
from vizloc_ros.features.extractor import FeatureExtractor
from vizloc_ros.features.types import Features, corrected
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera
from vizloc_ros.mapping.georeference import Georeference, Utm, Wgs84
from vizloc_ros.mapping.guided_pairs import match_along_lines
from vizloc_ros.mapping.keyframe_choice import KeyframeOptions
from vizloc_ros.mapping.keyframe_pairs import Keyframe, PairOptions, keyframe_pairs
from vizloc_ros.mapping.map_writer import MapContent, require_replaceable, write_map
from vizloc_ros.mapping.pair_matching import MatchOptions, PairMatches, match_pairs
from vizloc_ros.mapping.parallax import needed_parallax, no_parallax
from vizloc_ros.mapping.pose_diagnosis import median_speed, pose_agreement, pose_warnings, scale_warnings
from vizloc_ros.mapping.rotated_views import RotatedViewOptions, with_rotated_views
from vizloc_ros.mapping.self_calibration import SelfCalibrationOptions, calibration_warnings, estimate_corrections
from vizloc_ros.mapping.sfm_report import SfmReport
from vizloc_ros.mapping.triangulation import TriangulationOptions, observation_depths, triangulate
from vizloc_ros.options import Options
from vizloc_ros.parallel import Progress, parallel_map, silent
from vizloc_ros.timing import Stopwatch


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
        warnings: probable errors of the input and their causes.
        seed: seed of the build.
        map_bytes_per_keyframe: size of the map's files, divided by the number of keyframes [bytes].
        seconds: duration of every stage [s].
        sfm: figures of the structure from motion; None for a map of known poses.
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
    sfm: SfmReport | None = None


_FLOAT32_SAFE_RANGE = 16_000.0  # m; beyond, float32 coordinates are coarser than a millimeter


class BuildOptions(Options):
    """Options of a map build."""

    keyframes: KeyframeOptions = KeyframeOptions()
    rotated_views: RotatedViewOptions = RotatedViewOptions()
    pairs: PairOptions = PairOptions()
    matches: MatchOptions = MatchOptions()
    triangulation: TriangulationOptions = TriangulationOptions()
    self_calibration: SelfCalibrationOptions = SelfCalibrationOptions()
    min_observations: int = Field(30, ge=0, description="keyframes that see fewer landmarks are reported")
    frame: str = Field("map", min_length=1, description="name of the map frame")
    seed: int = 0


def build_map(
    records: Sequence[Record],
    extractor: FeatureExtractor,
    out: Path,
    *,
    dataset: str,
    options: BuildOptions | None = None,
    datum: Wgs84 | Utm | None = None,
    progress: Progress = silent,
    sfm: SfmReport | None = None,
) -> BuildReport:
    """Build a map of posed records and write it to ``out``; an old map there is replaced only by a complete new one.

    Args:
        records: posed records of one or more cameras in one world. The map frame has its axes, and its origin unless
            positions are far from that, see ``Georeference.around``.
        extractor: feature extractor; learns its vocabulary from the records if it needs one.
        out: folder of the map.
        dataset: name of the dataset, for map.yaml.
        options: options of the build; None for the defaults.
        datum: place of the world on the earth; None if it is not known.
        progress: progress display of every stage.
        sfm: report of the structure from motion that the poses are from; None for known poses, which are in meters.

    Raises:
        DatasetError: there are too few records, or one has no pose.
        ImageError: an image cannot be read.
        MapError: ``out`` is no map and not empty, or the images yield no landmarks; the text says why.
    """
    options = options or BuildOptions()
    clock = Stopwatch()
    require_replaceable(out)  # before the work, not after it
    poses = _require_poses(records, dataset, options.triangulation.min_track_length)
    georeference = Georeference.around(np.array([pose.translation for pose in poses]), datum)
    records = (georeference or Georeference()).records_in_map(records)
    with clock("extract"):
        features = parallel_map(_extraction(extractor, options.rotated_views), records, "extracting features", progress)
    with clock("learn"):
        extractor = extractor.learn(features, options.seed)
        keyframes = [_keyframe(r, extractor.describe(f)) for r, f in zip(records, features, strict=True)]
    with clock("match"):
        pairs = keyframe_pairs(keyframes, options.pairs)
        if not pairs:
            raise MapError(_no_pairs(keyframes, options))
        matches = match_pairs(keyframes, pairs, options.matches, progress)
        warnings = _pose_warnings(records, keyframes, matches, options.triangulation.min_angle)
    corrections: Mapping[PinholeCamera, IntrinsicsCorrection] = {}
    if options.self_calibration.enabled:
        with clock("calibrate"):
            long_tracks = options.triangulation.model_copy(update={"enough_landmarks": 0})
            first = triangulate(keyframes, matches, long_tracks, progress)
            corrections = estimate_corrections(keyframes, first, options.self_calibration)
        keyframes = [_with_correct_keypoints(keyframe, corrections) for keyframe in keyframes]
        warnings += calibration_warnings(corrections)
    with clock("match"):
        matches = match_along_lines(keyframes, matches, options.matches, progress)
    with clock("triangulate"):
        triangulation = triangulate(keyframes, matches, options.triangulation, progress)
    if len(triangulation.positions) == 0:
        at_rest = no_parallax(keyframes, matches, options.triangulation.min_angle)
        raise MapError(at_rest or _no_landmarks(keyframes, pose_agreement(matches), warnings))
    is_metric = sfm is None or sfm.scale == "metric"
    warnings += scale_warnings(keyframes, observation_depths(keyframes, triangulation)) if is_metric else []
    warnings += range_warnings(keyframes) + (sfm.warnings if sfm else [])
    observed = np.bincount(triangulation.keyframes, minlength=len(keyframes))
    report = BuildReport(
        keyframes=len(keyframes),
        landmarks=len(triangulation.positions),
        observations=len(triangulation.landmarks),
        mean_track_length=len(triangulation.landmarks) / len(triangulation.positions),
        mean_reprojection_error_px=triangulation.mean_error,
        pairs=len(pairs),
        matches_per_pair=float(np.mean([len(m.verified) for m in matches])),
        pose_agreement=pose_agreement(matches),
        median_speed_mps=median_speed(keyframes),
        median_depth_m=float(np.median(observation_depths(keyframes, triangulation))),
        calibration_shift_px=max((c.max_shift(camera) for camera, c in corrections.items()), default=0.0),
        weak_keyframes=[k.name for k, n in zip(keyframes, observed, strict=True) if n < options.min_observations],
        warnings=warnings,
        seed=options.seed,
        seconds=clock.seconds,
        sfm=sfm,
    )
    with clock("write"):
        content = MapContent(
            keyframes,
            triangulation,
            extractor,
            dataset,
            options.frame,
            __version__,
            datetime.now(timezone.utc),
            corrections,
            georeference,
            sfm.scale if sfm else "metric",
        )
        written = write_map(content, report.model_dump(mode="json", exclude_none=True), out)
    return report.model_copy(update={"map_bytes_per_keyframe": written / len(keyframes), "seconds": clock.seconds})


def _require_poses(records: Sequence[Record], dataset: str, needed: int) -> list[Rigid3d]:
    if len(records) < needed:
        raise DatasetError(f"{dataset}: a map needs at least {needed} images, this split has {len(records)}")
    if unposed := [record.name for record in records if record.world_from_cam is None]:
        raise DatasetError(
            f"{dataset}: {len(unposed)} images have no pose, the first is {unposed[0]}: a map needs poses. Take a "
            "split with poses only, such as map or posed"
        )
    return [record.world_from_cam for record in records if record.world_from_cam is not None]


def _extraction(extractor: FeatureExtractor, views: RotatedViewOptions) -> Callable[[Record], Features]:
    def extract(record: Record) -> Features:
        image = record.read_image()
        if (image.shape[1], image.shape[0]) != record.camera.size:
            raise ImageError(
                f"{record.name}: is {image.shape[1]}x{image.shape[0]}, but its calibration is for "
                f"{record.camera.width}x{record.camera.height}: correct the intrinsics"
            )
        return with_rotated_views(extractor.extract(image), image, record.camera, extractor, views)

    return extract


def _keyframe(record: Record, features: Features) -> Keyframe:
    if record.world_from_cam is None:
        raise DatasetError(f"{record.name}: has no pose")
    return Keyframe(record.name, record.timestamp_ns, record.camera, record.world_from_cam, features)


def _with_correct_keypoints(keyframe: Keyframe, corrections: Mapping[PinholeCamera, IntrinsicsCorrection]) -> Keyframe:
    correction = corrections.get(keyframe.camera, IntrinsicsCorrection())
    return replace(keyframe, features=corrected(keyframe.features, correction, keyframe.camera))


def range_warnings(keyframes: Sequence[Keyframe]) -> list[str]:
    """Warning for a map too large for float32 coordinates."""
    farthest = max(float(np.abs(k.map_from_cam.translation).max()) for k in keyframes)
    if farthest <= _FLOAT32_SAFE_RANGE:
        return []
    return [
        f"positions reach {farthest:.0f} m from the map's origin: build several maps (landmarks are float32, as RViz "
        "wants them, which is coarser than a millimeter there)"
    ]


def _pose_warnings(
    records: Sequence[Record], keyframes: Sequence[Keyframe], matches: Sequence[PairMatches], min_angle: float
) -> list[str]:
    """Warnings about the poses, with what the files say of turned images. Without parallax, no pose fits."""
    if at_rest := no_parallax(keyframes, matches, min_angle):
        return [at_rest]
    warnings = pose_warnings(keyframes, matches)
    orientations = {r.name: exif_orientation(r.file) for r in records if warnings and r.file is not None}
    turned = {name: orientation for name, orientation in orientations.items() if orientation != UPRIGHT}
    if not turned:
        return warnings
    name, orientation = next(iter(turned.items()))
    return [
        f"{warning}; {len(turned)} of the {len(records)} images have an EXIF orientation, which is not applied: {name} "
        f"has the {orientation_text(orientation)}"
        for warning in warnings
    ]


def _no_pairs(keyframes: Sequence[Keyframe], options: BuildOptions) -> str:
    centers = np.array([k.map_from_cam.translation for k in keyframes])
    extent = float(np.linalg.norm(np.ptp(centers, axis=0)))
    step = float(np.median(np.linalg.norm(np.diff(centers, axis=0), axis=1)))
    pairs = options.pairs
    if extent < 2 * pairs.min_distance:
        return (
            f"no parallax: all {len(keyframes)} images were taken within {extent:.3g} m by their poses, so the camera "
            f"stands still or only turns, or positions are not in metres. Two images must be {pairs.min_distance:g} m "
            f"apart (pairs.min_distance), and {needed_parallax(options.triangulation.min_angle)}"
        )
    cause = "wrong scale (are positions in metres?), or too few images"
    if step <= pairs.max_distance:
        cause = "they look in other directions: wrong rotations, or too few images"
    return (
        f"no two images are within {pairs.max_distance:g} m and {pairs.max_angle:g} deg of each other; successive "
        f"ones are {step:.3g} m apart: {cause}"
    )


def _no_landmarks(keyframes: Sequence[Keyframe], agreement: float, warnings: Sequence[str]) -> str:
    causes = "; ".join(warnings) or (
        "the camera hardly moves between the images, or they show nothing to match: "
        f"{np.mean([len(k.features) for k in keyframes]):.0f} keypoints an image"
    )
    return f"no landmark could be triangulated; {agreement:.0%} of the matches agree with the known poses: {causes}"
