"""Reader of 12-Scenes: ``12scenes:.../apt1/kitchen``.

The folder of a scene holds:

* ``info.txt``: lines ``name = value``, with the size of the color images and their 4x4 intrinsics;
* ``split.txt``: lines ``sequence0 [frames=357] [start=0 ; end=356]``; the first sequence is the split "query", all
  others are "map";
* ``data/frame-000000.color.jpg`` and ``data/frame-000000.pose.txt``: a 4x4 matrix camera to world, or ``-1.#INF``
  where there is no pose. Depth images are not read.
"""

import re
from pathlib import Path

from pycolmap import Rigid3d

from vizloc_ros.datasets.listed import ListedDataset, ListedImage
from vizloc_ros.datasets.matrices import nearest_pose, parse_matrix
from vizloc_ros.datasets.parsing import parse_number, read_text
from vizloc_ros.datasets.specification import parse_specification, require_no_options
from vizloc_ros.errors import CameraError, DatasetError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.rectification import DistortedCamera
from vizloc_ros.timing import NANOSECONDS

_SEQUENCE = re.compile(r"sequence(\d+)\s*\[frames=\d+\]\s*\[start=(\d+)\s*;\s*end=(\d+)\]")
_SEQUENCE_TEXT = "sequence0 [frames=357] [start=0 ; end=356]"
_SIZE = ("m_colorWidth", "m_colorHeight")
_INTRINSICS = "m_calibrationColorIntrinsic"
_QUERY = 0  # number of the sequence
_RATE = 30  # images a second; there are no times


def open_twelve_scenes(spec: str) -> ListedDataset:
    """Open ``PATH``, the folder of a scene.

    Raises:
        DatasetError: a file is missing or malformed; the text names the file and the line.
    """
    where = f"12scenes:{spec}"
    folder, options = parse_specification(spec, "a scene of 12-Scenes, such as apt1/kitchen, with info.txt and data")
    require_no_options(options, (), where)
    lens = _read_camera(folder / "info.txt")
    parts: dict[str, list[ListedImage]] = {"map": [], "query": []}
    for sequence, frames, at in _read_split(folder / "split.txt"):
        images = [_image(folder, frame, lens, at) for frame in frames]
        if sequence == _QUERY:
            parts["query"] += images
        else:
            parts["map"] += [image for image in images if image.world_from_cam is not None]
    return ListedDataset(where, parts)


def _image(folder: Path, frame: int, lens: DistortedCamera, where: str) -> ListedImage:
    name = f"data/frame-{frame:06d}.color.jpg"
    pose = _read_pose(folder / f"data/frame-{frame:06d}.pose.txt")
    return ListedImage(folder / name, name, frame * NANOSECONDS // _RATE, lens, pose, where)


def _read_pose(path: Path) -> Rigid3d | None:
    text = read_text(path)
    return None if "INF" in text.upper() else nearest_pose(parse_matrix(text.split(), str(path), rows=4), str(path))


def _read_split(path: Path) -> list[tuple[int, range, str]]:
    """Read the number and frames of each sequence, and file and line, in order of the frames."""
    sequences: list[tuple[int, range, str]] = []
    for line, text in enumerate(read_text(path).splitlines(), start=1):
        if not text.strip():
            continue
        match = _SEQUENCE.match(text.strip())
        if match is None:
            raise DatasetError(f"{path}:{line}: {text.strip()!r}; expected a sequence as {_SEQUENCE_TEXT!r}")
        number, first, last = map(int, match.groups())
        sequences.append((number, range(first, last + 1), f"{path}:{line}"))
    if _QUERY not in {number for number, _, _ in sequences}:
        raise DatasetError(f"{path}: there is no sequence{_QUERY}, the queries; expected lines as {_SEQUENCE_TEXT!r}")
    return sorted(sequences, key=lambda sequence: sequence[1].start)


def _read_camera(path: Path) -> DistortedCamera:
    values = {key.strip(): value.split() for key, _, value in (t.partition("=") for t in read_text(path).splitlines())}
    missing = [key for key in (*_SIZE, _INTRINSICS) if not values.get(key)]
    if missing:
        raise DatasetError(f"{path}: there is no {', '.join(missing)}; expected lines 'name = value'")
    width, height = (parse_number(values[key][0], key, str(path)) for key in _SIZE)
    (fx, _, cx, _), (_, fy, cy, _), *_ = parse_matrix(values[_INTRINSICS], f"{path}: {_INTRINSICS}", rows=4).tolist()
    try:
        return DistortedCamera(PinholeCamera(int(width), int(height), fx, fy, cx, cy))
    except CameraError as error:
        raise DatasetError(f"{path}: {error}") from error
