"""Choices about a bag: the topics of its camera, and what stands in for topics that it lacks."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.errors import ConfigError
from vizloc_ros.geometry.poses import array_of, pose_from_quaternion

GROUND_TRUTH = "/ground_truth/pose"
NONE = "none"  # of the topics that there may be
SLOWEST_RATE, FASTEST_RATE = 0.01, 100.0  # of playback; 1 is real time
_POSE = "'x y z qx qy qz qw'"


@dataclass(frozen=True)
class BagOptions:
    """Choices about a bag; by default all is found in the bag.

    Attributes:
        image_topic: topic of the images, raw or compressed; empty: the only camera's.
        camera_info_topic: topic of the calibration; empty: the one that fits the images.
        calibration: YAML file of camera_calibration, used instead of a camera_info.
        base_frame: frame of the vehicle.
        base_from_cam: pose of the camera's optical frame in ``base_frame``, used instead of ``/tf_static``.
        truth_topic: topic of the trajectory: of poses, transforms or GNSS fixes; empty: ``own_ground_truth`` of the
            images, if the bag has it; "none": no poses.
        truth_frame: frame whose pose the ground truth is; empty: the camera for ``.../ground_truth/pose``, for other
            topics the child frame of an Odometry, else ``base_frame``; the camera for ``poses``.
        max_gap: largest time between the two poses around an image [s].
        poses: file of the trajectory, used instead of a topic.
        map_frame: frame of the poses on ``/tf``; empty: map, odom, or the topmost.
        imu_topic: topic of the rotations of GNSS positions; empty: the only one with orientations; "none": they follow
            from the motion.
        time_offset: time by which poses are stamped later than images of the same moment [s].
    """

    image_topic: str = ""
    camera_info_topic: str = ""
    calibration: Path | None = None
    base_frame: str = "base_link"
    base_from_cam: Rigid3d | None = None
    truth_topic: str = ""
    truth_frame: str = ""
    max_gap: float = 0.5
    poses: Path | None = None
    map_frame: str = ""
    imu_topic: str = ""
    time_offset: float = 0.0

    def as_texts(self) -> dict[str, str]:
        """Fields as texts, for files; ``of_texts`` gives the options back."""
        pose = "" if self.base_from_cam is None else " ".join(map(repr, array_of(self.base_from_cam).tolist()))
        files = {"calibration": self.calibration, "poses": self.poses}
        texts = {field.name: str(getattr(self, field.name)) for field in fields(self)}
        paths = {name: "" if file is None else str(file.absolute()) for name, file in files.items()}
        return texts | {"base_from_cam": pose} | paths

    @classmethod
    def of_texts(cls, texts: Mapping[str, str]) -> "BagOptions":
        """Options of ``as_texts``."""
        return cls(
            **{name: texts[name] for name in ("image_topic", "camera_info_topic", "truth_topic", "truth_frame")},
            base_frame=texts["base_frame"],
            calibration=Path(texts["calibration"]) if texts["calibration"] else None,
            base_from_cam=parse_base_from_cam(texts["base_from_cam"]),
            max_gap=float(texts["max_gap"]),
            # Results of older versions lack these.
            poses=Path(texts["poses"]) if texts.get("poses") else None,
            map_frame=texts.get("map_frame", ""),
            imu_topic=texts.get("imu_topic", ""),
            time_offset=float(texts.get("time_offset", 0.0)),
        )


DEFAULT_OPTIONS = BagOptions()


def is_ground_truth(topic: str) -> bool:
    """Return whether a topic has the poses of a camera by its name: that of all cameras, or of one of several."""
    return topic.endswith(GROUND_TRUTH)


def own_ground_truth(topics: Collection[str], image: str) -> str:
    """Topic of the poses of a camera: ``/cam0/ground_truth/pose`` of ``/cam0/image``, else ``/ground_truth/pose``."""
    own = f"{image.removesuffix('/compressed').rpartition('/')[0]}{GROUND_TRUTH}"
    return own if own in topics else GROUND_TRUTH


def parse_base_from_cam(text: str) -> Rigid3d | None:
    """Parse ``x y z qx qy qz qw`` [m], separated by blanks or commas; None if empty.

    Raises:
        ConfigError: it is no pose.
    """
    if not text.strip():
        return None
    try:
        values = np.array([float(value) for value in text.replace(",", " ").split()])
    except ValueError:
        values = np.array([])
    if len(values) != 7 or not np.isfinite(values).all() or abs(np.linalg.norm(values[3:]) - 1) > 0.01:
        raise ConfigError(
            f"--base-from-cam {text!r}: give {_POSE}, the camera's optical frame in the base frame, "
            "in meters and with a unit quaternion"
        )
    return pose_from_quaternion(values[:3], values[3:])
