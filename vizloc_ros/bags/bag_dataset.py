"""Reader of bags: ``bag:PATH?image_topic=/front/image&truth_topic=/odometry&map=0s-60s&query=60s-90s``.

PATH is a rosbag2, or a bag of ROS 1. The options are those of ``BagOptions``; what there is only one of is found by
itself. Lists with commas name several cameras: ``image_topic=/cam0/image,/cam1/image``.

The poses are those of a file, or of one topic: poses, transforms, or fixes of a GNSS receiver, interpolated to the
stamps of the images. ``time_offset=auto`` estimates by how much the clocks of poses and images differ.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np

from vizloc_ros.bags.bag_camera import BagCamera, open_camera
from vizloc_ros.bags.bag_options import BagOptions
from vizloc_ros.bags.clock_offset import estimate_offset
from vizloc_ros.bags.gnss_fixes import read_fixes
from vizloc_ros.bags.pose_choice import with_found_poses
from vizloc_ros.bags.reader import FIX_TYPE, read_info
from vizloc_ros.datasets.parsing import format_timestamp, parse_number
from vizloc_ros.datasets.record import GnssFix, Mounting, Record, unknown_split
from vizloc_ros.datasets.splits import splits_of_cameras
from vizloc_ros.errors import BagError, ConfigError, DatasetError
from vizloc_ros.timing import NANOSECONDS

_LOG = logging.getLogger(__name__)
OPTIONS = tuple(field.name for field in fields(BagOptions))
_NUMBERS = ("max_gap", "time_offset")
_EACH_CAMERA = ("image_topic", "camera_info_topic", "calibration", "truth_topic")
AUTO = "auto"


@dataclass(frozen=True)
class BagDataset:
    """Cameras of a bag; ``open_bag_dataset`` opens them.

    Attributes:
        name: ``bag:PATH?...`` that the dataset was opened with.
        cameras: the cameras.
        parts: records of each split, in order of time.
        notes: choices, and remarks about calibration and poses, which were also logged.
    """

    name: str
    cameras: tuple[BagCamera, ...]
    parts: Mapping[str, list[Record]]
    notes: tuple[str, ...]

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits: "all", "posed" if only some images have poses, and those of the specification.

        Without any in the specification, "map" are the images with poses and "query" all images.
        """
        return tuple(self.parts)

    def records(self, split: str) -> list[Record]:
        """Return the records of a split in order of time. Raises ``DatasetError`` if there is no such split."""
        if split not in self.parts:
            raise unknown_split(self.name, split, self.parts)
        return [replace(record, split=split) for record in self.parts[split]]

    def fixes(self, split: str) -> list[GnssFix]:
        """Return the fixes of the only GNSS receiver while a split was recorded; none without one, or of several.

        Raises:
            BagError: the bag cannot be read.
            DatasetError: there is no such split.
        """
        records = self.records(split)
        bag = self.cameras[0].bag
        topics = read_info(bag).topics_of(FIX_TYPE)
        if len(topics) != 1 or not records:
            return []
        first, last = records[0].timestamp_ns, records[-1].timestamp_ns
        return [fix for fix in read_fixes(bag, topics[0]) if first <= fix.timestamp_ns <= last]


def open_bag_dataset(spec: str) -> BagDataset:
    """Open ``PATH[?option=value&NAME=RANGE]``; ranges are those of ``splits_of_cameras``.

    Raises:
        CameraError: the calibration file cannot be used.
        DatasetError: an option is invalid, a choice is needed, or the bag cannot be read.
    """
    where = f"bag:{spec}"
    path, _, query = spec.partition("?")
    given = dict(parse_qsl(query, keep_blank_values=True))
    ranges = {name: text for name, text in given.items() if name not in OPTIONS}
    try:
        cameras = _open_cameras(Path(path), given, where)
        names = _camera_names(cameras)
        found = [camera.records(_mounting(camera, name)) for camera, name in zip(cameras, names, strict=True)]
    except (BagError, ConfigError) as error:
        raise DatasetError(_as_in_a_specification(str(error))) from error
    records = sorted(chain.from_iterable(found), key=lambda record: (record.timestamp_ns, record.name))
    for camera, part in zip(cameras, found, strict=True):
        _require_overlap(camera, part)
    parts = _parts(records, ranges, where)
    notes = list(dict.fromkeys(note for camera in cameras for note in _notes(camera)))
    for note in notes:
        _LOG.warning("%s: %s", path, note)
    return BagDataset(where, tuple(cameras), parts, tuple(notes))


def _open_cameras(bag: Path, given: Mapping[str, str], where: str) -> list[BagCamera]:
    lists = {name: given[name].split(",") for name in _EACH_CAMERA if given.get(name)}
    count = len(lists.get("image_topic", [""]))
    for name, values in lists.items():
        if len(values) not in (1, count):
            raise DatasetError(f"{where}: {name} names {len(values)} and image_topic {count}: give one, or as many")
    if count > 1 and given.get("base_from_cam"):
        raise DatasetError(f"{where}: base_from_cam is that of one camera; several need /tf_static")
    cameras: list[BagCamera] = []
    for index in range(count):
        own = {name: values[index if len(values) == count else 0] for name, values in lists.items()}
        cameras.append(with_found_poses(open_camera(bag, _parse_options({**given, **own}, where))))
    if given.get("time_offset") != AUTO:
        return cameras
    offset = estimate_offset(cameras[0])
    return [camera.with_offset(offset.seconds, offset.description) for camera in cameras]


def _require_overlap(camera: BagCamera, records: Sequence[Record]) -> None:
    """Raise ``DatasetError`` if there are poses, but none that an image could have."""
    stamps = camera.truth.trajectory.stamps_ns
    if not stamps or not records or any(record.world_from_cam is not None for record in records):
        return
    first, last = records[0].timestamp_ns, records[-1].timestamp_ns
    inside = [stamp for stamp in stamps if first <= stamp <= last]
    if len(inside) > 1:
        apart = float(np.median(np.diff(inside))) / NANOSECONDS
        cause = f"they are {apart:.2g} s apart, and max_gap={camera.options.max_gap:g}: raise it"
    else:
        cause = (
            f"they are from {format_timestamp(stamps[0])} to {format_timestamp(stamps[-1])} s, the images from "
            f"{format_timestamp(first)} to {format_timestamp(last)} s: give a time_offset"
        )
    topic = camera.truth.topic
    raise DatasetError(f"{camera.bag}: no image has one of the poses of {topic}; {cause}, or truth_topic=none")


def _notes(camera: BagCamera) -> list[str]:
    """Remarks for the user: what was chosen, which is not in the specification."""
    poses = f"poses: {camera.truth.description or 'none'}"
    return [f"camera: {camera.topics.image}", poses, *camera.notes, *camera.truth.notes]


def _parse_options(given: Mapping[str, str], where: str) -> BagOptions:
    texts = {name: text for name, text in given.items() if name in OPTIONS and text}
    if texts.get("time_offset") == AUTO:
        del texts["time_offset"]
    numbers = {name: str(parse_number(texts[name], name, where)) for name in _NUMBERS if name in texts}
    return BagOptions.of_texts(BagOptions().as_texts() | texts | numbers)


def _camera_names(cameras: Sequence[BagCamera]) -> list[str]:
    """Names of several cameras: their topics without what these have in common at the end. The only one has none."""
    if len(cameras) == 1:
        return [""]
    parts = [camera.topics.image.removesuffix("/compressed").strip("/").split("/") for camera in cameras]
    while all(len(part) > 1 for part in parts) and len({part[-1] for part in parts}) == 1:
        parts = [part[:-1] for part in parts]
    return ["_".join(part) for part in parts]


def _mounting(camera: BagCamera, name: str) -> Mounting:
    """Place of a camera on the vehicle, as far as the bag tells."""
    try:
        return Mounting(name, camera.frame_from_cam(camera.options.base_frame))
    except BagError:
        return Mounting(name)


def _parts(records: list[Record], ranges: Mapping[str, str], where: str) -> dict[str, list[Record]]:
    """Splits by their name, as ``splits_of_cameras``."""
    poses, stamps = [record.world_from_cam for record in records], [record.timestamp_ns for record in records]
    try:
        indices = splits_of_cameras(ranges, stamps, poses, [record.mounting.camera for record in records], where)
    except DatasetError as error:
        raise DatasetError(f"{error}. The other options are {', '.join(OPTIONS)}") from error
    parts = {name: [records[i] for i in chosen] for name, chosen in indices.items()}
    posed = _posed(records)
    if not ranges:
        parts |= {"map": records, "query": records}
    if "map" in parts:
        parts["map"] = _posed(parts["map"])
    return {"all": records, **({"posed": posed} if 0 < len(posed) < len(records) else {}), **parts}


def _posed(records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record.world_from_cam is not None]


def _as_in_a_specification(text: str) -> str:
    """Error of a bag with the options as they are written here: ``image_topic=`` for ``--image-topic``."""
    for name in OPTIONS:
        text = re.sub(f"--{name.replace('_', '-')}\\b", f"{name}=", text)
    return text
