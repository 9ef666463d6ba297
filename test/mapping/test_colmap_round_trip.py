"""Round trip through COLMAP's format, and models as others make them: rigs, images that are missing, scales."""

from pathlib import Path

import numpy as np
import pycolmap
import pytest
from cli_helpers import Vizloc
from pycolmap import Rigid3d
from sfm_helpers import pose_of as some_pose
from sfm_helpers import posed, same_pose, write_image, write_model

from vizloc_ros.datasets.colmap import colmap_specification, open_colmap
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.evaluation.offline_localization import localize_records
from vizloc_ros.evaluation.recall import RecallReport, evaluate_poses
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.mapping.check import map_problems
from vizloc_ros.mapping.visual_map import VisualMap

pytestmark = pytest.mark.e2e


def recall_in(visual_map: VisualMap, street: SyntheticStreet) -> RecallReport:
    records = street.records("query")[3:9:2]
    run = localize_records(records, visual_map, HierarchicalLocalizer(visual_map))
    return evaluate_poses(run.estimates, {record.name: posed(record) for record in records})


def test_a_map_goes_through_colmap_and_localizes_as_well(
    street_folder: Path, street: SyntheticStreet, tmp_path: Path, vizloc: Vizloc
) -> None:
    dataset = f"folder:{street_folder}"
    build = ("map", "build", dataset, "--extractor", "rootsift", "--no-pixloc", "--out", tmp_path / "first")
    assert vizloc(*build).code == 0
    ended = vizloc("map", "export-colmap", tmp_path / "first", "--images", "--out", tmp_path / "model")
    assert ended.code == 0, ended.err
    model = pycolmap.Reconstruction(tmp_path / "model")
    colors = np.array([point.color for point in model.points3D.values()])
    assert len(np.unique(colors, axis=0)) > 20, "points have the colors of the images"
    arguments = ("--images", tmp_path / "model" / "images", "--extractor", "rootsift", "--no-pixloc")
    ended = vizloc("map", "import-colmap", tmp_path / "model", *arguments, "--out", tmp_path / "second")
    assert ended.code == 0, ended.err
    first, second = VisualMap.open(tmp_path / "first"), VisualMap.open(tmp_path / "second")
    assert map_problems(second.folder) == []
    assert second.keyframe_names == first.keyframe_names
    np.testing.assert_allclose(second.keyframe_poses, first.keyframe_poses, atol=1e-9)
    before, after = recall_in(first, street), recall_in(second, street)
    assert after.recall == before.recall == dict.fromkeys(before.recall, 1.0)
    assert after.median_translation_m == pytest.approx(before.median_translation_m, abs=0.005)
    assert open_colmap(second.info.dataset.removeprefix("colmap:")).records("all")[0].name == first.keyframe_names[0]


def test_images_of_a_rig_are_single_cameras_with_the_poses_of_the_model(tmp_path: Path) -> None:
    left = pycolmap.Camera(camera_id=1, model="PINHOLE", width=96, height=64, params=[80, 82, 48, 32])
    right = pycolmap.Camera(camera_id=2, model="FOV", width=96, height=64, params=[85, 80, 48, 32, 0.6])
    right_from_left = Rigid3d(pycolmap.Rotation3d(np.array([0, 0.3, 0])), np.array([-0.5, 0, 0]))
    model = pycolmap.Reconstruction()
    rig = pycolmap.Rig(rig_id=1)
    rig.add_ref_sensor(left.sensor_id)
    rig.add_sensor(right.sensor_id, right_from_left)
    model.add_camera(left)
    model.add_camera(right)
    model.add_rig(rig)
    for i in range(3):
        images = [
            pycolmap.Image(name=f"{side}/{i}.png", camera_id=camera.camera_id, image_id=2 * i + camera.camera_id)
            for side, camera in (("left", left), ("right", right))
        ]
        frame = pycolmap.Frame(frame_id=i + 1, rig_id=1, rig_from_world=some_pose(i))
        for image in images:
            image.frame_id = i + 1
            frame.add_data_id(image.data_id)
            write_image(tmp_path / "photos" / image.name)
        model.add_frame(frame)
        for image in images:
            model.add_image(image)
        model.register_frame(i + 1)
    (tmp_path / "model").mkdir()
    model.write_binary(tmp_path / "model")
    dataset = open_colmap(colmap_specification(tmp_path / "model", tmp_path / "photos", scale=2.0))
    records = dataset.records("all")
    assert [record.name for record in records] == [f"{side}/{i}.png" for side in ("left", "right") for i in range(3)]
    for i in range(3):
        for record, cam_from_world in (
            (records[i], some_pose(i)),
            (records[3 + i], right_from_left * some_pose(i)),
        ):
            pose = cam_from_world.inverse()
            assert same_pose(posed(record), Rigid3d(pose.rotation, 2 * pose.translation))
    assert records[0].camera.fx == 80
    assert records[3].read_image().shape[::-1] == records[3].camera.size


def test_paths_with_spaces_and_signs_are_opened_again(tmp_path: Path) -> None:
    camera = pycolmap.Camera(camera_id=1, model="PINHOLE", width=96, height=64, params=[80, 82, 48, 32])
    write_model(tmp_path / "a b", {f"{i}.png": (camera, some_pose(i)) for i in range(3)})
    for i in range(3):
        write_image(tmp_path / "x&y=1 +" / f"{i}.png")
    (tmp_path / "list & more.txt").write_text("1.png\n")
    lists = {"map": tmp_path / "list & more.txt"}
    dataset = open_colmap(colmap_specification(tmp_path / "a b", tmp_path / "x&y=1 +", **lists))
    assert [record.name for record in dataset.records("map")] == ["1.png"]


def test_import_colmap_names_what_is_missing(tmp_path: Path, vizloc: Vizloc) -> None:
    camera = pycolmap.Camera(camera_id=1, model="PINHOLE", width=96, height=64, params=[80, 82, 48, 32])
    write_model(tmp_path / "model", {f"{i}.png": (camera, some_pose(i)) for i in range(3)})
    (tmp_path / "photos").mkdir()
    where = ("--images", tmp_path / "photos", "--out", tmp_path / "map")
    ended = vizloc("map", "import-colmap", tmp_path / "model", *where)
    assert ended.code == 1
    assert "photos/0.png: no such image, but" in ended.err
    ended = vizloc("map", "import-colmap", tmp_path / "photos", *where)
    assert ended.code == 1
    assert "no COLMAP reconstruction (cameras, images, points3D" in ended.err
    ended = vizloc("map", "import-colmap", tmp_path / "model", *where, "--scale", "0")
    assert (ended.code, "scale=0; it must be positive" in ended.err) == (1, True)
