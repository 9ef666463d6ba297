"""The map on disk: what is written is what is opened, and whatever is broken is named."""

import hashlib
import re
import shutil
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from point_street import CAMERA, PointStreet, View, write_point_map

from vizloc_ros.cli import main as cli
from vizloc_ros.errors import FeatureError, MapError
from vizloc_ros.features.rootsift import RootSift, RootSiftVlad
from vizloc_ros.geometry.poses import array_of
from vizloc_ros.mapping.check import check_map, map_problems
from vizloc_ros.mapping.map_format import FORMAT_VERSION, feature_number, read_info, write_info
from vizloc_ros.mapping.map_writer import MapContent
from vizloc_ros.mapping.visual_map import ARRAYS, VisualMap

pytestmark = pytest.mark.e2e

FILES = [
    *(f"{name}.npy" for name in ARRAYS),
    "keyframe_names.txt",
    "map.yaml",
    "extractor/vlad_mean.npy",
    "extractor/vlad_projection.npy",
    "extractor/vlad_words.npy",
    "sfm/cameras.bin",
    "sfm/frames.bin",
    "sfm/images.bin",
    "sfm/points3D.bin",
    "sfm/rigs.bin",
]


@pytest.fixture(scope="module")
def written(point_views: list[View], tmp_path_factory: pytest.TempPathFactory) -> tuple[MapContent, VisualMap]:
    folder = tmp_path_factory.mktemp("written") / "map"
    content, _ = write_point_map(point_views, folder)
    return content, VisualMap.open(folder)


@pytest.fixture
def broken(point_map: VisualMap, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(point_map.folder, tmp_path / "map"))


def check_exit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Exit code of ``vizloc map check``."""
    monkeypatch.setattr("sys.argv", ["vizloc", "map", "check", str(folder)])
    with pytest.raises(SystemExit) as exit_info:
        cli.main()
    return int(exit_info.value.code or 0)


def assert_named(
    folder: Path, file: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One problem, of this file, from the function as from the command."""
    (problem,) = map_problems(folder)
    assert problem.startswith(f"{folder / file}: ")
    assert message in problem
    with pytest.raises(MapError) as error:
        check_map(folder)
    assert str(error.value) == problem
    capsys.readouterr()
    assert check_exit(folder, monkeypatch) == 1
    assert f"error: {problem}\n" in capsys.readouterr().err


def test_a_map_holds_the_files_of_its_format_and_no_other(point_map: VisualMap) -> None:
    folder = point_map.folder
    found = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert found == sorted(FILES)
    assert sorted(point_map.info.files) == sorted(set(FILES) - {"map.yaml"})


def test_what_is_opened_is_what_was_written(written: tuple[MapContent, VisualMap]) -> None:
    content, opened = written
    seen, keyframes = content.triangulation, content.keyframes
    assert opened.keyframe_names == [k.name for k in keyframes]
    np.testing.assert_array_equal(opened.keyframe_poses, [array_of(k.map_from_cam) for k in keyframes])
    np.testing.assert_array_equal(opened.keyframe_stamps, [k.timestamp_ns for k in keyframes])
    assert [opened.info.cameras[c] for c in opened.keyframe_cameras] == [CAMERA] * len(keyframes)
    np.testing.assert_array_equal(opened.global_descriptors, [k.features.global_descriptor for k in keyframes])
    np.testing.assert_array_equal(opened.landmark_positions, seen.positions.astype(np.float32))
    for i, keyframe in enumerate(keyframes):
        rows, chosen = opened.observations_of(i), seen.keypoints[seen.keyframes == i]
        np.testing.assert_array_equal(opened.landmarks_of(i), seen.landmarks[seen.keyframes == i])
        np.testing.assert_array_equal(opened.observation_pixels[rows], keyframe.features.keypoints[chosen])
        np.testing.assert_array_equal(opened.observation_descriptors[rows], keyframe.features.descriptors[chosen])
    info = opened.info
    assert (info.keyframes, info.landmarks, info.observations) == (12, len(seen.positions), len(seen.landmarks))
    assert (info.dataset, info.frame, info.created) == ("points:", "map", "2024-05-17T12:00:00+00:00")
    assert opened.extractor.feature_id == content.extractor.feature_id


def test_two_cameras_keep_their_keyframes(tmp_path: Path) -> None:
    views = PointStreet(seed=3).views(6)
    other = replace(CAMERA, width=CAMERA.width + 10)
    for i in (1, 4):
        views[i] = replace(views[i], keyframe=replace(views[i].keyframe, camera=other))
    write_point_map(views, tmp_path / "map")
    opened = VisualMap.open(tmp_path / "map")
    assert opened.info.cameras == [CAMERA, other]
    assert opened.keyframe_cameras.tolist() == [0, 1, 0, 0, 1, 0]


def test_arrays_are_mapped_and_never_pickled(point_map: VisualMap) -> None:
    for name, (dtype, shape) in ARRAYS.items():
        array = getattr(point_map, name)
        small = name.startswith("keyframe_") or name == "observation_offsets"
        assert isinstance(array.base, np.memmap) != small, name
        assert not array.flags.writeable, name
        assert array.dtype == dtype
        assert array.shape == shape(point_map.info)
    for path in point_map.folder.rglob("*.npy"):
        assert np.load(path, allow_pickle=False).dtype != object


def test_a_pickled_array_is_refused(broken: Path) -> None:
    np.save(broken / "keyframe_stamps.npy", np.array([print, None], object), allow_pickle=True)
    with pytest.raises(MapError, match=r"keyframe_stamps\.npy: cut off or corrupt .*Python objects"):
        VisualMap.open(broken)


def test_a_whole_map_passes(broken: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert map_problems(broken) == []
    check_map(broken)
    assert check_exit(broken, monkeypatch) == 0
    assert "whole" in capsys.readouterr().out


@pytest.mark.parametrize("file", FILES)
def test_a_flipped_bit_is_found(
    broken: Path, file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = broken / file
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 0x04
    path.write_bytes(content)
    assert_named(broken, file, "", monkeypatch, capsys)


def test_a_flipped_bit_anywhere_in_the_description_is_found(broken: Path) -> None:
    path = broken / "map.yaml"
    content = path.read_bytes()
    for position in range(0, len(content), 41):
        for mask in (0x01, 0x80):
            changed = bytearray(content)
            changed[position] ^= mask
            path.write_bytes(changed)
            with pytest.raises(MapError, match=r"map\.yaml: "):
                read_info(broken)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("kept", [0.0, 0.6])
def test_a_file_that_was_cut_off_is_found(
    broken: Path, file: str, kept: float, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    content = (broken / file).read_bytes()
    (broken / file).write_bytes(content[: int(kept * len(content))])
    assert_named(broken, file, "", monkeypatch, capsys)
    if file.removesuffix(".npy") in ARRAYS or file == "map.yaml":
        with pytest.raises(MapError, match=file):
            VisualMap.open(broken)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_named(
    broken: Path, file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (broken / file).unlink()
    assert_named(broken, file, "missing", monkeypatch, capsys)


@pytest.fixture(scope="module")
def other_map(tmp_path_factory: pytest.TempPathFactory) -> VisualMap:
    """Another map with as many keyframes, and not one file the same."""
    folder = tmp_path_factory.mktemp("other") / "map"
    street = PointStreet(seed=8)
    views = [street.view(1 + 2.0 * i, noise_px=0.3, clutter=150) for i in range(12)]
    views[3] = replace(views[3], keyframe=replace(views[3].keyframe, camera=replace(CAMERA, width=650)))
    write_point_map(views, folder)
    return VisualMap.open(folder)


@pytest.mark.parametrize("file", [file for file in FILES if file != "map.yaml"])
def test_a_file_of_another_map_is_named(
    broken: Path,
    other_map: VisualMap,
    file: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also where its size fits."""
    shutil.copy(other_map.folder / file, broken / file)
    assert_named(broken, file, "of another map", monkeypatch, capsys)


def test_the_description_of_another_map_names_what_does_not_fit(broken: Path, other_map: VisualMap) -> None:
    shutil.copy(other_map.folder / "map.yaml", broken / "map.yaml")
    with pytest.raises(MapError, match="the file is of another map"):
        VisualMap.open(broken)
    named = {Path(problem.split(": ")[0]).name for problem in map_problems(broken)}
    assert {"landmark_positions.npy", "observation_landmarks.npy", "points3D.bin", "vlad_words.npy"} <= named
    with pytest.raises(MapError, match=r"\(and \d+ more: run 'vizloc map check'\)"):
        check_map(broken)


def test_every_broken_file_is_listed_once(
    broken: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (broken / "landmark_positions.npy").write_bytes(b"")
    (broken / "sfm" / "images.bin").unlink()
    problems = map_problems(broken)
    assert [Path(problem.split(": ")[0]).name for problem in problems] == ["landmark_positions.npy", "images.bin"]
    assert check_exit(broken, monkeypatch) == 1
    shown = capsys.readouterr().err
    assert all(problem in shown for problem in problems)


def rewrite(folder: Path, old: str, new: str) -> None:
    """Changes map.yaml as its own program would have: with a checksum that fits."""
    path = folder / "map.yaml"
    body = path.read_text().rpartition("checksum: ")[0]
    assert old in body
    info = yaml.safe_load(body.replace(old, new))
    text = yaml.safe_dump(info, sort_keys=False)
    path.write_text(f"{text}checksum: {hashlib.sha256(text.encode()).hexdigest()}\n")


@pytest.mark.parametrize("version", [FORMAT_VERSION - 1, FORMAT_VERSION + 1, 99])
def test_another_format_version_is_named(
    broken: Path, version: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rewrite(broken, f"format_version: {FORMAT_VERSION}", f"format_version: {version}")
    message = f"is of format version {version}, this program reads version {FORMAT_VERSION}: build the map again"
    assert_named(broken, "map.yaml", message, monkeypatch, capsys)
    with pytest.raises(MapError, match="format version"):
        VisualMap.open(broken)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("landmarks:", "landmark_count:", "landmarks: Field required"),
        ("keyframes: 12", "keyframes: 0", "keyframes: Input should be greater than or equal to 1"),
    ],
)
def test_a_description_that_says_nonsense_is_named(broken: Path, old: str, new: str, message: str) -> None:
    rewrite(broken, old, new)
    with pytest.raises(MapError, match=rf"map\.yaml: .*{message}"):
        read_info(broken)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words", "a: [1, 2", "\0\1\2", "name: something else\n"])
def test_a_file_that_is_no_description_is_named(broken: Path, text: str) -> None:
    (broken / "map.yaml").write_text(text)
    with pytest.raises(MapError, match=r"map\.yaml: "):
        read_info(broken)


def test_numbers_that_cannot_be_are_found_though_the_checksums_fit(broken: Path) -> None:
    """As a faulty program would write them."""
    positions = np.load(broken / "landmark_positions.npy")
    positions[3, 1] = np.nan
    np.save(broken / "landmark_positions.npy", positions)
    landmarks = np.load(broken / "observation_landmarks.npy")
    landmarks[5] = len(positions)
    np.save(broken / "observation_landmarks.npy", landmarks)
    info = read_info(broken)
    files = {name: type(file).of(broken / name) for name, file in info.files.items()}
    write_info(broken, info.model_copy(update={"files": files}))
    problems = "\n".join(map_problems(broken))
    assert re.search(r"landmark_positions\.npy: row 3: \[.*nan.*\]: is not finite", problems)
    assert re.search(r"observation_landmarks\.npy: row 5: \d+: names a landmark that is not in the map", problems)


def test_a_folder_that_is_no_map_is_named(tmp_path: Path) -> None:
    with pytest.raises(MapError, match=r"nowhere: there is no such map: build one"):
        VisualMap.open(tmp_path / "nowhere")
    with pytest.raises(MapError, match=r"map\.yaml: missing, so this folder is no map"):
        VisualMap.open(tmp_path)
    (problem,) = map_problems(tmp_path / "nowhere")
    assert "there is no such map" in problem


def test_features_of_another_kind_are_refused(point_map: VisualMap) -> None:
    own = point_map.info.extractor.feature_id
    assert feature_number(own) == zlib.crc32(own.encode()), "the number in messages is part of the interface"
    point_map.require_features(feature_number(own), "these")
    with pytest.raises(FeatureError, match=r"others are not of the map's kind \(rootsift-2048"):
        point_map.require_features(feature_number("rootsift-1+vlad"), "others")


def test_an_extractor_that_has_changed_since_is_refused(broken: Path) -> None:
    rewrite(broken, "max_keypoints: 2048", "max_keypoints: 1024")
    with pytest.raises(FeatureError, match=r"but the extractor here makes rootsift-1024-"):
        _ = VisualMap.open(broken).extractor


def test_the_extractor_of_a_map_describes_queries(point_map: VisualMap, point_views: list[View]) -> None:
    extractor = point_map.extractor
    assert isinstance(extractor, RootSiftVlad)
    assert extractor.rootsift == RootSift()
    described = extractor.describe(point_views[4].keyframe.features).global_descriptor
    np.testing.assert_allclose(described, point_map.global_descriptors[4], atol=1e-6)


def test_a_damaged_header_of_an_array_is_named_whatever_bit_it_is(point_map: VisualMap, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(point_map.folder, tmp_path / "map"))
    path = folder / "keyframe_poses.npy"
    whole = path.read_bytes()
    for position in range(90):
        for bit in (0, 3, 7):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            assert [problem.split(": ")[0] for problem in map_problems(folder)] == [str(path)]
