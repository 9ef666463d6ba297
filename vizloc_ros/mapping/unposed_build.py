"""Map build from images without poses: structure from motion, metric scale, and then the build of any map."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pycolmap

from vizloc_ros.arrays import Float64, UInt8
from vizloc_ros.datasets.camera_info_yaml import write_camera_info
from vizloc_ros.datasets.lenses import distorted_camera, rectifier
from vizloc_ros.datasets.pictures import with_cameras
from vizloc_ros.datasets.record import Calibration, GnssFix, RawImage, Record
from vizloc_ros.errors import CameraError, DatasetError, MapError
from vizloc_ros.features.extractor import FeatureExtractor
from vizloc_ros.geometry.camera import PIXEL_CENTRE, PinholeCamera
from vizloc_ros.geometry.colmap_camera import colmap_camera
from vizloc_ros.geometry.poses import transform_points
from vizloc_ros.geometry.rectification import DistortedCamera
from vizloc_ros.mapping.build_report import BuildReport
from vizloc_ros.mapping.builder import BuildOptions, build_map
from vizloc_ros.mapping.image_features import describe_features, extract_features
from vizloc_ros.mapping.image_pairs import ImagePairOptions, image_pairs, match_images
from vizloc_ros.mapping.map_writer import add_to_map, require_replaceable
from vizloc_ros.mapping.metric_scale import PosedModel, ScaleSource, metric_similarity
from vizloc_ros.mapping.sfm_report import CameraEstimate, SfmReport
from vizloc_ros.mapping.structure_from_motion import SfmOptions, UnposedImage, reconstruct, refine, verify_pairs
from vizloc_ros.options import Options
from vizloc_ros.parallel import Progress, silent
from vizloc_ros.timing import Stopwatch
from vizloc_ros.work.stages import IN_MEMORY, Stages

_MIN_IMAGES = 3
_FOCAL_RANGE = (0.3, 6.0)  # of the longer side of an image: a view of 118 to 10 degrees


class UnposedBuildOptions(Options):
    """Options of a build from images without poses."""

    image_pairs: ImagePairOptions = ImagePairOptions()
    sfm: SfmOptions = SfmOptions()
    build: BuildOptions = BuildOptions()


@dataclass(frozen=True)
class UnposedBuild:
    """Result of a build from images without poses.

    Attributes:
        report: report of the build; its ``sfm`` is that of the structure from motion.
        records: registered images with their poses and refined calibrations.
        calibrations: files with the refined calibrations, in the map.
    """

    report: BuildReport
    records: list[Record]
    calibrations: list[Path]


def build_from_images(
    records: Sequence[Record],
    extractor: FeatureExtractor,
    out: Path,
    *,
    dataset: str,
    home: Path | None = None,
    scale: ScaleSource | None = None,
    fixes: Sequence[GnssFix] = (),
    options: UnposedBuildOptions | None = None,
    work: Stages = IN_MEMORY,
    progress: Progress = silent,
) -> UnposedBuild:
    """Build a map of images without poses; those that they have are only used as a source of the scale.

    Args:
        records: images in order of time, with or without a calibration.
        extractor: feature extractor; learns its vocabulary from the images if it needs one.
        out: folder of the map, as in ``build_map``.
        dataset: name of the dataset, for map.yaml.
        home: folder where the map will be in the end, for the paths of its calibrations; by default ``out``.
        scale: source of the metric scale; None: the scale stays unknown.
        fixes: fixes of a GNSS receiver, for the scale.
        options: options of the build.
        work: place where features and matches are computed and kept, as in ``build_map``.
        progress: progress display of every stage.

    Raises:
        DatasetError: there are too few images.
        ImageError: an image cannot be read.
        MapError: ``out`` is not replaceable, the images do not overlap or show no depth, or the scale cannot be told.
    """
    options, scale, clock = options or UnposedBuildOptions(), scale or ScaleSource(), Stopwatch()
    home = home or out
    seed = options.build.seed
    require_replaceable(out)
    if len(records) < _MIN_IMAGES:
        raise DatasetError(f"{dataset}: a map needs at least {_MIN_IMAGES} images, this split has {len(records)}")
    kinds = list(dict.fromkeys((r.mounting.camera, r.camera, r.calibration) for r in records))
    with clock("extract"):
        features = extract_features(records, extractor, work, dataset, progress, stage="sfm_extract")
        learned = extractor.learn(features, seed)
        features = describe_features(features, learned, work, progress, stage="sfm_describe")
    images = [
        UnposedImage(r.name, kinds.index((r.mounting.camera, r.camera, r.calibration)), f)
        for r, f in zip(records, features, strict=True)
    ]
    cameras = [_first_camera(camera, origin, k + 1) for k, (_, camera, origin) in enumerate(kinds)]
    with clock("match"):
        pairs = image_pairs(features, [r.mounting.camera for r in records], options.image_pairs)
        matches = match_images(features, pairs, options.image_pairs.ratio, progress, work)
    with clock("verify"):
        geometries = verify_pairs(images, cameras, matches, options.sfm, seed, progress)
    if not geometries:
        raise MapError(
            f"{dataset}: no two of the {len(records)} images show the same place: of the {len(pairs)} pairs, none has "
            f"{options.sfm.min_matches} matches that fit one geometry. Take images with more overlap"
        )
    with clock("register"):
        models = reconstruct(images, cameras, geometries, options.sfm, seed, progress)
    if not models:
        raise MapError(
            f"{dataset}: none of the {len(geometries)} pairs of images that match can begin a model: the camera only "
            "turns, or moves too little between the images. Move past what is to be mapped"
        )
    model, constant = models[0], {k + 1 for k, (_, _, o) in enumerate(kinds) if o is Calibration.KNOWN}
    with clock("refine"):
        deviations = refine(model, constant)
        _require_plausible(model, dataset)
    posed, lenses = _posed_model(records, model, constant, dataset)
    similarity, deviation = metric_similarity(posed, scale, fixes, seed)
    mapped = [
        replace(record, world_from_cam=similarity.pose(pose))
        for record, pose in zip(posed.records, posed.poses, strict=True)
    ]
    registered = {record.name for record in mapped}
    sfm = SfmReport(
        images=len(records),
        registered=len(mapped),
        unregistered=[r.name for r in records if r.name not in registered],
        other_models=[n for m in models[1:] if (n := len(set(m.reg_image_ids()) - set(model.reg_image_ids())))],
        pairs=len(pairs),
        verified_pairs=len(geometries),
        reprojection_error_px=float(model.compute_mean_reprojection_error()),
        cameras=[_estimate(model.cameras[k], kinds[k - 1][2], deviations.get(k)) for k in sorted(model.cameras)],
        scale="metric" if scale.kind else "unknown",
        scale_source=scale.text,
        scale_deviation=deviation,
        seconds=dict(clock.seconds),
    )
    names = _calibration_names(lenses)
    written = with_cameras(dataset, [home / name for name in names])
    report = build_map(
        mapped, extractor, out, dataset=written, options=options.build, work=work, progress=progress, sfm=sfm
    )
    if names:
        add_to_map(out, list(names), lambda folder: _write_calibrations(folder, names))
    return UnposedBuild(report, mapped, [home / name for name in names])


def _first_camera(camera: PinholeCamera, origin: Calibration, camera_id: int) -> pycolmap.Camera:
    """Camera to begin with: as it is if it is known, else with a focal length and one coefficient to refine."""
    if origin is Calibration.KNOWN:
        first = colmap_camera(camera, camera_id)
    else:
        params = [camera.fx, camera.cx + PIXEL_CENTRE, camera.cy + PIXEL_CENTRE, 0.0]
        first = pycolmap.Camera(
            camera_id=camera_id, model="SIMPLE_RADIAL", width=camera.width, height=camera.height, params=params
        )
    first.has_prior_focal_length = origin is not Calibration.GUESSED
    return first


def _require_plausible(model: pycolmap.Reconstruction, dataset: str) -> None:
    """Raise ``MapError`` if the focal length ran away: on a straight drive, any fits."""
    low, high = _FOCAL_RANGE
    for camera in model.cameras.values():
        focal = float(camera.mean_focal_length())
        if not low <= focal / max(camera.width, camera.height) <= high:
            raise MapError(
                f"{dataset}: the focal length cannot be told from these images ({focal:.3g} px for "
                f"{camera.width}x{camera.height}), as on a straight drive: give focal=PIXELS or camera=FILE, or images "
                "with turns and from the side"
            )


def _posed_model(
    records: Sequence[Record], model: pycolmap.Reconstruction, constant: set[int], dataset: str
) -> tuple[PosedModel, list[DistortedCamera]]:
    """Registered images with refined calibrations, their poses and landmarks; and the refined calibrations."""
    lenses: dict[int, DistortedCamera] = {}
    chosen: list[Record] = []
    poses: list[pycolmap.Rigid3d] = []
    points: list[Float64] = []
    for image_id in sorted(model.reg_image_ids()):
        image, record = model.image(image_id), records[image_id - 1]
        cam_from_world = image.cam_from_world()
        seen = [model.point3D(p.point3D_id).xyz for p in image.points2D if p.has_point3D()]
        if image.camera_id not in constant:
            lens = lenses.setdefault(image.camera_id, distorted_camera(model.cameras[image.camera_id]))
            record = _calibrated(record, lens, dataset)
        chosen.append(record)
        poses.append(cam_from_world.inverse())
        points.append(transform_points(cam_from_world, np.array(seen).reshape(-1, 3)))
    return PosedModel(chosen, poses, points), list(lenses.values())


def _calibrated(record: Record, lens: DistortedCamera, dataset: str) -> Record:
    """Record with a refined calibration: its images are rectified."""
    try:
        camera = rectifier(lens).rectified
    except CameraError as error:
        raise MapError(
            f"{dataset}: the lens as the images show it cannot be used ({error}). Calibrate the camera, and give "
            "camera=FILE"
        ) from error
    return replace(
        record,
        camera=camera,
        read_image=partial(_rectified, record, lens),
        raw=RawImage(lens, record.read_image),
        calibration=Calibration.KNOWN,
    )


def _rectified(record: Record, lens: DistortedCamera) -> UInt8:
    return rectifier(lens).rectify(record.read_image())


def _estimate(camera: pycolmap.Camera, origin: Calibration, deviation: Float64 | None) -> CameraEstimate:
    known = origin is Calibration.KNOWN
    return CameraEstimate(
        width=camera.width,
        height=camera.height,
        focal_px=float(camera.mean_focal_length()),
        focal_std_px=None if deviation is None else float(deviation[0]),
        radial=0.0 if known else float(camera.params[-1]),
        radial_std=None if deviation is None else float(deviation[1]),
        origin=origin.value,
    )


def _calibration_names(lenses: Sequence[DistortedCamera]) -> Mapping[str, DistortedCamera]:
    """Names of the files of refined calibrations in the map."""
    if len(lenses) == 1:
        return {"camera_info.yaml": lenses[0]}
    return {f"camera_info_{k}.yaml": lens for k, lens in enumerate(lenses, 1)}


def _write_calibrations(folder: Path, names: Mapping[str, DistortedCamera]) -> None:
    for name, lens in names.items():
        write_camera_info(folder / name, lens)
