"""Maps of a folder of pictures, without a calibration or poses: from the files to localized queries."""

import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from cli_helpers import Vizloc
from pycolmap import Rigid3d, Rotation3d
from sfm_helpers import posed

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.camera_info_yaml import read_camera_info
from vizloc_ros.datasets.exif import exif_focal_length
from vizloc_ros.datasets.record import Calibration, Record, pictures_of
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import DatasetError, MapError
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import pose_of
from vizloc_ros.geometry.similarity import align_poses
from vizloc_ros.mapping.check import map_problems
from vizloc_ros.mapping.rotated_views import rotated_view
from vizloc_ros.mapping.sfm_report import UNKNOWN_SCALE
from vizloc_ros.mapping.unposed_build import UnposedBuild, build_from_images
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.readers import open_dataset

COUNT = 9
FEW = {"max_keypoints": 700}
CAMERA = PinholeCamera(260, 240, 300.0, 300.0, 129.5, 119.5)


def side_view(record: Record, index: int) -> tuple[UInt8, Rigid3d]:
    """Picture, and its pose, of a camera that turns from left to right of the side of the street and back."""
    aside = Rotation3d(np.array([0.0, np.radians(25 + 15 * np.sin(1.5 * index)), 0.0]))
    homography = CAMERA.matrix @ aside.matrix().T @ np.linalg.inv(record.camera.matrix)
    image = cv2.warpPerspective(record.read_image(), homography, CAMERA.size, flags=cv2.INTER_CUBIC)
    return np.asarray(image, np.uint8), posed(record) * Rigid3d(aside, np.zeros(3))


@pytest.fixture(scope="module")
def pictures(street: SyntheticStreet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine pictures of a side of the street as files, and nothing else."""
    folder = tmp_path_factory.mktemp("pictures")
    for i, record in enumerate(street.records("map")[2 : 2 + 2 * COUNT : 2]):
        cv2.imwrite(str(folder / f"{i:02}.png"), side_view(record, i)[0])
    return folder


@pytest.fixture(scope="module")
def built(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, UnposedBuild]:
    """The map of these pictures."""
    out, dataset = tmp_path_factory.mktemp("from_images") / "map", open_dataset(f"images:{pictures}")
    records = pictures_of(dataset, "all")
    return out, build_from_images(records, open_extractor("rootsift", FEW), out, dataset=dataset.name)


def test_every_picture_gets_its_pose_up_to_a_similarity(
    built: tuple[Path, UnposedBuild], street: SyntheticStreet
) -> None:
    sfm = built[1].report.sfm
    assert sfm is not None
    assert (sfm.images, sfm.registered, sfm.unregistered, sfm.other_models) == (COUNT, COUNT, [], [])
    visual_map = VisualMap.open(built[0])
    truth = [side_view(record, i)[1] for i, record in enumerate(street.records("map")[2 : 2 + 2 * COUNT : 2])]
    poses = [pose_of(array) for array in visual_map.keyframe_poses]
    aligned = align_poses(truth, poses)
    assert aligned is not None
    errors = [np.linalg.norm(aligned.pose(p).translation - t.translation) for p, t in zip(poses, truth, strict=True)]
    assert np.median(errors) < 0.02, (errors, sfm.cameras)
    (camera,) = sfm.cameras
    assert camera.origin == "guessed"
    assert camera.focal_px == pytest.approx(CAMERA.fx, rel=0.03)
    assert camera.focal_std_px is not None
    assert 0 < camera.focal_std_px < 5


def test_the_map_says_that_its_scale_is_unknown_and_a_length_gives_it(
    built: tuple[Path, UnposedBuild], vizloc: Vizloc
) -> None:
    assert VisualMap.open(built[0]).info.scale == "unknown"
    assert built[1].report.median_depth_m == pytest.approx(10, rel=0.3)
    shown = vizloc("map", "info", built[0])
    assert shown.code == 0
    assert "│ scale" in shown.out
    assert "unknown" in shown.out
    assert UNKNOWN_SCALE[:40] in " ".join(shown.out.split())
    assert "wrong scale" not in shown.out
    assert vizloc("map", "check", built[0]).code == 0


def test_queries_are_localized_with_the_calibration_that_the_map_holds(
    built: tuple[Path, UnposedBuild], street: SyntheticStreet, vizloc: Vizloc, tmp_path: Path
) -> None:
    (tmp_path / "queries").mkdir()
    for i, record in enumerate(street.records("query")[4:7]):
        cv2.imwrite(str(tmp_path / "queries" / f"{i}.png"), side_view(record, i)[0])
    refused = vizloc("localize", built[0], f"images:{tmp_path / 'queries'}", "--split", "all", "--out", tmp_path / "a")
    assert refused.code == 1
    assert "has no calibration (its focal length is guessed): give camera=FILE" in refused.err
    (calibration,) = built[1].calibrations
    queries = f"images:{tmp_path / 'queries'}?camera={calibration}"
    ended = vizloc("localize", built[0], queries, "--split", "all", "--out", tmp_path / "b")
    assert ended.code == 0, ended.err
    assert len(np.loadtxt(tmp_path / "b" / "poses_tum.txt")) == 3
    again = open_dataset(VisualMap.open(built[0]).info.dataset).records("all")
    assert {record.camera for record in again} == set(VisualMap.open(built[0]).info.cameras)


def test_the_command_takes_the_scale_from_a_length(street_folder: Path, vizloc: Vizloc, tmp_path: Path) -> None:
    names = [record.name for record in open_dataset(f"folder:{street_folder}").records("map")]
    truth = [posed(record) for record in open_dataset(f"folder:{street_folder}").records("map")]
    length = float(np.linalg.norm(truth[0].translation - truth[-1].translation))
    (tmp_path / "few.yaml").write_text("max_keypoints: 700")
    ended = vizloc(
        *("map", "from-images", f"folder:{street_folder}", "--out", tmp_path / "map", "--extractor", "rootsift"),
        *(
            "--no-pixloc",
            "--extractor-config",
            tmp_path / "few.yaml",
            "--scale-from",
            f"{length}:{names[0]},{names[-1]}",
        ),
    )
    assert ended.code == 0, ended.err
    assert f"{len(names)} of {len(names)}" in ended.out
    assert "(known)" in ended.out
    assert "kB per keyframe, without references for the tracker" in ended.out
    assert cv2.imread(str(tmp_path / "map" / "trajectory.png")) is not None
    assert map_problems(tmp_path / "map") == []
    visual_map = VisualMap.open(tmp_path / "map")
    assert visual_map.info.scale == "metric"
    positions = visual_map.keyframe_poses[:, :3]
    assert np.linalg.norm(positions[-1] - positions[0]) == pytest.approx(length)
    steps, expected = (np.linalg.norm(np.diff(p, axis=0), axis=1) for p in (positions, [t.translation for t in truth]))
    assert steps == pytest.approx(expected, rel=0.1)


def noise(_: UInt8, index: int) -> UInt8:
    return np.random.default_rng(index).integers(0, 255, (250, 400), dtype=np.uint8)


@pytest.mark.parametrize(
    ("change", "count", "error", "reason"),
    [
        (lambda image, _: image, 2, DatasetError, "a map needs at least 3 images, this split has 2"),
        (noise, 4, MapError, "no two of the 4 images show the same place: of the 6 pairs, none has 30 matches"),
        (None, 4, MapError, "can begin a model: the camera only turns"),
    ],
    ids=["too few", "no overlap", "only turns"],
)
def test_images_without_a_model_are_refused_with_the_cause(
    street: SyntheticStreet,
    tmp_path: Path,
    change: Callable[[UInt8, int], UInt8] | None,
    count: int,
    error: type[Exception],
    reason: str,
) -> None:
    record = street.records("map")[0]
    for i in range(count):
        image = record.read_image()
        turned = rotated_view(image, record.camera, 4.0 * i) if change is None else change(image, i)
        cv2.imwrite(str(tmp_path / f"{i}.png"), turned)
    f = record.camera.fx
    dataset = open_dataset(f"images:{tmp_path}?focal={f}")
    with pytest.raises(error, match=reason):
        build_from_images(
            pictures_of(dataset, "all"), open_extractor("rootsift", FEW), tmp_path / "map", dataset=dataset.name
        )
    assert not (tmp_path / "map").exists()


def jpeg_with_focal_length(image: UInt8, millimeters: int) -> bytes:
    """A JPEG whose EXIF directory holds FocalLengthIn35mmFilm."""
    data = bytes(cv2.imencode(".jpg", image)[1])
    first = struct.pack(">IHHHII", 8, 1, 0x8769, 4, 1, 26) + bytes(4)
    tiff = b"MM\0*" + first + struct.pack(">HHHIHHI", 1, 0xA405, 3, 1, millimeters, 0, 0)
    segment = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


def test_the_focal_length_is_that_of_exif_or_of_the_option_or_a_guess(tmp_path: Path) -> None:
    image = np.zeros((300, 400), np.uint8)
    (tmp_path / "a.jpg").write_bytes(jpeg_with_focal_length(image, 35))
    cv2.imwrite(str(tmp_path / "b.jpg"), image)
    expected = 35 / 43.27 * 500
    assert exif_focal_length(tmp_path / "a.jpg", (400, 300)) == pytest.approx(expected)
    assert exif_focal_length(tmp_path / "b.jpg", (400, 300)) is None
    a, b = pictures_of(open_dataset(f"images:{tmp_path}"), "all")
    assert (a.camera.fx, a.calibration) == (pytest.approx(expected), Calibration.EXIF)
    assert (b.camera.fx, b.calibration) == (pytest.approx(480), Calibration.GUESSED)
    assert {r.camera.fx for r in pictures_of(open_dataset(f"images:{tmp_path}?focal=310"), "all")} == {310}


def test_a_folder_of_pictures_has_ranges_and_names_what_is_wrong(pictures: Path, tmp_path: Path) -> None:
    dataset = open_dataset(f"images:{pictures}?map=0-5&query=6-8")
    assert dataset.splits == ("all", "map", "query")
    assert [record.name for record in pictures_of(dataset, "query")] == ["06.png", "07.png", "08.png"]
    for spec, reason in (
        (str(tmp_path), "there is no picture in it"),
        (str(tmp_path / "none"), "no such folder; it should be a folder of pictures"),
        (f"{pictures}?map=0-9", "the sequence has the frames 0-8"),
        (f"{pictures}?focal=-1", "it must be a positive number of pixels"),
    ):
        with pytest.raises(DatasetError, match=reason):
            open_dataset(f"images:{spec}")


def test_a_written_calibration_is_read_again(built: tuple[Path, UnposedBuild]) -> None:
    (path,) = built[1].calibrations
    lens, sfm = read_camera_info(path), built[1].report.sfm
    assert sfm is not None
    assert lens.pinhole.fx == pytest.approx(sfm.cameras[0].focal_px)
    assert lens.distortion[0] == pytest.approx(sfm.cameras[0].radial)
