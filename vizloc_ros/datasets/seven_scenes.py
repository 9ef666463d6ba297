"""Reader of 7-Scenes: ``7scenes:.../chess``.

The folder of a scene holds ``TrainSplit.txt`` (the split "map") and ``TestSplit.txt`` ("query"), lines ``sequence3``,
and the sequences: ``seq-03/frame-000000.color.png`` with ``seq-03/frame-000000.pose.txt``, a 4x4 matrix camera to
world. Depth images are not read.

The published calibration is that of the depth camera. As in hloc, PixLoc and DSAC*, the color camera has a focal length
of 525 px with its principal point in the middle of the image, and the poses are taken as its own.
"""

import re
from pathlib import Path

from vizloc_ros.datasets.listed import ListedDataset, ListedImage
from vizloc_ros.datasets.matrices import nearest_pose, parse_matrix
from vizloc_ros.datasets.parsing import numbered_rows, parse_number, read_text
from vizloc_ros.datasets.specification import parse_specification, require_no_options
from vizloc_ros.errors import CameraError, DatasetError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.rectification import DistortedCamera
from vizloc_ros.timing import NANOSECONDS

SPLITS = {"map": "TrainSplit.txt", "query": "TestSplit.txt"}
FOCAL = "525"
_SIZE = (640, 480)
_SEQUENCE = re.compile(r"sequence(\d+)")
_FRAME = re.compile(r"frame-(\d+)\.color\.png")
_RATE = 30  # images a second of a Kinect
_SEQUENCE_SECONDS = 1000  # from the begin of a sequence to that of the next; there are no times


def open_seven_scenes(spec: str) -> ListedDataset:
    """Open ``PATH[?focal=525]``, the folder of a scene.

    Raises:
        DatasetError: an option is invalid, or a file is missing or malformed; the text names the file and the line.
    """
    where = f"7scenes:{spec}"
    folder, options = parse_specification(spec, "a scene of 7-Scenes, such as chess, with TrainSplit.txt and seq-01")
    focal = parse_number(options.pop("focal", FOCAL), "focal", where)
    require_no_options(options, ("focal",), where)
    width, height = _SIZE
    try:
        lens = DistortedCamera(PinholeCamera(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2))
    except CameraError as error:
        raise DatasetError(f"{where}: {error}") from error
    parts = {split: _read_split(folder, file, lens) for split, file in SPLITS.items()}
    return ListedDataset(where, parts)


def _read_split(folder: Path, file: str, lens: DistortedCamera) -> list[ListedImage]:
    """Read the images of the sequences that a file lists, sequence by sequence."""
    path = folder / file
    sequences: dict[int, str] = {}
    for line, fields in numbered_rows(path):
        match = _SEQUENCE.fullmatch(fields[0])
        if match is None or len(fields) > 1:
            raise DatasetError(f"{path}:{line}: {' '.join(fields)!r}; expected the name of a sequence, as sequence3")
        sequences[int(match[1])] = f"{path}:{line}"
    if not sequences:
        raise DatasetError(f"{path}: there is no sequence in it; expected lines as sequence3")
    return [image for number in sorted(sequences) for image in _read_sequence(folder, number, sequences[number], lens)]


def _read_sequence(folder: Path, number: int, where: str, lens: DistortedCamera) -> list[ListedImage]:
    sequence = folder / f"seq-{number:02d}"
    frames = {int(match[1]): path for path in sequence.glob("frame-*") if (match := _FRAME.fullmatch(path.name))}
    if not frames:
        raise DatasetError(f"{where}: there is no {sequence}/frame-000000.color.png: unpack {sequence.name}.zip in it")
    images: list[ListedImage] = []
    for frame, path in sorted(frames.items()):
        poses = path.with_name(f"frame-{frame:06d}.pose.txt")
        pose = nearest_pose(parse_matrix(read_text(poses).split(), str(poses), rows=4), str(poses))
        stamp = number * _SEQUENCE_SECONDS * NANOSECONDS + frame * NANOSECONDS // _RATE
        images.append(ListedImage(path, f"{sequence.name}/{path.name}", stamp, lens, pose, where))
    return images
