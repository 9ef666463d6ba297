"""Maps with checksums that fit and numbers that cannot be: named by file, row and value, and nothing falls over them.

``VIZLOC_EXAMPLES=2000 pytest test/mapping/test_sealed_maps.py -k any_change`` is the campaign; the default is a few.
"""

import os
import resource
import shutil
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli_helpers import Vizloc
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from sealed_maps import SealedMap, changes

from vizloc_ros.errors import MapError, VizlocError
from vizloc_ros.geometry.poses import pose_of
from vizloc_ros.localization.places import PlaceFinder
from vizloc_ros.mapping.check import map_problems
from vizloc_ros.mapping.keyframe_rolls import KeyframeRolls
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.pixloc.submap import SubmapSelector
from vizloc_ros.timing import Stopwatch

EXAMPLES = int(os.environ.get("VIZLOC_EXAMPLES", "40"))
LONGEST_S = 2.0  # of processor time
LARGEST_BYTES = 1 << 30


@pytest.fixture(scope="module")
def sealed_map(point_map: VisualMap, tmp_path_factory: pytest.TempPathFactory) -> SealedMap:
    return SealedMap(shutil.copytree(point_map.folder, tmp_path_factory.mktemp("sealed") / "map"))


@pytest.fixture
def sealed(sealed_map: SealedMap) -> SealedMap:
    sealed_map.restore()
    return sealed_map


def array(name: str, row: int, value: object) -> Callable[[SealedMap], None]:
    """Write a value into a row of an array."""

    def change(sealed: SealedMap) -> None:
        path = sealed.folder / f"{name}.npy"
        values = np.load(path)
        values[row] = value
        np.save(path, values)
        sealed.seal()

    return change


def described(*place: str | int, value: object) -> Callable[[SealedMap], None]:
    return lambda sealed: sealed.set_value(place, value)


WRONG_KEYFRAMES: dict[str, tuple[Callable[[SealedMap], None], str]] = {
    "zero quaternion": (array("keyframe_poses", 2, [1, 2, 3, 0, 0, 0, 0]), r"keyframe_poses\.npy: row 2: .*quaternion"),
    "long quaternion": (array("keyframe_poses", 2, [1, 2, 3, 0, 0, 0, 2]), r"keyframe_poses\.npy: row 2: .*quaternion"),
    "far pose": (array("keyframe_poses", 3, 1e300), r"keyframe_poses\.npy: row 3: \[1\.e\+300.*farther than 1e\+07 m"),
    "no pose": (array("keyframe_poses", 4, np.nan), r"keyframe_poses\.npy: row 4: .*nan.*is not finite"),
    "camera 99": (array("keyframe_cameras", 5, 99), r"keyframe_cameras\.npy: row 5: 99: is none of the 1 cameras"),
    "camera -1": (array("keyframe_cameras", 5, -1), r"keyframe_cameras\.npy: row 5: -1: is none of the 1 cameras"),
    "offset": (array("observation_offsets", 3, 10**9), r"observation_offsets\.npy: row 4: .*do not ascend"),
    "first offset": (array("observation_offsets", 0, -5), r"observation_offsets\.npy: row 0: -5: offsets do not"),
    "focal length": (described("cameras", 0, "fx", value=-1.0), r"map\.yaml: .*focal length is \(-1"),
    "focal length nan": (described("cameras", 0, "fx", value=float("nan")), r"map\.yaml: .*focal length is \(nan"),
    "image size": (described("cameras", 0, "width", value=10**60), r"map\.yaml: .*cameras\.0: has a size"),
    "no cameras": (described("cameras", value=[]), r"map\.yaml: cameras: List should have at least 1 item"),
    "no files": (described("files", value={}), r"map\.yaml: does not list keyframe_poses\.npy"),
    "file above": (described("files", value={"../x": {"bytes": 0, "sha256": ""}}), r"'\.\./x' is not the path of a"),
    "corrections": (described("camera_corrections", value=[]), ""),
    "more corrections": (
        described("camera_corrections", value=[{"focal": 0.0}, {"focal": 0.0}]),
        r"camera_corrections: has 2 of them for 1 cameras",
    ),
    "correction": (
        described("camera_corrections", 0, "cx", value=float("inf")),
        r"camera_corrections\.0: has a number",
    ),
    "keyframes": (described("keyframes", value=10**12), r"map\.yaml: keyframes: Input should be less than"),
    "levels": (described("pixloc", "dimensions", value=[0]), r"pixloc\.dimensions\.0: Input should be greater than"),
    "sessions": (
        described("sessions", value=[{"dataset": "a", "keyframes": 3, "added": ""}]),
        "sessions: have not the 12 keyframes",
    ),
    "georeference": (
        described("georeference", value={"world_from_map": [0, 0, 0, 0, 0, 0, 0]}),
        r"georeference\.world_from_map: its quaternion has the norm 0",
    ),
    "warnings": (described("build", "warnings", value=[{}]), r"build\.warnings: is no list of texts"),
    "other references": (described("pixloc", "observations", value="0" * 16), "the reference features are of other"),
}


@pytest.mark.parametrize("name", WRONG_KEYFRAMES)
def test_a_map_that_nobody_could_use_is_refused_when_it_is_opened(sealed: SealedMap, name: str) -> None:
    change, said = WRONG_KEYFRAMES[name]
    change(sealed)
    if not said:  # optional
        VisualMap.open(sealed.folder)
        return
    with pytest.raises(MapError, match=said) as error:
        VisualMap.open(sealed.folder)
    assert map_problems(sealed.folder) == [str(error.value)] or "does not list" in str(error.value)


WRONG_NUMBERS: dict[str, tuple[str, int, object, str]] = {
    "landmark": ("landmark_positions", 7, np.nan, r"row 7: \[nan nan nan\]: is not finite"),
    "far landmark": ("landmark_positions", 7, 1e30, r"row 7: .*farther than 1e\+07 m"),
    "seen landmark": ("observation_landmarks", 70, 2**31 - 1, r"row 70: 2147483647: names a landmark that is not"),
    "negative": ("observation_landmarks", 70, -1, r"row 70: -1: names a landmark that is not in the map"),
    "descriptor": ("global_descriptors", 1, 3.0, r"row 1: \[3\..*\]: is no unit vector"),
    "descriptor inf": ("global_descriptors", 1, np.inf, r"row 1: \[inf.*\]: is no unit vector"),
    "pixel": ("observation_pixels", 9, [-900, 3], r"row 9: \[-900\. +3\.\]: is not within 64 px of where keyframe 0"),
    "scale": ("pixloc_scales", 4, np.nan, r"row 4: \[nan nan\]: has a scale that is negative or not finite"),
    "confidence": (
        "pixloc_confidences",
        4,
        [0, 1.5],
        r"row 4: \[0\. +1\.5\]: has a confidence that is not from 0 to 1",
    ),
}


@pytest.mark.parametrize("name", WRONG_NUMBERS)
def test_numbers_that_cannot_be_are_named_with_file_row_and_value(sealed: SealedMap, name: str) -> None:
    file, row, value, said = WRONG_NUMBERS[name]
    array(file, row, value)(sealed)
    problems = "\n".join(map_problems(sealed.folder))
    assert problems.startswith(f"{sealed.folder / file}.npy: ")
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(problems)


def test_a_landmark_on_the_other_side_of_the_street_is_found(sealed: SealedMap) -> None:
    """Finite and in range, but not where the images show it."""
    positions = np.load(sealed.folder / "landmark_positions.npy")
    array("landmark_positions", 0, positions[0] + [0, 0, 30])(sealed)
    (problem,) = map_problems(sealed.folder)
    assert "observation_pixels.npy: row" in problem
    assert problem.endswith("sees landmark 0")


def test_a_map_says_what_it_is_for(sealed: SealedMap, point_map: VisualMap, vizloc: Vizloc) -> None:
    assert "whole, for localizer and tracker" in vizloc("map", "check", sealed.folder).out
    assert "whole, for localizer only" in vizloc("map", "check", point_map.folder).out


@pytest.mark.parametrize("kind", ["fifo", "zero"])
@pytest.mark.parametrize(
    "name", ["map.yaml", "keyframe_poses.npy", "observation_descriptors.npy", "keyframe_names.txt"]
)
def test_files_that_never_end_are_refused_at_once(sealed: SealedMap, name: str, kind: str) -> None:
    path = sealed.folder / name
    path.unlink()
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    for read in (VisualMap.open, lambda folder: [][len(map_problems(folder))]):
        with pytest.raises((MapError, IndexError), match=rf"{name}.*regular file|list index"):
            read(sealed.folder)


def test_a_huge_file_that_map_yaml_does_not_list_so_is_not_read(sealed: SealedMap) -> None:
    with (sealed.folder / "keyframe_names.txt").open("r+b") as file:
        file.truncate(20 << 30)  # sparse
    with pytest.raises(MapError, match=r"keyframe_names\.txt: .*has 21474836480 bytes, more than"):
        VisualMap.open(sealed.folder)
    (problem,) = map_problems(sealed.folder)
    assert "keyframe_names.txt: has 21474836480 bytes instead of" in problem


def use_as_nodes_do(visual_map: VisualMap) -> None:
    """Load the map as the nodes do, and answer a descriptor and a pose."""
    finder = PlaceFinder(visual_map)
    selector = SubmapSelector(visual_map) if visual_map.references is not None else None
    poses = [pose_of(row) for row in visual_map.keyframe_poses]
    KeyframeRolls(visual_map.keyframe_poses).roll_of(poses[0])
    with np.errstate(all="ignore"):
        finder.find(np.eye(1, visual_map.info.global_descriptor_size, dtype=np.float32)[0], Stopwatch())
        if selector is not None:
            selector.around(poses[0])


def refusal_of(folder: Path) -> VizlocError | None:
    """Error with which a map is refused, as it is opened or used."""
    try:
        visual_map = VisualMap.open(folder)
        use_as_nodes_do(visual_map)
        _ = visual_map.extractor
    except VizlocError as error:
        return error
    return None


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
@seed(1)
@given(st.data())
def test_any_change_is_named_or_harmless_in_time_and_memory(sealed_map: SealedMap, data: st.DataObject) -> None:
    sealed_map.restore()
    todo: list[tuple[str, tuple[Any, ...]]] = data.draw(changes(sealed_map))
    for name, arguments in todo:
        getattr(sealed_map, name)(*arguments)
    if todo[0][0] == "set_number":
        sealed_map.seal()
    started, largest = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        problems = map_problems(sealed_map.folder)
    refused = refusal_of(sealed_map.folder)
    assert problems or not isinstance(refused, MapError), f"the check has not found: {refused}"
    assert time.process_time() - started < LONGEST_S
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - largest  # other tests have run in this process
    assert grown * 1024 < LARGEST_BYTES


def test_the_changes_reach_all_of_a_map(sealed: SealedMap) -> None:
    """Or the test above could not fail."""
    assert len(sealed.arrays) == 13
    assert {place[0] for place in sealed.places} >= {"cameras", "pixloc", "files", "build", "extractor"}
    assert map_problems(sealed.folder) == []
    assert Path(sealed.folder / "map.yaml").is_file()
