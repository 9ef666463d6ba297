"""CMU Seasons, first version: a pose of VisualSFM and a pixel by hand, days as splits, and what is said when broken."""

from pathlib import Path

import numpy as np
import pytest
from reprojection import assert_seen_at_spot, spot
from sfm_helpers import pattern, posed, write_image

from vizloc_ros.errors import DatasetError
from vizloc_ros.readers import open_dataset

SIZE = (1024, 768)
H = 0.7071067811865476
MAPPED, OTHER = "img_00122_c0_1303398474779487us_rect.jpg", "img_00122_c1_1303398474779487us_rect.jpg"
SEPTEMBER, DECEMBER = "img_01555_c1_1283347879534213us_rect.jpg", "img_00100_c0_1292964000000000us_rect.jpg"
LIST = "query_lists/slice2.txt"
NVM = "3D-models/slice2.nvm"
C0, C1 = "PINHOLE 1024 768 868.99 866.06 525.94 420.04", "PINHOLE 1024 768 873.38 876.49 529.32 397.27"
# cam_from_world turns 90 degrees about y: (x, y, z) of the world becomes (z, y, -x). The camera is at (1, 2, 3).
SEEN = (1 - 2.0, 2 - 0.4, 3 + 0.8)  # in the camera (0.8, -0.4, 2): at (0.4, -0.2)
SPOT = (868.99 * 0.4 + 525.94 - 0.5, 866.06 * -0.2 + 420.04 - 0.5)  # the list's pixels are half a pixel larger


@pytest.fixture
def cmu(tmp_path: Path) -> Path:
    write_image(tmp_path / "images/slice2/database" / MAPPED, spot(SIZE, *SPOT))
    write_image(tmp_path / "images/slice2/database" / OTHER, pattern(SIZE))
    for name in (SEPTEMBER, DECEMBER):
        write_image(tmp_path / "images/slice2/query" / name, pattern(SIZE))
    for folder in ("3D-models", "query_lists"):
        (tmp_path / folder).mkdir()
    (tmp_path / LIST).write_text(f"query/{SEPTEMBER} {C1}\nquery/{DECEMBER} {C0}\n")
    (tmp_path / "query_lists/slice10.txt").write_text(f"query/{SEPTEMBER} {C1}\n")
    (tmp_path / NVM).write_text(
        f"NVM_V3\n\n2\ndatabase/{MAPPED} 868 {H} 0 {H} 0 1 2 3 0 0\ndatabase/{OTHER} 873 1 0 0 0 4 5 6 0 0\n\n0\n"
    )
    return tmp_path


def test_poses_and_pixels_are_those_of_the_model(cmu: Path) -> None:
    dataset = open_dataset(f"cmu-seasons:{cmu}?slice=2")
    assert tuple(dataset.splits) == ("map", "query", "2010-09-01", "2010-12-21")
    first, second = dataset.records("map")
    assert (first.name, first.timestamp_ns) == (f"database/{MAPPED}", 1303398474779487000)
    np.testing.assert_allclose(posed(first).translation, [1, 2, 3])
    np.testing.assert_allclose(posed(second).translation, [4, 5, 6])
    assert_seen_at_spot(first, SEEN)
    assert second.camera.cx == pytest.approx(528.82)
    (query,) = dataset.records("2010-12-21")
    assert (query.name, query.mounting.camera, query.world_from_cam) == (f"query/{DECEMBER}", "c0", None)


def test_one_camera(cmu: Path) -> None:
    dataset = open_dataset(f"cmu-seasons:{cmu}?slice=2&camera=c1")
    assert [record.name for record in dataset.records("map")] == [f"database/{OTHER}"]
    assert [record.name for record in dataset.records("query")] == [f"query/{SEPTEMBER}"]


@pytest.mark.parametrize(
    ("file", "text", "options", "message"),
    [
        (None, "", "", r"slice=; there is 2, 10"),
        (None, "", "?slice=3", r"slice=3; there is 2, 10"),
        (None, "", "?slice=2&camera=c2", r"camera=c2; there is c0, c1"),
        (None, "", "?slice=2&day=1", r"there is no option day; there is slice, camera"),
        (None, "", "?slice=10", r"images/slice10|3D-models/slice10.nvm: there is no such file"),
        (NVM, "", "?slice=2", r"slice2.nvm: there is no such file or folder: download the 3D models"),
        (LIST, f"query/{SEPTEMBER} {C1}\n", "?slice=2", r"slice2.nvm:4: .* is of camera c0, of which the list"),
        (
            LIST,
            f"query/photo.jpg {C1}\n",
            "?slice=2",
            r"slice2.txt: 'query/photo.jpg' is no image of CMU Seasons",
        ),
        (LIST, f"query/{SEPTEMBER} PINHOLE 1024\n", "?slice=2", r"slice2.txt:1: 3 values; expected 'image model"),
    ],
)
def test_what_is_wrong_is_named(cmu: Path, file: str | None, text: str, options: str, message: str) -> None:
    if file is not None:
        (cmu / file).unlink()
        if text:
            (cmu / file).write_text(text)
    with pytest.raises(DatasetError, match=message):
        open_dataset(f"cmu-seasons:{cmu}{options}")


def test_missing_images_are_named(cmu: Path) -> None:
    (cmu / "images/slice2/query" / SEPTEMBER).unlink()
    with pytest.raises(DatasetError, match=r"slice2.txt: there is no image .*: unpack images.zip again"):
        open_dataset(f"cmu-seasons:{cmu}?slice=2").records("query")
