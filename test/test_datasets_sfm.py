"""COLMAP reconstructions, MegaDepth's layout and Extended CMU Seasons: what is read, and what is said when broken."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pycolmap
import pytest
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.lenses import distorted_camera, rectifier, undistorted_camera
from vizloc_ros.datasets.open import open_dataset
from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import CameraError, DatasetError, ImageError
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.mapping.builder import build_map

SIZE = (96, 64)
RADIAL = pycolmap.Camera(camera_id=3, model="SIMPLE_RADIAL", width=96, height=64, params=[80, 49, 31.5, -0.08])
# One of every model that can be rectified; focal lengths and coefficients as of real lenses, scaled to 640 x 480.
PARAMETERS = {
    "SIMPLE_PINHOLE": [500, 322, 238],
    "PINHOLE": [500, 505, 322, 238],
    "SIMPLE_RADIAL": [500, 322, 238, -0.1],
    "RADIAL": [500, 322, 238, -0.2, 0.05],
    "OPENCV": [500, 505, 322, 238, -0.2, 0.05, 1e-3, -5e-4],
    "FULL_OPENCV": [500, 505, 322, 238, 0.3, 0.1, 1e-3, -5e-4, 0.02, 0.5, 0.15, 0.03],
    "SIMPLE_FISHEYE": [400, 322, 238],
    "FISHEYE": [400, 404, 322, 238],
    "SIMPLE_RADIAL_FISHEYE": [400, 322, 238, 0.02],
    "RADIAL_FISHEYE": [400, 322, 238, 0.02, -0.01],
    "OPENCV_FISHEYE": [400, 404, 322, 238, 0.02, -0.01, 0.003, -0.001],
}


def pose_of(index: int) -> Rigid3d:
    """cam_from_world of an image of the tests."""
    return Rigid3d(Rotation3d(np.array([0.1, 0.2 * index, -0.3])), np.array([1.0, -2.0, 0.5 * index]))


def reconstruction(images: dict[str, tuple[pycolmap.Camera, Rigid3d]]) -> pycolmap.Reconstruction:
    """A model of named images with a camera and cam_from_world each."""
    model = pycolmap.Reconstruction()
    for image_id, (name, (camera, cam_from_world)) in enumerate(images.items(), start=1):
        if not model.exists_camera(camera.camera_id):
            model.add_camera_with_trivial_rig(camera)
        image = pycolmap.Image(name=name, camera_id=camera.camera_id, image_id=image_id)
        model.add_image_with_trivial_frame(image, cam_from_world)
    return model


def write_model(folder: Path, images: dict[str, tuple[pycolmap.Camera, Rigid3d]], binary: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    model = reconstruction(images)
    (model.write_binary if binary else model.write_text)(folder)


def pattern(size: tuple[int, int] = SIZE) -> UInt8:
    """A smooth image, so that resampling it twice changes little."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    return np.asarray(127 + 60 * np.sin(x / 5) + 60 * np.cos(y / 4), dtype=np.uint8)


def write_image(path: Path, image: UInt8 | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pattern() if image is None else image)


def posed(record: Record) -> Rigid3d:
    assert record.world_from_cam is not None
    return record.world_from_cam


def same_pose(a: Rigid3d, b: Rigid3d, atol: float = 1e-9) -> bool:
    return bool(np.allclose(a.matrix(), b.matrix(), atol=atol))


def rays_of(camera: PinholeCamera) -> np.ndarray:
    """Rays (N, 3) of a grid of pixels over the whole image."""
    columns, rows = np.meshgrid(np.linspace(0, camera.width - 1, 9), np.linspace(0, camera.height - 1, 7))
    return camera.rays(np.stack([columns.ravel(), rows.ravel()], axis=1))


@pytest.mark.parametrize("name", PARAMETERS)
def test_lenses_bend_as_colmap_bends_them(name: str) -> None:
    camera = pycolmap.Camera(model=name, width=640, height=480, params=PARAMETERS[name])
    lens = rectifier(distorted_camera(camera))
    rays = rays_of(lens.rectified)
    seen = camera.img_from_cam(rays) - 0.5  # COLMAP's corner of the image is (0, 0), ours (-0.5, -0.5)
    expected, _ = lens.rectified.project(rays)
    np.testing.assert_allclose(lens.undistort_pixels(seen), expected, atol=1e-3)


def test_a_lens_that_cannot_be_rectified_is_named() -> None:
    with pytest.raises(CameraError, match=r"model FOV cannot be rectified, only SIMPLE_PINHOLE.*image_undistorter"):
        distorted_camera(pycolmap.Camera(model="FOV", width=64, height=48, params=[50, 50, 32, 24, 0.9]))
    with pytest.raises(CameraError, match=r"has 5 parameters; OPENCV takes fx, fy"):
        distorted_camera(pycolmap.Camera(model="OPENCV", width=64, height=48, params=[50, 50, 32, 24, 0.9]))


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """Ten images of two cameras, written in no order: the odd ones are distorted."""
    root = tmp_path / "scene"
    pinhole = pycolmap.Camera(camera_id=8, model="PINHOLE", width=96, height=64, params=[80, 82, 48.5, 32])
    cameras = (pinhole, RADIAL)
    write_model(root / "sparse" / "0", {f"{i}.png": (cameras[i % 2], pose_of(i)) for i in (3, 1, 2, 0, *range(4, 10))})
    for i in range(10):
        write_image(root / "images" / f"{i}.png")
    return root


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "text"])
@pytest.mark.parametrize("folder", [".", "sparse", "sparse/0", "sparse/manhattan/0"])
def test_colmap_finds_its_model_and_yields_its_records(tmp_path: Path, folder: str, binary: bool) -> None:
    pinhole = pycolmap.Camera(camera_id=8, model="PINHOLE", width=96, height=64, params=[80, 82, 48.5, 32])
    write_model(tmp_path / folder, {f"a/{i}.png": (pinhole, pose_of(i)) for i in (2, 1)}, binary)
    for i in (1, 2):
        write_image(tmp_path / "images" / "a" / f"{i}.png")
    dataset = open_dataset(f"colmap:{tmp_path}")
    assert dataset.name == f"colmap:{tmp_path}"
    first, second = dataset.records("all")
    assert (first.name, first.timestamp_ns, first.split) == ("a/1.png", 0, "all")
    assert (second.name, second.timestamp_ns) == ("a/2.png", 10**9)
    assert first.camera == PinholeCamera(96, 64, 80, 82, 48, 31.5)
    assert same_pose(posed(first), pose_of(1).inverse())
    np.testing.assert_array_equal(first.read_image(), pattern())


def test_colmap_keeps_every_8th_image_for_queries(scene: Path) -> None:
    dataset = open_dataset(f"colmap:{scene}")
    assert tuple(dataset.splits) == ("all", "map", "query")
    assert [record.name for record in dataset.records("query")] == ["0.png", "8.png"]
    assert [record.name for record in dataset.records("map")] == [f"{i}.png" for i in (1, 2, 3, 4, 5, 6, 7, 9)]
    assert dataset.records("query")[1].timestamp_ns == 8 * 10**9


def test_colmap_takes_splits_from_lists_of_names(scene: Path) -> None:
    (scene / "list.txt").write_text("# chosen\n7.png\n\n2.png\n")
    dataset = open_dataset(f"colmap:{scene}?chosen=list.txt")
    assert tuple(dataset.splits) == ("all", "chosen")
    assert [record.name for record in dataset.records("chosen")] == ["2.png", "7.png"]


def test_colmap_scales_positions_to_metres(scene: Path) -> None:
    (true, *_), (scaled, *_) = (open_dataset(f"colmap:{scene}{o}").records("all") for o in ("", "?scale=2.5"))
    np.testing.assert_allclose(posed(scaled).translation, 2.5 * posed(true).translation)
    assert posed(scaled).rotation.angle_to(posed(true).rotation) < 1e-9


def seen_through(camera: pycolmap.Camera, pinhole: PinholeCamera, image: UInt8) -> UInt8:
    """The image a distorted camera takes where a pinhole camera took this one."""
    x, y = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
    rays = camera.cam_from_img(np.stack([x.ravel(), y.ravel()], axis=1) + 0.5)
    pixels = rays * [pinhole.fx, pinhole.fy] + [pinhole.cx, pinhole.cy]
    maps = np.asarray(pixels.reshape(camera.height, camera.width, 2), np.float32)
    return np.asarray(cv2.remap(image, maps, None, cv2.INTER_CUBIC), np.uint8)


def test_colmap_takes_distortion_out_of_images(tmp_path: Path) -> None:
    wide = PinholeCamera(192, 128, 80, 80, 95.5, 63.5)
    write_model(tmp_path, {"a.png": (RADIAL, pose_of(1))})
    write_image(tmp_path / "images" / "a.png", seen_through(RADIAL, wide, pattern(wide.size)))
    (record,) = open_dataset(f"colmap:{tmp_path}").records("all")
    assert record.camera.size == SIZE
    x, y = np.meshgrid(np.arange(96), np.arange(64))
    pixels, _ = wide.project(record.camera.rays(np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)))
    expected = cv2.remap(pattern(wide.size), pixels.reshape(64, 96, 2).astype(np.float32), None, cv2.INTER_CUBIC)
    difference = np.abs(record.read_image().astype(float) - expected)
    ignored = np.abs(pattern().astype(float) - expected)  # what a reader makes that takes the image as it is
    assert difference.mean() < 1.5
    assert ignored.mean() > 10 * difference.mean()


def megadepth(root: Path) -> tuple[Path, dict[str, PinholeCamera]]:
    """A scene as MegaDepth comes, with a camera an image, undistorted by COLMAP itself; and the cameras it made."""
    scene = root / "MegaDepth_v1_SfM" / "0015"
    images = {}
    for i in range(4):
        width, height = (200, 120) if i % 2 else (90, 160)
        params = [150 + i, width / 2, height / 2, -0.12 + 0.06 * i]
        camera = pycolmap.Camera(camera_id=i + 1, model="SIMPLE_RADIAL", width=width, height=height, params=params)
        images[f"{i}.jpg"] = camera, pose_of(i)
        write_image(scene / "images" / f"{i}.jpg", pattern((width, height)))
    write_model(scene / "sparse" / "manhattan" / "0", images)
    dense = root / "phoenix" / "S6" / "zl548" / "MegaDepth_v1" / "0015" / "dense0"
    options = pycolmap.UndistortCameraOptions(max_image_size=130)
    pycolmap.undistort_images(
        root / "dense", scene / "sparse" / "manhattan" / "0", scene / "images", undistort_options=options
    )
    dense.mkdir(parents=True)
    (root / "dense" / "images").rename(dense / "imgs")
    made = pycolmap.Reconstruction(root / "dense" / "sparse")
    return scene, {
        image.name: PinholeCamera(c.width, c.height, *(c.params - [0, 0, 0.5, 0.5]).tolist())
        for image in made.images.values()
        if (c := made.cameras[image.camera_id])
    }


def test_megadepth_as_it_was_photographed(tmp_path: Path) -> None:
    scene, _ = megadepth(tmp_path)
    records = open_dataset(f"colmap:{scene}").records("all")
    assert [record.camera.size for record in records] == [(90, 160), (200, 120)] * 2
    assert len({record.camera for record in records}) == 4
    for i, record in enumerate(records):
        assert same_pose(posed(record), pose_of(i).inverse())
        assert record.read_image().shape[1::-1] == record.camera.size


@pytest.mark.parametrize("place", ["beside", "within", "named"])
def test_megadepth_undistorted_has_the_cameras_that_colmap_made(tmp_path: Path, place: str) -> None:
    scene, cameras = megadepth(tmp_path)
    dense = tmp_path / "phoenix" / "S6" / "zl548" / "MegaDepth_v1" / "0015" / "dense0"
    (dense / "imgs" / "2.jpg").unlink()  # MegaDepth has only images whose depth is good
    option = f"?undistorted={dense}/imgs" if place == "named" else ""
    if place != "named":
        (scene / "images").rename(scene / "aside")
    if place == "within":
        dense.rename(scene / "dense0")
    records = open_dataset(f"colmap:{scene}{option}").records("all")
    assert [record.name for record in records] == ["0.jpg", "1.jpg", "3.jpg"]
    for record in records:
        made = cameras[record.name]
        assert record.camera.size == made.size
        np.testing.assert_allclose(record.camera.matrix, made.matrix, atol=1e-6)
        assert max(made.size) <= 130
        assert record.read_image().shape[1::-1] == made.size


def test_images_undistorted_by_another_rounding_keep_their_size() -> None:
    made, rounded = (undistorted_camera(RADIAL, (80, height)) for height in (51, 52))
    assert rounded == made.scaled(80, 52)
    with pytest.raises(CameraError, match=r"the image is 80x60 px, but COLMAP undistorts images of its camera to 80x"):
        undistorted_camera(RADIAL, (80, 60))


def test_a_map_is_built_from_a_distorted_reconstruction(street: SyntheticStreet, tmp_path: Path) -> None:
    records = street.records("map")[2:10]
    pinhole = records[0].camera
    params = [1.15 * pinhole.fx, pinhole.width / 2, pinhole.height / 2, -0.1]
    camera = pycolmap.Camera(
        camera_id=1, model="SIMPLE_RADIAL", width=pinhole.width, height=pinhole.height, params=params
    )
    images = {f"{i:06d}.png": (camera, posed(record).inverse()) for i, record in enumerate(records)}
    for name, record in zip(images, records, strict=True):
        write_image(tmp_path / "images" / name, seen_through(camera, pinhole, record.read_image()))
    write_model(tmp_path / "sparse", images, binary=False)
    dataset = open_dataset(f"colmap:{tmp_path}")
    report = build_map(dataset.records("all"), open_extractor("rootsift"), tmp_path / "map", dataset=dataset.name)
    assert report.keyframes == 8
    assert report.landmarks > 500
    assert report.mean_reprojection_error_px < 1
    assert not report.warnings


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("model=dense", r"scene/dense: no COLMAP reconstruction \(cameras, images, points3D.*model=FOLDER"),
        ("images=photos", r"scene/photos: no such folder of images; name it with images=FOLDER"),
        ("undistorted=photos", r"scene/photos: no such folder of images"),
        ("images=images&undistorted=images", r"images=images and undistorted=images: the images are one or the other"),
        ("scale=0", r"scale=0; it must be positive: metres per unit"),
        ("scale=big", r"scale is 'big', not a number"),
        ("modle=sparse", r"scene/sparse: no such file; modle=FILE gives the split .* options are model, images, undis"),
        ("mine=unknown.txt", r"unknown.txt:2: .*sparse/0 has no image '11.png' with a pose; expected one name a line"),
        ("mine=empty.txt", r"empty.txt: there is no image in it; expected one name a line"),
    ],
)
def test_colmap_options_are_checked(scene: Path, option: str, message: str) -> None:
    (scene / "unknown.txt").write_text("1.png\n11.png\n")
    (scene / "empty.txt").write_text("# nothing\n")
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"colmap:{scene}?{option}")


def test_colmap_names_what_is_missing(scene: Path) -> None:
    dataset = open_dataset(f"colmap:{scene}")
    with pytest.raises(DatasetError, match=r"has no split 'train'; there are: all, map, query"):
        dataset.records("train")
    (scene / "images" / "5.png").unlink()
    with pytest.raises(DatasetError, match=r"5\.png: no such image, but .*sparse/0 has it: name the folder"):
        dataset.records("map")
    assert len(dataset.records("query")) == 2
    (scene / "other").mkdir()
    with pytest.raises(DatasetError, match=r"other: none of the 10 images of the split 'all' is there"):
        open_dataset(f"colmap:{scene}?undistorted=other").records("all")
    with pytest.raises(DatasetError, match="nowhere: no such folder; it should hold a COLMAP reconstruction"):
        open_dataset("colmap:nowhere")
    (scene / "sparse" / "0" / "points3D.bin").unlink()
    with pytest.raises(DatasetError, match=r"scene/sparse, .*sparse/0, .*manhattan/0: no COLMAP reconstruction"):
        open_dataset(f"colmap:{scene}")


def test_colmap_says_which_camera_does_not_fit(scene: Path) -> None:
    with pytest.raises(DatasetError, match=r"camera 3 of image 1\.png: the image is 96x64 px, but COLMAP undistorts"):
        open_dataset(f"colmap:{scene}?undistorted=images").records("all")
    write_image(scene / "images" / "0.png", pattern((48, 32)))
    with pytest.raises(ImageError, match=r"0\.png: the image is 48x32 px but the calibration is for 96x64"):
        open_dataset(f"colmap:{scene}").records("query")[0].read_image()
    folded = pycolmap.Camera(camera_id=4, model="SIMPLE_RADIAL", width=96, height=64, params=[60, 48, 32, -0.9])
    write_model(scene / "sparse" / "0", {"0.png": (folded, pose_of(0))})
    with pytest.raises(DatasetError, match=r"camera 4 of image 0\.png: .*% of the rectified image empty or folded"):
        open_dataset(f"colmap:{scene}").records("all")
    fov = pycolmap.Camera(camera_id=5, model="FOV", width=96, height=64, params=[80, 80, 48, 32, 0.9])
    write_model(scene / "sparse" / "0", {"0.png": (fov, pose_of(0))})
    with pytest.raises(DatasetError, match=r"sparse/0: camera 5 of image 0\.png: the camera model FOV .* \(all=FILE\)"):
        open_dataset(f"colmap:{scene}").records("all")


@pytest.mark.parametrize("file", ["cameras", "images", "points3D"])
def test_an_empty_file_of_a_reconstruction_is_named(scene: Path, file: str) -> None:
    (scene / "sparse" / "0" / f"{file}.bin").write_bytes(b"")
    with pytest.raises(DatasetError, match=rf"sparse/0/{file}\.bin: the file is empty \(0 bytes\): copy it again"):
        open_dataset(f"colmap:{scene}")


@pytest.mark.parametrize(
    ("file", "content"), [("cameras", b"hello" * 50), ("rigs", b"hello" * 50), ("rigs", None)], ids=str
)
def test_a_broken_reconstruction_is_named(scene: Path, file: str, content: bytes | None) -> None:
    path = scene / "sparse" / "0" / f"{file}.bin"
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"sparse/0: COLMAP cannot read the reconstruction: .*; copy or export"):
        open_dataset(f"colmap:{scene}")


def test_a_reconstruction_without_images_or_cameras_is_named(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    write_model(tmp_path / "sparse", {})
    with pytest.raises(DatasetError, match=r"sparse: the reconstruction has no image with a pose"):
        open_dataset(f"colmap:{tmp_path}")
    for name, text in {"cameras": "1 PINHOLE 9 9 5 5 4 4\n", "images": "1 1 0 0 0 0 0 0 7 a.png\n\n"}.items():
        (tmp_path / f"{name}.txt").write_text(text)
    (tmp_path / "points3D.txt").touch()
    with pytest.raises(DatasetError, match=r"COLMAP cannot read the reconstruction: .*7"):
        open_dataset(f"colmap:{tmp_path}?model=.")


# The dataset's own intrinsics.txt, and the example of its README.
INTRINSICS = """# camera model width height fx fy cx cy k1 k2 p1 p2
c0 OPENCV 1024 768 868.993378 866.063001 525.942323 420.042529 -0.399431 0.188924 0.000153 0.000571
c1 OPENCV 1024 768 873.382641 876.489513 529.324138 397.272397 -0.397066 0.181925 0.000176 -0.000579
"""
POSE = "0.636779 0.569692 0.379586 -0.354792 -85.392177 55.210379 -2.980700"
LATER, EARLIER = "img_00122_c0_1303398475046031us.jpg", "img_00122_c1_1303398474779487us.jpg"
POSED, UNPOSED = "img_00200_c0_1283347879534213us.jpg", "img_00201_c1_1283347879634213us.jpg"


@pytest.fixture
def cmu(tmp_path: Path) -> Path:
    """A slice with two images of the reference drive and two of another, one of them posed."""
    folder = tmp_path / "slice22"
    image = cv2.resize(pattern(), (1024, 768))
    for name in (LATER, EARLIER):
        write_image(folder / "database" / name, image)
    for name in (POSED, UNPOSED):
        write_image(folder / "query" / name, image)
    (tmp_path / "intrinsics.txt").write_text(INTRINSICS)
    (folder / "ground-truth-database-images-slice22.txt").write_text(f"{LATER} {POSE}\n{EARLIER} {POSE}\n")
    (folder / "camera-poses").mkdir()
    (folder / "camera-poses" / "slice-22-10-09-01-c0.txt").write_text(f"{POSED} 1 0 0 0 1 2 3\n")
    (folder / "camera-poses" / "slice-22-10-09-01-c1.txt").touch()
    return folder


def test_cmu_yields_its_records(cmu: Path) -> None:
    dataset = open_dataset(f"cmu:{cmu}")
    assert dataset.name == f"cmu:{cmu}"
    assert tuple(dataset.splits) == ("map", "query", "posed")
    first, second = dataset.records("map")
    assert (first.name, first.split) == (f"database/{EARLIER}", "map")
    assert first.timestamp_ns == 1303398474779487000
    assert second.name == f"database/{LATER}"
    np.testing.assert_allclose(posed(second).translation, [-85.392177, 55.210379, -2.980700])
    w, x, y, z = 0.636779, 0.569692, 0.379586, -0.354792
    forward = [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]  # last row of cam_from_world
    np.testing.assert_allclose(posed(second).rotation.matrix()[:, 2], forward, atol=1e-5)
    assert [record.world_from_cam is None for record in dataset.records("query")] == [False, True]
    (query,) = dataset.records("posed")
    assert (query.name, query.split) == (f"query/{POSED}", "posed")
    assert same_pose(posed(query), Rigid3d(Rotation3d(), np.array([1.0, 2, 3])))


def test_cmu_images_are_rectified(cmu: Path) -> None:
    for record in open_dataset(f"cmu:{cmu}").records("map"):
        assert record.read_image().shape == (768, 1024)
    camera = pycolmap.Camera(
        model="OPENCV", width=1024, height=768, params=[float(f) for f in INTRINSICS.split()[17:25]]
    )
    (record,) = open_dataset(f"cmu:{cmu}?camera=c0").records("map")
    assert record.camera == rectifier(distorted_camera(camera)).rectified
    rays = rays_of(record.camera)
    seen = camera.img_from_cam(rays) - 0.5
    assert seen.min() > -1.5
    assert (seen < np.array([1024.5, 768.5])).all()  # the rectified view lies inside the image


def test_cmu_takes_one_camera(cmu: Path) -> None:
    dataset = open_dataset(f"cmu:{cmu}?camera=c1")
    assert tuple(dataset.splits) == ("map", "query")  # no query of this camera has a pose
    assert [record.name for record in dataset.records("map")] == [f"database/{EARLIER}"]
    assert [record.name for record in dataset.records("query")] == [f"query/{UNPOSED}"]


def test_cmu_slices_without_poses_of_queries_are_unposed(cmu: Path) -> None:
    for file in (cmu / "camera-poses").iterdir():
        file.write_text("")
    dataset = open_dataset(f"cmu:{cmu}")
    assert tuple(dataset.splits) == ("map", "query")
    assert all(record.world_from_cam is None for record in dataset.records("query"))


GROUND_TRUTH = "slice22/ground-truth-database-images-slice22.txt"


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        (GROUND_TRUTH, f"{LATER} 1 0 0 0 1 2\n", r"slice22.txt:1: 7 values; expected 'name qw qx qy qz cx cy cz'"),
        (GROUND_TRUTH, f"\n{LATER} 1 0 0 0 1 two 3\n", r"slice22.txt:2: cy is 'two', not a number"),
        (GROUND_TRUTH, f"{LATER} 1 0 1 0 1 2 3\n", r"slice22.txt:1: the quaternion qw qx qy qz has the norm 1.414"),
        (GROUND_TRUTH, f"{LATER} {POSE}\n" * 2, r"slice22.txt:2: image .* stands in .*slice22.txt:1 already"),
        (GROUND_TRUTH, f"photo.jpg {POSE}\n", r"slice22.txt:1: 'photo.jpg' is no image of Extended CMU Seasons; expec"),
        (GROUND_TRUTH, f"img_00001_c7_123us.jpg {POSE}\n", r"slice22.txt:1: .* camera c7; .*intrinsics.txt has c0, c1"),
        ("slice22/camera-poses/a.txt", f"{POSED} 1 0 0 0\n", r"camera-poses/a.txt:1: 5 values; expected 'name qw"),
        ("intrinsics.txt", "c0 OPENCV 1024 768\n", r"intrinsics.txt:1: 4 values; expected 'camera model width height"),
        ("intrinsics.txt", "c0 LENS 9 9 5 5 4 4\n", r"intrinsics.txt:1: the camera model 'LENS' is none of COLMAP's"),
        ("intrinsics.txt", "c0 OPENCV 9 9 5 5 4 4\n", r"intrinsics.txt:1: the camera has 4 parameters; OPENCV takes"),
        ("intrinsics.txt", "c0 PINHOLE 9 9 5 5 four 4\n", r"intrinsics.txt:1: a value is 'four', not a number"),
        ("intrinsics.txt", "c0 PINHOLE 9 -9 5 5 4 4\n", r"intrinsics.txt:1: the image size 9 x -9 is not in whole"),
        ("intrinsics.txt", "c0 PINHOLE 9 9 0 5 4 4\n", r"intrinsics.txt:1: the camera's focal length is \(0, 5\)"),
        ("intrinsics.txt", "# nothing\n", r"intrinsics.txt: there is no camera in it"),
    ],
)
def test_broken_cmu_files_are_named(cmu: Path, file: str, text: str, message: str) -> None:
    (cmu.parent / file).write_text(text)
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"cmu:{cmu}")


def without_intrinsics(folder: Path) -> None:
    (folder.parent / "intrinsics.txt").unlink()


def without_ground_truth(folder: Path) -> None:
    (folder.parent / GROUND_TRUTH).unlink()


def with_a_rectified_query(folder: Path) -> None:
    write_image(folder / "query" / POSED.replace(".jpg", "_rect.jpg"))


@pytest.mark.parametrize(
    ("damage", "options", "message"),
    [
        (without_intrinsics, "", r"intrinsics.txt: no such file; it is where the slices are downloaded from"),
        (without_ground_truth, "", r"slice22: 0 files ground-truth-database-images-sliceN.txt; .*unpack it again"),
        (with_a_rectified_query, "", r"us_rect.jpg' is no image of Extended CMU Seasons; expected img_NUMBER"),
        (lambda folder: None, "?camera=c2", r"camera=c2; .*intrinsics.txt has the cameras c0, c1"),
        (lambda folder: None, "?slice=3", r"there is no option slice; the only one is camera"),
    ],
)
def test_incomplete_cmu_slices_are_named(cmu: Path, damage: Callable[[Path], None], options: str, message: str) -> None:
    damage(cmu)
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"cmu:{cmu}{options}")


def test_cmu_names_what_is_missing(cmu: Path) -> None:
    dataset = open_dataset(f"cmu:{cmu}")
    with pytest.raises(DatasetError, match=r"has no split 'train'; there are: map, query, posed"):
        dataset.records("train")
    (cmu / "database" / EARLIER).unlink()
    with pytest.raises(DatasetError, match=r"slice22.txt:2: there is no image .*c1_1303398474779487us.jpg"):
        dataset.records("map")
    with pytest.raises(DatasetError, match="nowhere: no such folder; it should be a slice of Extended CMU Seasons"):
        open_dataset("cmu:nowhere")
