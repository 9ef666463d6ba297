"""Submissions to visuallocalization.net: what is written for its datasets, and what the checker says."""

import re
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from cli_helpers import Vizloc
from pycolmap import Rigid3d, Rotation3d
from sfm_helpers import write_image, write_model

from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.synthetic import SyntheticStreet
from vizloc_ros.errors import DatasetError
from vizloc_ros.evaluation.report import write_results
from vizloc_ros.evaluation.submission import check_submission, query_names
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.readers import open_dataset

# The examples of the READMEs of Aachen Day-Night, RobotCar Seasons and CMU Seasons.
AACHEN = "IMG_20140520_182846.jpg 0.0043004 -0.00971127 0.0871046 0.996143 724.380999999999972 23.5118 180.934"
ROBOTCAR = (
    "rear/1417178853389469.jpg 0.655230866337965 -0.536609290501044 -0.340346549997501 -0.408516459863989 "
    "24.094399999999997 24.855200000000004 -120.244000000000028"
)
CMU = (
    "img_09070_c0_1283348561545968us_rect.jpg -0.158009106041571 -0.081811017681865 -0.696368150506469 "
    "0.695278150270886 1327.578981972849306 175.561682163729188 -789.162390047261056"
)
# Looks along the world's -x from (1, 2, 3): cam_from_world turns 90 degrees about y, and t = -R c = (-3, -2, 1).
H = 0.7071067811865476
POSE = Rigid3d(Rotation3d(np.array([0, H, 0, H])), np.array([-3.0, -2.0, 1.0])).inverse()
NIGHT, RAIN, REFERENCE = 1418235223450115, 1416908440149264, 1417176458999821


def robotcar_seasons(root: Path) -> str:
    """Version 2, whose list of queries names neither the condition nor the real end of a file."""
    blank = np.zeros((1024, 1024), np.uint8)
    for name in (f"overcast-reference/rear/{REFERENCE}", f"night/rear/{NIGHT}", f"night/left/{NIGHT}"):
        write_image(root / "images" / f"{name}.jpg", blank)
    write_image(root / "images" / f"rain/rear/{RAIN}.jpg", blank)
    for camera in ("left", "rear", "right"):
        (root / "intrinsics").mkdir(exist_ok=True)
        (root / "intrinsics" / f"{camera}_intrinsics.txt").write_text("fx 400\nfy 400\ncx 500\ncy 500\n")
    (root / "3D-models/all-merged").mkdir(parents=True)
    nvm = f"NVM_V3\n\n1\n./overcast-reference/rear/{REFERENCE}.png 400 1 0 0 0 0 0 0 0 0\n\n0\n"
    (root / "3D-models/all-merged/all.nvm").write_text(nvm)
    (root / "robotcar_v2_test.txt").write_text(f"rear/{NIGHT}.png\nrear/{RAIN}.png\nrear/1418755264041247.png\n")
    return f"robotcar-seasons:{root}"


def cmu_slice(root: Path, query: str) -> str:
    for name in ("database/img_00122_c0_1303398475046031us.jpg", f"query/{query}"):
        write_image(root / name, np.zeros((768, 1024), np.uint8))
    (root.parent / "intrinsics.txt").write_text("c0 OPENCV 1024 768 868 866 525 420 -0.39 0.18 0.0001 0.0005\n")
    pose = "img_00122_c0_1303398475046031us.jpg 1 0 0 0 0 0 0\n"
    (root / f"ground-truth-database-images-{root.name}.txt").write_text(pose)
    return f"cmu:{root}"


def aachen(root: Path, queries: list[Record]) -> str:
    """The layout of Aachen Day-Night v1.1 with two images of the synthetic street as queries."""
    write_image(root / "images_upright/db/1.jpg")
    c = queries[0].camera
    center = c.cx + 0.5, c.cy + 0.5  # COLMAP's
    camera = pycolmap.Camera(camera_id=1, model="PINHOLE", width=c.width, height=c.height, params=[c.fx, c.fy, *center])
    write_model(root / "3D-models/aachen_v_1_1", {"db/1.jpg": (camera, Rigid3d())})
    (root / "queries").mkdir()
    for time, query in zip(("day", "night"), queries, strict=True):
        name = f"query/{time}/milestone/{time}.jpg"
        write_image(root / "images_upright" / name, query.read_image())
        line = f"{name} PINHOLE {c.width} {c.height} {c.fx!r} {c.fy!r} {center[0]!r} {center[1]!r}\n"
        (root / f"queries/{time}_time_queries_with_intrinsics.txt").write_text(line)
    return f"aachen:{root}"


def test_the_examples_of_the_readmes_are_right(tmp_path: Path) -> None:
    for line in (AACHEN, ROBOTCAR, CMU):
        path = tmp_path / "poses.txt"
        path.write_text(f"{line}\n")
        found = check_submission(path, [line.split(" ")[0], "another.jpg"])
        assert found.as_dict() == {"num_queries": 2, "num_poses": 1, "num_missing": 1}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("a.jpg 1 0 0 0 1 2", r"poses.txt:1: 7 fields between single blanks; expected 8, 'name qw qx qy qz tx ty tz'"),
        ("a.jpg  1 0 0 0 1 2 3", "poses.txt:1: 9 fields"),
        ("", "poses.txt:1: 1 fields"),
        ("a.jpg 1 0 0 0.1 1 2 3", "poses.txt:1: the quaternion qw qx qy qz has the norm 1.005; it must be 1"),
        ("a.jpg 1 0 0 0 1 nan 3", "poses.txt:1: ty is 'nan'; it must be a finite number"),
        ("query/a.jpg 1 0 0 0 1 2 3", "poses.txt:1: 'query/a.jpg' is no query; write it as a.jpg"),
        ("c.jpg 1 0 0 0 1 2 3", "poses.txt:1: 'c.jpg' is no query; names are such as a.jpg"),
        ("a.jpg 1 0 0 0 1 2 3\na.png 1 0 0 0 1 2 3", "poses.txt:2: 'a.png' is already in line 1"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, lines: str, message: str) -> None:
    path = tmp_path / "poses.txt"
    path.write_text(f"{lines}\n")
    with pytest.raises(DatasetError, match=message):
        check_submission(path, ["a.jpg", "b.jpg"])


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "poses.txt").write_text("")
    with pytest.raises(DatasetError, match=r"poses.txt: there is no pose in it; expected lines 'name qw"):
        check_submission(tmp_path / "poses.txt", ["a.jpg"])


@pytest.mark.e2e
def test_robotcar_has_the_camera_before_the_name(vizloc: Vizloc, street_map: VisualMap, tmp_path: Path) -> None:
    spec, out = robotcar_seasons(tmp_path / "seasons"), tmp_path / "out"
    tested = open_dataset(spec).records("test")
    assert [record.name for record in tested] == [f"rain/rear/{RAIN}.jpg", f"night/rear/{NIGHT}.jpg"]
    queries = open_dataset(spec).records("query")
    write_results(out, queries, {queries[1].name: POSE}, street_map, {})
    (line,) = (out / "poses_visuallocalization.txt").read_text().splitlines()
    name, *values = line.split(" ")
    assert name == f"left/{NIGHT}.jpg"
    np.testing.assert_allclose(np.array(values, float), [H, 0, H, 0, -3, -2, 1], atol=1e-12)
    found = check_submission(out / "poses_visuallocalization.txt", query_names(queries, spec))
    assert found.missing == [f"rear/{RAIN}.jpg", f"rear/{NIGHT}.jpg"]
    ended = vizloc("evaluate", "submission", out / "poses_visuallocalization.txt", spec)
    assert ended.code == 0, ended.err
    assert re.search(r"missing by camera: rear\D+2\D", ended.out)
    refused = vizloc("evaluate", "submission", out / "poses_visuallocalization.txt", spec, "--split", "test")
    assert refused.code == 1
    assert f"'left/{NIGHT}.jpg' is no query; write it as rear/{NIGHT}.jpg" in refused.err.replace("\n", " ")


@pytest.mark.e2e
def test_slices_of_cmu_make_one_file(vizloc: Vizloc, street_map: VisualMap, tmp_path: Path) -> None:
    names = [f"img_0020{n}_c0_12833478795342{n}3us.jpg" for n in (2, 3)]
    specs = [cmu_slice(tmp_path / f"slice{n}", name) for n, name in zip((2, 3), names, strict=True)]
    merged = tmp_path / "CMU_eval_vizloc.txt"
    for spec in specs:
        records = open_dataset(spec).records("query")
        write_results(tmp_path / "out", records, {record.name: POSE for record in records}, street_map, {})
        text = (tmp_path / "out/poses_visuallocalization.txt").read_text()
        with merged.open("a") as file:
            file.write(text)
    assert [line.split(" ")[0] for line in merged.read_text().splitlines()] == names
    assert vizloc("evaluate", "submission", merged, *specs).code == 0
    assert vizloc("evaluate", "submission", merged, specs[0]).code == 1


@pytest.mark.e2e
def test_localized_queries_of_aachen_can_be_submitted(
    vizloc: Vizloc, street: SyntheticStreet, street_build: tuple[Path, object], tmp_path: Path
) -> None:
    spec = aachen(tmp_path / "aachen", street.records("query")[3:6:2])
    ended = vizloc("localize", street_build[0], spec, "--out", tmp_path / "out")
    assert ended.code == 0, ended.err
    lines = (tmp_path / "out/poses_visuallocalization.txt").read_text().splitlines()
    assert [line.split(" ")[0] for line in lines] == ["day.jpg", "night.jpg"]
    checked = vizloc("evaluate", "submission", tmp_path / "out/poses_visuallocalization.txt", spec)
    assert checked.code == 0, checked.err
    (truth,) = (record.world_from_cam for record in street.records("query")[3:4])
    values = np.array(lines[0].split(" ")[1:], float)
    rotation = Rotation3d(values[[1, 2, 3, 0]])
    center = -(rotation.matrix().T @ values[4:])
    np.testing.assert_allclose(center, truth.translation, atol=0.25)


def test_what_is_no_query_of_the_benchmark_is_refused(street: SyntheticStreet) -> None:
    with pytest.raises(
        DatasetError, match=r"synthetic:: query/000000 is no query of visuallocalization.net; readers of its"
    ):
        query_names(street.records("query")[:1], "synthetic:")
