"""Structure from motion with COLMAP: poses, and intrinsics that are not known, from matches alone.

The poses have the scale and the frame that the mapper chose. In COLMAP, (0.5, 0.5) is the center of the top-left pixel.
"""

import queue
from collections.abc import Iterator, Mapping, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pycolmap
from pydantic import Field

from vizloc_ros.arrays import Float64, Int32
from vizloc_ros.features.types import Features
from vizloc_ros.geometry.camera import PIXEL_CENTRE
from vizloc_ros.mapping.image_pairs import Pair
from vizloc_ros.options import Options
from vizloc_ros.parallel import Progress, parallel_map

_MIN_IMAGES = 3
_MAX_TRIALS = 1000  # of RANSAC
_MAX_REFINED_ERROR, _MIN_REFINED_ANGLE = 2.0, 1.5  # px, deg
_WAIT = 0.2  # s between looks at a mapper that has found nothing


class SfmOptions(Options):
    """Options of the structure from motion."""

    max_error: float = Field(3.0, gt=0, description="maximum error of a match that fits the geometry of its pair [px]")
    min_matches: int = Field(30, ge=8, description="minimum number of such matches of a pair")
    max_forward_motion: float = Field(
        0.95, gt=0, le=1, description="share of the movement along the view, up to which a pair may be the first"
    )
    min_first_angle: float = Field(16.0, gt=0, description="minimum median angle of the rays of the first pair [deg]")


@dataclass(frozen=True)
class UnposedImage:
    """Image without a pose.

    Attributes:
        name: name of the image.
        camera: index of its camera.
        features: features of the image.
    """

    name: str
    camera: int
    features: Features


def verify_pairs(
    images: Sequence[UnposedImage],
    cameras: Sequence[pycolmap.Camera],
    matches: Mapping[Pair, Int32],
    options: SfmOptions,
    seed: int,
    progress: Progress,
) -> dict[Pair, pycolmap.TwoViewGeometry]:
    """Geometry of two views for each pair that has one, from its tentative matches, on all cores.

    Args:
        images: images without poses.
        cameras: cameras of the images, with a first guess of what is not known.
        matches: (M, 2) tentative matches of each pair of images.
        options: options of the structure from motion.
        seed: seed of RANSAC.
        progress: progress display.
    """
    settings = pycolmap.TwoViewGeometryOptions(
        min_num_inliers=options.min_matches,
        detect_watermark=False,
        ransac={"max_error": options.max_error, "random_seed": seed, "max_num_trials": _MAX_TRIALS},
    )
    pixels = [image.features.keypoints.astype(np.float64) + PIXEL_CENTRE for image in images]

    def verify(pair: Pair) -> pycolmap.TwoViewGeometry:
        camera_a, camera_b = (cameras[images[k].camera] for k in pair)
        found = matches[pair].astype(np.uint32)
        return pycolmap.estimate_two_view_geometry(
            camera_a, pixels[pair[0]], camera_b, pixels[pair[1]], found, settings
        )

    enough = [pair for pair, found in matches.items() if len(found) >= options.min_matches]
    verified = parallel_map(verify, enough, "verifying pairs", progress)
    return {
        pair: geometry
        for pair, geometry in zip(enough, verified, strict=True)
        if len(geometry.inlier_matches) >= options.min_matches
    }


def reconstruct(
    images: Sequence[UnposedImage],
    cameras: Sequence[pycolmap.Camera],
    geometries: Mapping[Pair, pycolmap.TwoViewGeometry],
    options: SfmOptions,
    seed: int,
    progress: Progress,
) -> list[pycolmap.Reconstruction]:
    """Reconstruct the images by incremental mapping.

    Args:
        images: images without poses.
        cameras: cameras of the images. Those with a prior focal length and the model PINHOLE stay as they are.
        geometries: geometries of the verified pairs.
        options: options of the structure from motion.
        seed: seed of the mapper.
        progress: progress display.

    Returns:
        Models, the one with the most images first; images that overlap too little are in models of their own, or in
        none. Image ids are indices + 1, camera ids too.
    """
    mapper = pycolmap.IncrementalPipelineOptions(
        random_seed=seed,
        min_model_size=_MIN_IMAGES,
        extract_colors=False,
        constant_cameras={k + 1 for k, camera in enumerate(cameras) if camera.model.name == "PINHOLE"},
    )
    mapper.triangulation.ignore_two_view_tracks = False
    with TemporaryDirectory(prefix="vizloc_sfm_") as folder:
        database = Path(folder) / "database.db"
        with pycolmap.Database.open(database) as opened:
            _write(opened, images, cameras, geometries)
        # Pairs of a straight drive have no side movement, so that they begin a model only if nothing better does.
        for max_forward_motion, min_angle in (
            (options.max_forward_motion, options.min_first_angle),
            (1.0, options.min_first_angle / 8),
        ):
            mapper.mapper.init_max_forward_motion = max_forward_motion
            mapper.mapper.init_min_tri_angle = min_angle
            models = _run(database, Path(folder), mapper, len(images), progress)
            large = [model for model in models if model.num_reg_images() >= _MIN_IMAGES]
            if large:
                break
    return sorted(large, key=lambda model: -model.num_reg_images())


def _write(
    database: pycolmap.Database,
    images: Sequence[UnposedImage],
    cameras: Sequence[pycolmap.Camera],
    geometries: Mapping[Pair, pycolmap.TwoViewGeometry],
) -> None:
    for camera in cameras:
        database.write_camera(camera, use_camera_id=True)
        rig = pycolmap.Rig(rig_id=camera.camera_id)
        rig.add_ref_sensor(camera.sensor_id)
        database.write_rig(rig, use_rig_id=True)
    for i, image in enumerate(images):
        camera_id = image.camera + 1
        written = pycolmap.Image(name=image.name, camera_id=camera_id, image_id=i + 1, frame_id=i + 1)
        frame = pycolmap.Frame(frame_id=i + 1, rig_id=camera_id)
        frame.add_data_id(written.data_id)
        database.write_frame(frame, use_frame_id=True)
        database.write_image(written, use_image_id=True)
        database.write_keypoints(i + 1, image.features.keypoints + np.float32(PIXEL_CENTRE))
    for (i, j), geometry in geometries.items():
        database.write_matches(i + 1, j + 1, geometry.inlier_matches)
        database.write_two_view_geometry(i + 1, j + 1, geometry)


def _run(
    database: Path, folder: Path, options: pycolmap.IncrementalPipelineOptions, count: int, progress: Progress
) -> list[pycolmap.Reconstruction]:
    """Models of the mapper, which runs in a thread, so that each registered image is shown and Ctrl-C ends it."""
    registered: queue.SimpleQueue[None] = queue.SimpleQueue()
    token = pycolmap.CancellationToken()

    def first_pair() -> None:
        registered.put(None)
        registered.put(None)

    def run() -> dict[int, pycolmap.Reconstruction]:
        return pycolmap.incremental_mapping(
            database,
            folder,  # of the images: no colors are read
            folder,
            options,
            initial_image_pair_callback=first_pair,
            next_image_callback=lambda: registered.put(None),
            cancellation_token=token,
        )

    with _quiet(), ThreadPoolExecutor(1) as pool:
        mapping = pool.submit(run)
        try:
            for _ in progress(_events(registered, mapping, count), "registering images", count):
                pass
            return list(mapping.result().values())
        except BaseException:
            token.cancel()
            raise


@contextmanager
def _quiet() -> Iterator[None]:
    """Context in which COLMAP logs nothing: what goes wrong is in its result."""
    level = pycolmap.logging.minloglevel
    pycolmap.logging.minloglevel = pycolmap.logging.FATAL.value
    try:
        yield
    finally:
        pycolmap.logging.minloglevel = level


def _events(
    registered: "queue.SimpleQueue[None]", mapping: "Future[dict[int, pycolmap.Reconstruction]]", count: int
) -> Iterator[int]:
    """One number for each registered image, at most ``count``, until the mapper ends."""
    number = 0
    while not mapping.done() or not registered.empty():
        try:
            registered.get(timeout=_WAIT)
        except queue.Empty:
            continue
        if number < count:
            number += 1
            yield number


def refine(model: pycolmap.Reconstruction, constant: Set[int]) -> dict[int, Float64]:
    """Adjust poses, points and intrinsics with a robust loss, drop what does not fit, and adjust again.

    Right matches of learned keypoints are off by half a pixel, and wrong ones on epipolar lines by a few: with a
    quadratic loss, as in the mapper, these move the poses.

    Args:
        model: reconstruction to refine in place.
        constant: ids of the cameras whose intrinsics are known.

    Returns:
        Standard deviations (2,) of focal length [px] and k1 of each other camera, of the model SIMPLE_RADIAL, from the
        spread of the residuals; without those that the images do not determine.
    """
    _adjuster(model, constant).solve()
    pycolmap.ObservationManager(model).filter_all_points3D(_MAX_REFINED_ERROR, _MIN_REFINED_ANGLE)
    adjuster = _adjuster(model, constant)
    adjuster.solve()
    model.update_point_3d_errors()
    variable = set(model.cameras) - constant
    if not variable:
        return {}
    settings = pycolmap.BACovarianceOptions(params=pycolmap.BACovarianceOptionsParams.ALL)
    covariance = pycolmap.estimate_ba_covariance(settings, model, adjuster)
    if covariance is None:
        return {}
    noise = float(model.compute_mean_reprojection_error())
    blocks = {camera_id: covariance.get_other_params_cov(model.cameras[camera_id].params) for camera_id in variable}
    return {camera_id: noise * np.sqrt(np.diag(block)) for camera_id, block in blocks.items() if block is not None}


def _adjuster(model: pycolmap.Reconstruction, constant: Set[int]) -> pycolmap.CeresBundleAdjuster:
    config = pycolmap.BundleAdjustmentConfig()
    for image_id in model.reg_image_ids():
        config.add_image(image_id)
    for camera_id in constant & set(model.cameras):
        config.set_constant_cam_intrinsics(camera_id)
    config.fix_gauge(pycolmap.BundleAdjustmentGauge.TWO_CAMS_FROM_WORLD)
    options = pycolmap.BundleAdjustmentOptions(print_summary=False)
    options.ceres.loss_function_type = pycolmap.LossFunctionType.CAUCHY
    options.ceres.loss_function_scale = 1.0  # px
    return pycolmap.create_default_ceres_bundle_adjuster(options, config, model)
