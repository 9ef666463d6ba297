"""Maps as COLMAP models: complete, and with cameras that fit the images."""

import shutil
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from cli_helpers import Vizloc
from point_street import CAMERA, View, described, matched
from pycolmap import Rigid3d, Rotation3d
from sfm_helpers import same_pose

from vizloc_ros.errors import MapError, OutputError
from vizloc_ros.features.types import corrected
from vizloc_ros.geometry.camera import IntrinsicsCorrection
from vizloc_ros.geometry.poses import pose_of
from vizloc_ros.mapping.colmap_export import export_colmap
from vizloc_ros.mapping.georeference import Georeference
from vizloc_ros.mapping.keyframe_pairs import Keyframe
from vizloc_ros.mapping.map_alignment import set_georeference
from vizloc_ros.mapping.map_writer import MapContent, write_map
from vizloc_ros.mapping.triangulation import TriangulationOptions, triangulate
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.parallel import silent

pytestmark = pytest.mark.e2e


def observed(model: pycolmap.Reconstruction, keyframe: int) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks and COLMAP's pixels of an image's observations."""
    points = [p for p in model.image(keyframe + 1).points2D if p.has_point3D()]
    return np.array([p.point3D_id - 1 for p in points]), np.array([p.xy for p in points])


@pytest.mark.parametrize("text", [False, True], ids=["binary", "text"])
def test_the_model_is_complete(point_map: VisualMap, tmp_path: Path, vizloc: Vizloc, text: bool) -> None:
    ended = vizloc("map", "export-colmap", point_map.folder, "--out", tmp_path / "model", *(["--text"] * text))
    assert ended.code == 0, ended.err
    assert f"12 images, {point_map.info.landmarks} points" in ended.out
    suffix = ".txt" if text else ".bin"
    assert {f"{name}{suffix}" for name in ("cameras", "images", "points3D", "rigs", "frames")} == {
        path.name for path in (tmp_path / "model").iterdir()
    }
    model = pycolmap.Reconstruction(tmp_path / "model")
    camera = point_map.info.cameras[0]
    np.testing.assert_allclose(
        model.camera(1).params, [camera.fx, camera.fy, camera.cx + 0.5, camera.cy + 0.5], rtol=1e-12
    )
    for keyframe, name in enumerate(point_map.keyframe_names):
        image = model.image(keyframe + 1)
        assert image.name == name
        assert same_pose(image.cam_from_world().inverse(), pose_of(point_map.keyframe_poses[keyframe]))
        landmarks, pixels = observed(model, keyframe)
        np.testing.assert_array_equal(landmarks, point_map.landmarks_of(keyframe))
        np.testing.assert_allclose(pixels - 0.5, point_map.observation_pixels[point_map.observations_of(keyframe)])
    positions = np.array([model.point3D(i + 1).xyz for i in range(point_map.info.landmarks)])
    np.testing.assert_allclose(positions, point_map.landmark_positions, atol=1e-5)


def test_a_map_with_a_local_origin_is_exported_in_the_coordinates_of_its_dataset(
    point_map: VisualMap, tmp_path: Path
) -> None:
    shutil.copytree(point_map.folder, tmp_path / "map")
    world_from_map = Rigid3d(Rotation3d(np.array([0, 0, 0.3])), np.array([456_000.0, 5_428_000.0, 100.0]))
    set_georeference(VisualMap.open(tmp_path / "map"), Georeference.of(world_from_map))
    export_colmap(VisualMap.open(tmp_path / "map"), tmp_path / "model")
    model = pycolmap.Reconstruction(tmp_path / "model")
    for keyframe in (0, 11):
        expected = world_from_map * pose_of(point_map.keyframe_poses[keyframe])
        assert same_pose(model.image(keyframe + 1).cam_from_world().inverse(), expected, atol=1e-6)
    first = point_map.landmark_positions[0].astype(float)
    np.testing.assert_allclose(model.point3D(1).xyz, world_from_map * first, atol=1e-4)


def test_a_corrected_calibration_becomes_the_camera_of_the_images(point_views: list[View], tmp_path: Path) -> None:
    """A lens with errors takes the images: the map moves its keypoints, and the model has the lens."""
    correction = IntrinsicsCorrection(focal=0.01, cx=3.0, cy=-2.0, radial=0.02)
    fx, fy = 1.01 * CAMERA.fx, 1.01 * CAMERA.fy
    params = [fx, fy, CAMERA.cx + 3.5, CAMERA.cy - 1.5, 0.02 / 1.01, 0, 0, 0]
    lens = pycolmap.Camera(model="OPENCV", width=CAMERA.width, height=CAMERA.height, params=params)
    taken = [with_keypoints(v.keyframe, lens.img_from_cam(rays_at(v.keyframe)) - 0.5) for v in point_views]
    keyframes, extractor = described([replace(k, features=corrected(k.features, correction, CAMERA)) for k in taken])
    triangulation = triangulate(keyframes, matched(keyframes), TriangulationOptions(), silent)
    created = datetime(2024, 5, 17, tzinfo=timezone.utc)
    content = MapContent(keyframes, triangulation, extractor, "points:", "map", "0", created, {CAMERA: correction})
    write_map(content, {}, tmp_path / "map")
    model = export_colmap(VisualMap.open(tmp_path / "map"), tmp_path / "model")
    assert model.camera(1).model.name == "OPENCV"
    np.testing.assert_allclose(model.camera(1).params, lens.params)
    assert model.compute_mean_reprojection_error() < 0.4  # their noise is 0.3 px on each axis
    for i in (0, 7):
        pixels = np.array([p.xy for p in model.image(i + 1).points2D]) - 0.5
        np.testing.assert_allclose(pixels, taken[i].features.keypoints, atol=1e-3)  # of float32


def rays_at(keyframe: Keyframe) -> np.ndarray:
    return CAMERA.rays(keyframe.features.keypoints.astype(np.float64))


def with_keypoints(keyframe: Keyframe, pixels: np.ndarray) -> Keyframe:
    return replace(keyframe, features=replace(keyframe.features, keypoints=pixels.astype(np.float32)))


def test_what_cannot_be_exported_is_named(point_map: VisualMap, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    with pytest.raises(OutputError, match=r"full: exists already: remove it, or give another --out"):
        export_colmap(point_map, tmp_path / "full")
    copy = Path(shutil.copytree(point_map.folder, tmp_path / "map"))
    (copy / "sfm" / "images.bin").write_bytes(b"other")
    with pytest.raises(MapError, match=r"sfm/images\.bin: missing or changed since the map was written"):
        export_colmap(VisualMap.open(copy), tmp_path / "model")
    with pytest.raises(MapError, match=r"12 of its images are not in the dataset, the first is street/000\.0\.png"):
        export_colmap(point_map, tmp_path / "model", records=[])
    assert not (tmp_path / "model").exists()
