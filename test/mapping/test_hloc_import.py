"""hloc's outputs, written as hloc writes them, become maps in which queries are localized."""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from cli_helpers import Vizloc
from point_street import CAMERA, PointStreet, View, described, matched
from sfm_helpers import model_of

from vizloc_ros.datasets.hloc_features import HlocFiles
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import DatasetError, FeatureError, InputError, MapError
from vizloc_ros.evaluation.map_comparison import recall_of_maps
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.features.types import Features, dequantize
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.mapping.check import map_problems
from vizloc_ros.mapping.hloc_import import import_hloc
from vizloc_ros.mapping.triangulation import TriangulationOptions, triangulate
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.parallel import silent
from vizloc_ros.readers import open_dataset

h5py = pytest.importorskip("h5py", reason="the extra hloc is not installed")
pytestmark = pytest.mark.e2e

FEATURES, GLOBAL = "feats-own-n2048.h5", "global-feats-own.h5"


def write_h5(path: Path, images: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """As hloc's extract_features.main: a group for each image, float32 as float16."""
    for name, pred in images.items():
        with h5py.File(str(path), "a", libver="latest") as file:
            group = file.create_group(name)
            for key, value in pred.items():
                group.create_dataset(key, data=value.astype(np.float16) if value.dtype == np.float32 else value)
            if "keypoints" in pred:
                group["keypoints"].attrs["uncertainty"] = 1.0


def write_hloc(folder: Path, model: pycolmap.Reconstruction, features: Mapping[str, Features]) -> Path:
    """Outputs of hloc: the features, and the model as hloc's triangulation makes it, with its rounded keypoints."""
    (folder / "sfm_own").mkdir(parents=True)
    for name, found in features.items():
        for point, keypoint in zip(model.find_image_with_name(name).points2D, found.keypoints, strict=True):
            point.xy = (keypoint.astype(np.float16) + np.float16(0.5)).astype(np.float64)
    model.write_binary(folder / "sfm_own")
    write_h5(
        folder / FEATURES,
        {
            name: {
                "keypoints": f.keypoints,
                "scores": f.scores,
                "descriptors": dequantize(f.descriptors).T,
                "image_size": np.array(f.image_size),
            }
            for name, f in features.items()
        },
    )
    with h5py.File(folder / f"{FEATURES[:-3]}_matches-NN-mutual_pairs.h5", "w") as file:  # another file of hloc
        file.create_group("a/b").create_dataset("matches0", data=np.zeros(3, np.int32))
    return folder


def write_globals(folder: Path, features: Mapping[str, Features]) -> None:
    write_h5(folder / GLOBAL, {name: {"global_descriptor": f.global_descriptor} for name, f in features.items()})


@pytest.fixture(scope="module")
def of_street(street_map: VisualMap, street_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight images of the street, with our own extractor's features."""
    model = pycolmap.Reconstruction(street_map.folder / "sfm")
    extractor, features = open_extractor("rootsift"), {}
    used = {record.name: record for record in open_dataset(f"folder:{street_folder}").records("map")}
    for image in list(model.images.values()):
        name = f"{image.name}.png"
        if name in used:
            image.name, features[name] = name, extractor.extract(used[name].read_image())
        else:
            model.deregister_frame(image.frame_id)
    assert len(features) == 8
    return write_hloc(tmp_path_factory.mktemp("hloc") / "outputs", model, features)


def test_an_hloc_folder_localizes(
    of_street: Path, street_folder: Path, street: SyntheticStreet, tmp_path: Path, vizloc: Vizloc
) -> None:
    arguments = ("--extractor", "rootsift", "--images", street_folder, "--no-pixloc", "--out", tmp_path / "map")
    ended = vizloc("map", "import-hloc", of_street, *arguments)
    assert ended.code == 0, ended.err
    assert map_problems(tmp_path / "map") == []
    visual_map = VisualMap.open(tmp_path / "map")
    assert visual_map.info.extractor.name == "rootsift"
    assert visual_map.info.build["mean_reprojection_error_px"] < 0.8
    assert [r.name for r in open_dataset(visual_map.info.dataset).records("all")][:8] == visual_map.keyframe_names
    (recall,) = recall_of_maps([visual_map], street.records("query")[3:9:2])
    assert recall.recall["0.25m_2deg"] == 1.0
    assert recall.median_translation_m is not None
    assert recall.median_translation_m < 0.05


def test_features_of_another_network_are_refused(of_street: Path, street_folder: Path, tmp_path: Path) -> None:
    files = HlocFiles.find(of_street)
    shutil.copy(files.features, tmp_path / "other.h5")
    with h5py.File(tmp_path / "other.h5", "r+") as file:
        for image in file["map"].values():
            image["descriptors"][:] = np.roll(image["descriptors"][()], 7, axis=1)
    other_files = HlocFiles(files.model, tmp_path / "other.h5", None)
    rootsift = open_extractor("rootsift")
    with pytest.raises(MapError, match=r"other\.h5: only \d% of the keypoints that rootsift finds in .* another netw"):
        import_hloc(other_files, tmp_path / "map", extractor=rootsift, images=street_folder)
    with pytest.raises(MapError, match=r"its descriptors have 128 elements, those of hfnet \d+: .* another network"):
        import_hloc(files, tmp_path / "map", extractor=open_extractor("hfnet"))
    assert not (tmp_path / "map").exists()


@pytest.fixture(scope="module")
def of_points(point_views: list[View], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The street of points, seen through a lens with distortion, with global descriptors."""
    keyframes, _ = described([view.keyframe for view in point_views])
    triangulation = triangulate(keyframes, matched(keyframes), TriangulationOptions(), silent)
    model = model_of(keyframes, triangulation, tmp_path_factory.mktemp("model"))
    params = [CAMERA.fx, CAMERA.fy, CAMERA.cx + 0.5, CAMERA.cy + 0.5, -0.05, 0.01, 0, 0]
    lens = pycolmap.Camera(camera_id=1, model="OPENCV", width=CAMERA.width, height=CAMERA.height, params=params)
    features = {}
    for keyframe in keyframes:
        f = keyframe.features
        pixels = lens.img_from_cam(CAMERA.rays(f.keypoints.astype(np.float64))) - 0.5
        features[keyframe.name] = Features(
            pixels.astype(np.float32), f.scores, f.descriptors, f.global_descriptor, f.image_size
        )
    model.cameras[1].model, model.cameras[1].params = lens.model, list(params)
    folder = write_hloc(tmp_path_factory.mktemp("hloc") / "outputs", model, features)
    write_globals(folder, features)
    return folder


def test_without_its_network_a_map_says_what_queries_need(
    of_points: Path, point_map: VisualMap, tmp_path: Path, vizloc: Vizloc
) -> None:
    ended = vizloc("map", "import-hloc", of_points, "--scale", "2", "--out", tmp_path / "map")
    assert ended.code == 0, ended.err
    assert f"queries need the same features (hloc:{FEATURES[:-3]}:{GLOBAL[:-3]})" in ended.out
    visual_map = VisualMap.open(tmp_path / "map")
    assert map_problems(visual_map.folder) == []
    assert vizloc("map", "info", visual_map.folder).code == 0
    with pytest.raises(FeatureError, match=r"imported without their network, .* import the map again with --extractor"):
        _ = visual_map.extractor
    assert visual_map.info.cameras[0] != CAMERA
    assert visual_map.info.build["mean_reprojection_error_px"] < 0.6  # noise of 0.3 px, and float16
    np.testing.assert_allclose(visual_map.keyframe_poses[:, :3], 2 * point_map.keyframe_poses[:, :3], atol=1e-9)
    view = PointStreet(seed=1).view(9.0, noise_px=0.3)
    query = point_map.extractor.describe(view.keyframe.features)
    pose = HierarchicalLocalizer(visual_map).localize(query, CAMERA).pose
    assert pose is not None
    truth = view.keyframe.map_from_cam
    distance, angle = pose_error(pose.map_from_cam, pycolmap.Rigid3d(truth.rotation, 2 * truth.translation))
    assert distance < 0.1
    assert angle < 0.2


def test_what_does_not_belong_together_is_named(of_points: Path, of_street: Path, tmp_path: Path) -> None:
    points, street = HlocFiles.find(of_points), HlocFiles.find(of_street)
    out = tmp_path / "map"
    with pytest.raises(
        DatasetError, match=r"feats-own-n2048\.h5: has no keypoints of image .*: the file is of other im"
    ):
        import_hloc(HlocFiles(points.model, street.features, None), out)
    with pytest.raises(DatasetError, match=r"needs global descriptors, too: name their file with --global"):
        import_hloc(HlocFiles(points.model, points.features, None), out)
    fewer = pycolmap.Reconstruction(points.model)
    fewer.image(3).points2D[0].xy = [300, 5]
    (tmp_path / "fewer").mkdir()
    fewer.write_binary(tmp_path / "fewer")
    with pytest.raises(
        DatasetError, match=r"keypoints of street/004\.0\.png are not the \d+ of .*fewer: the model was"
    ):
        import_hloc(HlocFiles(tmp_path / "fewer", points.features, points.global_features), out)
    assert not out.exists()


def test_files_are_found_or_named(of_points: Path, tmp_path: Path) -> None:
    found = HlocFiles.find(of_points)
    assert (found.model.name, found.features.name) == ("sfm_own", FEATURES)
    assert found.global_features is not None
    assert found.global_features.name == GLOBAL
    with pytest.raises(DatasetError, match=r"nowhere: no such folder; it should hold the outputs of hloc"):
        HlocFiles.find(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match=r"has no COLMAP model: name one with --sfm"):
        HlocFiles.find(tmp_path)
    for name in ("one.h5", "two.h5"):
        write_h5(tmp_path / name, {"a/b.png": {"keypoints": np.zeros((1, 2)), "descriptors": np.zeros((4, 1))}})
    with pytest.raises(DatasetError, match=r"more than one file of local features: one\.h5, two\.h5: .* --features"):
        HlocFiles.find(tmp_path, model=found.model)
    (tmp_path / "broken.h5").write_bytes(b"no")
    with pytest.raises(DatasetError, match=r"broken\.h5: is missing or no HDF5 file"):
        HlocFiles.find(tmp_path)


def test_the_package_that_reads_the_files_is_named(of_points: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match=r"needs h5py .*: pip install 'vizloc_ros\[hloc\]', or h5py"):
        HlocFiles.find(of_points)
