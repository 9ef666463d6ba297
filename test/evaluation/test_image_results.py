"""``images.npz``: it comes back as it was written, and its matches are those of the poses."""

from pathlib import Path

import numpy as np
import pytest
from pycolmap import Rigid3d

from vizloc_ros.bags.bag_options import BagOptions, parse_base_from_cam
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import DatasetError
from vizloc_ros.evaluation.image_results import IMAGES_FILE, ImageMatches, ImageResult, ImageResults
from vizloc_ros.evaluation.offline_localization import evaluate_localization
from vizloc_ros.geometry.poses import pose_error, pose_from_quaternion, transform_points
from vizloc_ros.mapping.visual_map import VisualMap


def moved(x: float) -> Rigid3d:
    return pose_from_quaternion(np.array([x, 2.0, -3.0]), np.array([0.5, -0.5, 0.5, 0.5]))


def test_it_comes_back_as_it_was_written(tmp_path: Path) -> None:
    matches = ImageMatches(np.array([[1, 2], [3.5, 4]], np.float32), np.array([7, -1], np.int32))
    images = [
        ImageResult("a/ä.png", 1_700_000_000_123_456_789, moved(1), moved(1.5), "TRACKING", "", matches),
        ImageResult("b.png", 5, None, None, "LOST", "the cost is too high"),
    ]
    ImageResults(Path("/maps/x"), {"dataset": "folder:y", "every": 2}, images).write(tmp_path / IMAGES_FILE)
    read = ImageResults.read(tmp_path / IMAGES_FILE)
    assert (read.map_path, read.source) == (Path("/maps/x"), {"dataset": "folder:y", "every": 2})
    first, second = read.images
    assert (first.name, first.stamp_ns, first.state, first.reason) == ("a/ä.png", images[0].stamp_ns, "TRACKING", "")
    assert first.truth is not None
    assert first.estimate is not None
    assert pose_error(first.truth, moved(1)) == pytest.approx((0, 0), abs=1e-6)
    assert pose_error(first.estimate, moved(1.5)) == pytest.approx((0, 0), abs=1e-6)
    assert first.matches.inliers.pixels.tolist() == [[1, 2]]
    assert first.matches.inliers.landmarks.tolist() == [7]
    assert first.matches.outliers.tolist() == [[3.5, 4]]
    assert (second.truth, second.estimate, second.reason) == (None, None, "the cost is too high")
    assert len(second.matches.pixels) == 0


def test_without_images_and_damaged(tmp_path: Path) -> None:
    path = tmp_path / IMAGES_FILE
    ImageResults(Path("/maps/x"), {}, []).write(path)
    assert ImageResults.read(path).images == []
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"x" * 50):
        path.write_bytes(damaged)
        with pytest.raises(DatasetError, match=r"images\.npz: cannot be read .*again"):
            ImageResults.read(path)
    path.unlink()
    with pytest.raises(DatasetError, match="cannot be read"):
        ImageResults.read(path)


def test_matches_of_a_localization_lie_where_the_pose_projects_their_landmarks(
    street: SyntheticStreet, street_map: VisualMap, tmp_path: Path
) -> None:
    records = street.records("query")[4:6]
    evaluate_localization(street_map, records, tmp_path, source={"dataset": street.name})
    read = ImageResults.read(tmp_path / IMAGES_FILE)
    assert read.map_path == street_map.folder
    assert read.source == {"dataset": street.name}
    assert [image.name for image in read.images] == [record.name for record in records]
    for image, record in zip(read.images, records, strict=True):
        assert image.estimate is not None
        inliers = image.matches.inliers
        assert len(inliers.pixels) >= 12
        positions = street_map.landmark_positions[inliers.landmarks].astype(np.float64)
        projected, _ = record.camera.project(transform_points(image.estimate.inverse(), positions))
        shift = street_map.info.intrinsics_correction(record.camera).shift(projected, record.camera)
        distances = np.linalg.norm(projected + shift - inliers.pixels, axis=1)
        assert distances.max() < 9
        assert np.median(distances) < 2


def test_choices_about_a_bag_come_back_from_texts(tmp_path: Path) -> None:
    assert BagOptions.of_texts(BagOptions().as_texts()) == BagOptions()
    pose = parse_base_from_cam("1 2 3 0.5 -0.5 0.5 -0.5")
    options = BagOptions("/cam", "/info", tmp_path / "c.yaml", "base", pose, "/odom", "imu", 0.25)
    read = BagOptions.of_texts(options.as_texts())
    assert read.base_from_cam is not None
    assert pose is not None
    assert pose_error(read.base_from_cam, pose) == pytest.approx((0, 0), abs=1e-6)
    without = [(o.image_topic, o.camera_info_topic, o.calibration, o.base_frame) for o in (read, options)]
    assert without[0] == without[1]
    assert (read.truth_topic, read.truth_frame, read.max_gap) == ("/odom", "imu", 0.25)


def test_states_of_a_replay_are_those_at_the_next_image() -> None:
    pytest.importorskip("rclpy")
    from vizloc_ros.replay.bag_replay import states_of_images

    changes = [(15, "NOT_LOCALIZED"), (31, "TRACKING"), (95, "LOST")]
    published = {1000: 10, 1100: 20, 1200: 30, 1300: 40, 1400: 50}
    found = {1000: "NOT_LOCALIZED", 1100: "NOT_LOCALIZED", 1200: "TRACKING", 1300: "TRACKING", 1400: "LOST"}
    assert states_of_images(changes, published) == found
    assert states_of_images([], published) == {}
    assert states_of_images(changes[1:], {1000: 10, 1100: 20}) == {1100: "LOST"}
