"""VisualSFM models: poses by hand, and broken files."""

from pathlib import Path

import numpy as np
import pytest

from vizloc_ros.datasets.nvm import read_nvm
from vizloc_ros.errors import DatasetError

# 90 deg about y: cam_from_world turns the world's x (1, 0, 0) to the camera's -z.
HALF = "0.7071067811865476"
LINES = f"""NVM_V3 FixedK 400 500 400 508

2
./left/1.png\t400 {HALF} 0 {HALF} 0 5 6 7 0 0
my"photo.jpg 744.5 1 0 0 0 0 0 0 -0.05 0

1
1 2 3 255 255 255 1 0 0 10 20
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "all.nvm"
    path.write_text(text)
    return path


def test_poses_are_cam_from_world_with_camera_center(tmp_path: Path) -> None:
    left, photo = read_nvm(write(tmp_path, LINES))
    assert (left.name, left.focal, left.radial) == ("left/1.png", 400.0, 0.0)
    assert (photo.name, photo.focal, photo.radial) == ("my photo.jpg", 744.5, -0.05)
    # R (p - c) for p = c + (1, 0, 0): R of (w, y) = (h, h) takes x to -z.
    seen = left.world_from_cam.inverse() * np.array([6.0, 6.0, 7.0])
    np.testing.assert_allclose(seen, [0, 0, -1], atol=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "all.nvm:1: ''; a model of VisualSFM begins with NVM_V3"),
        ("ply\n", "all.nvm:1: 'ply'; a model of VisualSFM begins with NVM_V3"),
        ("NVM_V3\n\n0\n", "all.nvm:3: '0'; expected the number of images"),
        ("NVM_V3\n2\na.jpg 1 1 0 0 0 0 0 0 0 0\n", "1 images, but its header announces 2: the file is cut off"),
        ("NVM_V3\n1\na.jpg 1 1 0 0 0 0 0\n", "all.nvm:3: 8 fields; expected 'name focal qw"),
        ("NVM_V3\n1\na.jpg 1 2 0 0 0 0 0 0 0 0\n", "all.nvm:3: the quaternion qw qx qy qz has the norm 2"),
        ("NVM_V3\n1\na.jpg 0 1 0 0 0 0 0 0 0 0\n", "all.nvm:3: the focal length is 0 px"),
        (
            "NVM_V3\n2\na.jpg 1 1 0 0 0 0 0 0 0 0\na.jpg 1 1 0 0 0 0 0 0 0 0\n",
            "all.nvm:4: image 'a.jpg' is already in",
        ),
    ],
)
def test_broken_files_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DatasetError) as error:
        read_nvm(write(tmp_path, text))
    assert message in str(error.value)
