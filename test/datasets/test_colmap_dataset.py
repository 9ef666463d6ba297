"""COLMAP reconstructions and MegaDepth's layout: what is read, and what is said when broken."""

from pathlib import Path

import cv2
import numpy as np
import pycolmap
import pytest
from geometry_helpers import seen_by
from sfm_helpers import SIZE, pattern, pose_of, posed, rays_of, same_pose, write_image, write_model

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.lenses import distorted_camera, undistorted_camera
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import CameraError, DatasetError, ImageError
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.rectification import rectified_camera
from vizloc_ros.mapping.builder import build_map
from vizloc_ros.readers import open_dataset

pytestmark = pytest.mark.e2e

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


@pytest.mark.parametrize("name", PARAMETERS)
def test_lenses_bend_as_colmap_bends_them(name: str) -> None:
    camera = pycolmap.Camera(model=name, width=640, height=480, params=PARAMETERS[name])
    distorted = distorted_camera(camera)
    rays = rays_of(rectified_camera(distorted))
    expected = camera.img_from_cam(rays) - 0.5  # COLMAP's corner of the image is (0, 0), ours (-0.5, -0.5)
    np.testing.assert_allclose(seen_by(distorted, rays), expected, atol=1e-6)


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


# One of every model that OpenCV lacks.
OTHER_PARAMETERS = {
    "FOV": [85, 80, 48, 32, 0.6],
    "THIN_PRISM_FISHEYE": [80, 82, 48, 32, 0.05, -0.02, 2e-3, -3e-3, 0, 0, 5e-3, -4e-3],
    "RAD_TAN_THIN_PRISM_FISHEYE": [80, 82, 48, 32, 0.05, -0.02, 0, 0, 0, 0, 2e-3, -3e-3, 5e-3, 0, -4e-3, 0],
    "SIMPLE_DIVISION": [80, 48, 32, -0.15],
    "DIVISION": [80, 82, 48, 32, -0.15],
    "EUCM": [80, 82, 48, 32, 0.6, 1.1],
}


@pytest.mark.parametrize("name", OTHER_PARAMETERS)
def test_lenses_that_opencv_lacks_are_rectified_as_colmap_bends_them(tmp_path: Path, name: str) -> None:
    camera = pycolmap.Camera(camera_id=1, model=name, width=96, height=64, params=OTHER_PARAMETERS[name])
    wide = PinholeCamera(192, 128, 80, 80, 95.5, 63.5)
    write_model(tmp_path, {"a.png": (camera, pose_of(1))})
    write_image(tmp_path / "images" / "a.png", seen_through(camera, wide, pattern(wide.size)))
    (record,) = open_dataset(f"colmap:{tmp_path}").records("all")
    x, y = np.meshgrid(np.arange(record.camera.width), np.arange(record.camera.height))
    pixels, _ = wide.project(record.camera.rays(np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)))
    maps = pixels.reshape(*x.shape, 2).astype(np.float32)
    expected = cv2.remap(pattern(wide.size), maps, None, cv2.INTER_CUBIC)
    inner = (slice(3, -3),) * 2
    difference = np.abs(record.read_image().astype(float) - expected)[inner]
    assert record.read_image().shape == x.shape
    assert difference.mean() < 1.5


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
        (
            "model=dense",
            r"scene/dense: no COLMAP reconstruction \(cameras, images, points3D.*: colmap:.*scene\?model=FOLDER",
        ),
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
    around = pycolmap.Camera(camera_id=5, model="EQUIRECTANGULAR", width=96, height=64, params=[96, 64])
    write_model(scene / "sparse" / "0", {"0.png": (around, pose_of(0))})
    with pytest.raises(
        DatasetError, match=r"sparse/0: camera 5 of image 0\.png: .*EQUIRECT.* too wide .* \(all=FILE\)"
    ):
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
