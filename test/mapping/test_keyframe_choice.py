"""Choice of keyframes: by distance and turn, without blurred and covered images, each camera for itself."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from cli_helpers import Vizloc
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.datasets.record import Mounting, Record
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.mapping.keyframe_choice import BLURRED, COVERED, NEAR, KeyframeOptions, choose_keyframes, image_quality
from vizloc_ros.mapping.visual_map import VisualMap

CAMERA = PinholeCamera(160, 120, 100.0, 100.0, 79.5, 59.5)
OPTIONS = KeyframeOptions(min_distance=1.0)


def picture(seed: int) -> np.ndarray:
    noise = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=(120, 160)), (0, 0), 1.0)
    return (128 + 50 * noise / noise.std()).clip(0, 255).astype(np.uint8)


def record(
    index: int, position: float, turn_deg: float = 0.0, camera: str = "", image: np.ndarray | None = None
) -> Record:
    shown = picture(index) if image is None else image
    pose = Rigid3d(Rotation3d(np.array([0, np.radians(turn_deg), 0])), np.array([position, 0, 0]))
    return Record(f"{camera}{index:03d}", index, CAMERA, "map", pose, lambda: shown, mounting=Mounting(camera))


def indices(records: Sequence[Record]) -> list[int]:
    return [kept.timestamp_ns for kept in records]


def test_without_a_distance_all_images_are_keyframes_and_none_is_read() -> None:
    def unread() -> np.ndarray:
        raise AssertionError("the image was read")

    unreadable = replace(record(0, 0), read_image=unread)
    chosen = choose_keyframes([unreadable] * 3, KeyframeOptions())
    assert (len(chosen.records), chosen.left_out) == (3, Counter())


def test_keyframes_are_a_distance_apart() -> None:
    chosen = choose_keyframes([record(i, 0.25 * i) for i in range(17)], OPTIONS)
    assert indices(chosen.records) == [0, 4, 8, 12, 16]
    assert chosen.left_out == {NEAR: 12}


def test_a_camera_that_stands_gives_one_and_one_that_turns_gives_more() -> None:
    standing = [record(i, 0.0) for i in range(9)]
    turning = [record(i, 0.0, 4.0 * (i - 8)) for i in range(9, 18)]
    assert indices(choose_keyframes(standing + turning, OPTIONS).records) == [0, 11, 14, 17]


def test_the_image_after_a_blurred_or_covered_one_takes_its_place() -> None:
    records = [record(i, 0.25 * i) for i in range(17)]
    blurred = cv2.GaussianBlur(picture(4), (0, 0), 4.0)
    covered = picture(8)
    covered[:, :100] = 30
    records[4], records[8] = record(4, 1.0, image=blurred), record(8, 2.0, image=covered)
    chosen = choose_keyframes(records, OPTIONS)
    assert indices(chosen.records) == [0, 5, 9, 13]
    assert (chosen.left_out[BLURRED], chosen.left_out[COVERED]) == (1, 0)
    any_image = OPTIONS.model_copy(update={"min_sharpness": 0.0, "max_covered": 1.0})
    assert indices(choose_keyframes(records, any_image).records) == [0, 4, 8, 12, 16]


def test_a_covered_image_is_told_from_one_without_much_texture() -> None:
    covered = picture(4)
    covered[:, :100] = 30
    plain = [record(i, float(i), image=np.full((120, 160), 90, np.uint8)) for i in range(9)]
    assert len(choose_keyframes(plain, OPTIONS).records) == 9  # a tunnel: its images are all the same
    records = [record(i, float(i)) for i in range(9)]
    records[4] = record(4, 4.0, image=covered)
    assert choose_keyframes(records, OPTIONS).left_out == {COVERED: 1}


def test_twice_the_distance_without_a_good_image_is_not_left_empty() -> None:
    blurred = cv2.GaussianBlur(picture(4), (0, 0), 4.0)
    records = [record(i, 0.5 * i, image=blurred if 2 <= i <= 6 else None) for i in range(24)]
    assert indices(choose_keyframes(records, OPTIONS).records)[:3] == [0, 4, 7]


def test_each_camera_has_its_own_keyframes() -> None:
    records = [record(i, 0.5 * i, camera=camera) for i in range(5) for camera in ("left", "right")]
    names = [kept.name for kept in choose_keyframes(records, OPTIONS).records]
    assert names == ["left000", "right000", "left002", "right002", "left004", "right004"]


def test_images_of_any_size_are_judged_alike() -> None:
    large = cv2.resize(picture(0), (1600, 1200), interpolation=cv2.INTER_CUBIC)
    small, of_large = (image_quality(record(0, 0, image=image)) for image in (cv2.resize(large, (320, 240)), large))
    assert of_large.sharpness == pytest.approx(small.sharpness, rel=0.3)


def test_the_command_chooses_and_says_so(vizloc: Vizloc, street_folder: Path, tmp_path: Path) -> None:
    arguments = ("--extractor", "rootsift", "--no-pixloc", "--keyframe-distance", 0.8, "--out", tmp_path / "map")
    ended = vizloc("map", "build", f"folder:{street_folder}", *arguments)
    assert ended.code == 0, ended.err
    assert "of 8 images are keyframes; the others:" in ended.out
    assert 3 <= VisualMap.open(tmp_path / "map").info.keyframes < 8
