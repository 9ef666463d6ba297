"""Static transforms of a bag: from ``/tf_static``, one in a namespace, and from what never changes on ``/tf``."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.bags.reader import TF_TYPE, BagInfo, read_messages
from vizloc_ros.errors import BagError, RosError
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.geometry.transform_tree import TransformTree, frame_name, pose_of_fields
from vizloc_ros.wording import name_text

TF_STATIC = "/tf_static"
_STILL = (1e-4, 1e-3)  # m, deg; repeated transforms differ by rounding only


@dataclass(frozen=True)
class BagTransforms:
    """Static transforms of a bag.

    Attributes:
        own: those of ``/tf_static`` alone, which every node hears.
        all: also those of ``/NAMESPACE/tf_static`` and, as ROS 1 had them, those on ``/tf`` that never change.
        problems: transforms that cannot be used.
    """

    own: TransformTree
    all: TransformTree
    problems: tuple[str, ...]


def read_transforms(bag: Path, info: BagInfo) -> BagTransforms:
    """Read the static transforms of a bag. Raises ``BagError`` if the bag cannot be read."""
    own, everything, problems = TransformTree(), TransformTree(), dict[str, None]()
    topics = info.topics_of(TF_TYPE)
    moving = [topic for topic in topics if topic.rpartition("/")[2] == "tf"]
    static = [topic for topic in topics if topic.rpartition("/")[2] == "tf_static"]
    for topic in moving:
        _add(_unchanging(bag, topic), (everything,), problems)
    for topic in sorted(static, key=lambda name: name == TF_STATIC):  # /tf_static is the last and counts
        transforms = (transform for _, message in read_messages(bag, topic) for transform in message.transforms)
        _add(transforms, (own, everything) if topic == TF_STATIC else (everything,), problems)
    return BagTransforms(own, everything, tuple(problems))


def missing_transform(bag: Path, parent: str, frame: str, transforms: BagTransforms) -> BagError:
    """Error for a camera whose pose on the vehicle is not known, with the frames that could be the vehicle's."""
    connected = transforms.all.connected(frame)
    if not frame:
        remedy = "its images and camera_info have no frame_id: give the pose with --base-from-cam 'x y z qx qy qz qw'"
    elif connected:
        remedy = (
            f"the frames connected with it are {', '.join(connected)}: choose one with --base-frame, "
            "or with --truth-frame for the ground truth"
        )
    else:
        remedy = (
            "no transform of this frame is in the bag: record /tf_static, or give the pose of the camera on the "
            "vehicle with --base-from-cam 'x y z qx qy qz qw'"
        )
    problems = f" ({'; '.join(transforms.problems)})" if transforms.problems else ""
    return BagError(f"{bag}: /tf_static has no transform {parent} -> {name_text(frame)}; {remedy}{problems}")


def _add(transforms: Iterable[Any], trees: Iterable[TransformTree], problems: dict[str, None]) -> None:
    for transform in transforms:
        try:
            for tree in trees:
                tree.add(transform)
        except RosError as error:
            problems[str(error)] = None


def _unchanging(bag: Path, topic: str) -> list[Any]:
    """Transforms on ``/tf`` that were sent more than once and are always the same."""
    first: dict[tuple[str, str], tuple[Any, Rigid3d]] = {}
    repeated, moving = set[tuple[str, str]](), set[tuple[str, str]]()
    for _, message in read_messages(bag, topic):
        for transform in message.transforms:
            key = (frame_name(transform.header.frame_id), frame_name(transform.child_frame_id))
            if key in moving:
                continue
            try:
                pose = pose_of_fields(transform.transform.translation, transform.transform.rotation)
            except RosError:
                moving.add(key)
                continue
            if key not in first:
                first[key] = transform, pose
                continue
            repeated.add(key)
            if np.any(np.array(pose_error(first[key][1], pose)) > _STILL):
                moving.add(key)
    return [first[key][0] for key in first if key in repeated and key not in moving]
