"""Map build: extract, learn, match, self-calibrate, match again, triangulate, write (HF-Net, section 5.3)."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated

import numpy as np
from pycolmap import Rigid3d
from pydantic import AfterValidator, Field, model_validator

from vizloc_ros import __version__
from vizloc_ros.datasets.exif import UPRIGHT, exif_orientation, orientation_text
from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import DatasetError, MapError
from vizloc_ros.features.extractor import FeatureExtractor
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera
from vizloc_ros.geometry.poses import array_of, pose_from_quaternion, pose_or_nothing
from vizloc_ros.mapping.build_report import BuildReport
from vizloc_ros.mapping.drift_correction import DriftOptions, correct_drift
from vizloc_ros.mapping.georeference import Georeference, Utm, Wgs84
from vizloc_ros.mapping.guided_pairs import match_along_lines
from vizloc_ros.mapping.image_features import correct_keypoints, describe_features, extract_features, keyframe_of
from vizloc_ros.mapping.keyframe_choice import KeyframeOptions
from vizloc_ros.mapping.keyframe_pairs import Keyframe, PairOptions, keyframe_pairs
from vizloc_ros.mapping.level import world_from_level
from vizloc_ros.mapping.map_writer import MapContent, require_replaceable, write_map
from vizloc_ros.mapping.pair_matching import MatchOptions, PairMatches, match_pairs
from vizloc_ros.mapping.parallax import no_parallax
from vizloc_ros.mapping.pose_diagnosis import median_speed, pose_agreement, pose_warnings, scale_warnings
from vizloc_ros.mapping.rotated_views import RotatedViewOptions
from vizloc_ros.mapping.route_coverage import coverage_of_build
from vizloc_ros.mapping.self_calibration import SelfCalibrationOptions, calibration_warnings, estimate_corrections
from vizloc_ros.mapping.sfm_report import SfmReport
from vizloc_ros.mapping.triangulation import TriangulationOptions, observation_depths, triangulate
from vizloc_ros.mapping.view_depth import in_view, neighbor_views, no_pairs
from vizloc_ros.options import Options
from vizloc_ros.parallel import Progress, silent
from vizloc_ros.timing import Stopwatch
from vizloc_ros.work.stages import IN_MEMORY, Stages

_FLOAT32_SAFE_RANGE = 16_000.0  # m; beyond, float32 coordinates are coarser than a millimeter


MapFromWorld = Annotated[tuple[float, ...], AfterValidator(pose_or_nothing)]


class BuildOptions(Options):
    """Options of a map build."""

    keyframes: KeyframeOptions = KeyframeOptions()
    rotated_views: RotatedViewOptions = RotatedViewOptions()
    refine_poses: DriftOptions = DriftOptions()
    pairs: PairOptions = PairOptions()
    matches: MatchOptions = MatchOptions()
    triangulation: TriangulationOptions = TriangulationOptions()
    self_calibration: SelfCalibrationOptions = SelfCalibrationOptions()
    min_observations: int = Field(30, ge=0, description="keyframes that see fewer landmarks are reported")
    frame: str = Field("map", min_length=1, description="name of the map frame")
    level: bool = Field(False, description="turn the map's axes so that z points up, by the images")
    map_from_world: MapFromWorld = Field(
        (), description="pose of the dataset's world in the map: x y z [m] qx qy qz qw; empty: the map has its axes"
    )
    seed: int = 0

    @model_validator(mode="after")
    def _one_frame(self) -> "BuildOptions":
        if self.level and self.map_from_world:
            raise ValueError("level, map_from_world: give one of them")
        return self

    def georeference(self, poses: Sequence[Rigid3d], datum: Wgs84 | Utm | None) -> Georeference | None:
        """Georeference of a map of cameras with these poses world_from_cam, whose world has a datum or none."""
        if self.map_from_world:
            pose = pose_from_quaternion(np.array(self.map_from_world[:3]), np.array(self.map_from_world[3:])).inverse()
            return Georeference.of(pose, datum.moved(pose) if datum is not None else None)
        axes = world_from_level(np.array([array_of(pose) for pose in poses])) if self.level else None
        return Georeference.around(np.array([pose.translation for pose in poses]), datum, axes)


def build_map(
    records: Sequence[Record],
    extractor: FeatureExtractor,
    out: Path,
    *,
    dataset: str,
    options: BuildOptions | None = None,
    datum: Wgs84 | Utm | None = None,
    work: Stages = IN_MEMORY,
    progress: Progress = silent,
    sfm: SfmReport | None = None,
) -> BuildReport:
    """Build a map of posed records and write it to ``out``; an old map there is replaced only by a complete new one.

    Args:
        records: posed records of one or more cameras in one world. The map frame has its axes unless ``level`` or
            ``map_from_world`` is set, and its origin unless that or positions are far, see ``Georeference.around``.
        extractor: feature extractor; learns its vocabulary from the records if it needs one.
        out: folder of the map.
        dataset: name of the dataset, for map.yaml.
        options: options of the build; None for the defaults.
        datum: place of the world on the earth; None if it is not known.
        work: place where features and matches are computed and kept, such as a ``WorkFolder``.
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
    georeference = options.georeference(poses, datum)
    records = (georeference or Georeference()).records_in_map(records)
    with clock("extract"):
        features = extract_features(records, extractor, work, dataset, progress, views=options.rotated_views)
    with clock("learn"):
        extractor = extractor.learn(features, options.seed)
        features = describe_features(features, extractor, work, progress)
        keyframes = [keyframe_of(record, described) for record, described in zip(records, features, strict=True)]
    drift = None
    if options.refine_poses.enabled:
        with clock("refine poses"):
            cameras = [record.mounting.camera for record in records]
            keyframes, drift = correct_drift(
                keyframes, cameras, options.refine_poses, options.pairs, options.triangulation, options.seed, progress
            )
    with clock("match"):
        views = neighbor_views(keyframes, options.pairs, options.matches)
        limits = in_view(keyframes, options.pairs, views)
        pairs = keyframe_pairs(keyframes, limits)
        if not pairs:
            raise MapError(no_pairs(keyframes, limits, options.triangulation.min_angle, views))
        matches = match_pairs(keyframes, pairs, options.matches, progress, work)
        warnings = _pose_warnings(records, keyframes, matches, limits, options)
    corrections: Mapping[PinholeCamera, IntrinsicsCorrection] = {}
    if options.self_calibration.enabled:
        with clock("calibrate"):
            long_tracks = options.triangulation.model_copy(update={"enough_landmarks": 0})
            first = triangulate(keyframes, matches, long_tracks, progress, work, stage="calibrate")
            corrections = estimate_corrections(keyframes, first, options.self_calibration, work)
        keyframes = correct_keypoints(keyframes, corrections, work, progress)
        warnings += calibration_warnings(corrections)
    with clock("match"):
        matches = match_along_lines(keyframes, matches, options.matches, progress, work)
    with clock("triangulate"):
        triangulation = triangulate(keyframes, matches, options.triangulation, progress, work)
    if len(triangulation.positions) == 0:
        at_rest = no_parallax(keyframes, matches, options.triangulation.min_angle)
        raise MapError(at_rest or _no_landmarks(keyframes, pose_agreement(matches), warnings))
    is_metric = sfm is None or sfm.scale == "metric"
    warnings += scale_warnings(keyframes, observation_depths(keyframes, triangulation)) if is_metric else []
    warnings += range_warnings(keyframes) + (sfm.warnings if sfm else [])
    observed = np.bincount(triangulation.keyframes, minlength=len(keyframes))
    coverage = coverage_of_build(keyframes, triangulation)
    warnings += coverage.warnings()
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
        route_m=coverage.length,
        localizable_share=coverage.share,
        warnings=warnings,
        seed=options.seed,
        seconds=clock.seconds,
        sfm=sfm,
        drift=drift,
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
    records: Sequence[Record],
    keyframes: Sequence[Keyframe],
    matches: Sequence[PairMatches],
    limits: PairOptions,
    options: BuildOptions,
) -> list[str]:
    """Warnings about the poses, with what the files say of turned images. Without parallax, no pose fits."""
    if at_rest := no_parallax(keyframes, matches, options.triangulation.min_angle):
        return [at_rest]
    warnings = pose_warnings(keyframes, matches, limits, options.matches)
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


def _no_landmarks(keyframes: Sequence[Keyframe], agreement: float, warnings: Sequence[str]) -> str:
    causes = "; ".join(warnings) or (
        "the camera hardly moves between the images, or they show nothing to match: "
        f"{np.mean([len(k.features) for k in keyframes]):.0f} keypoints an image"
    )
    return f"no landmark could be triangulated; {agreement:.0%} of the matches agree with the known poses: {causes}"
