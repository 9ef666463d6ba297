"""Camera of a bag: its images in order of time, each with its calibration and, where known, its pose.

This is the one place where a bag becomes records: replays are evaluated with them, and posed folders written from them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from pycolmap import Rigid3d

from vizloc_ros.arrays import UInt8
from vizloc_ros.bags.bag_messages import stamp_ns_of
from vizloc_ros.bags.bag_options import DEFAULT_OPTIONS, BagOptions
from vizloc_ros.bags.bag_transforms import BagTransforms, missing_transform, read_transforms
from vizloc_ros.bags.camera_topics import CameraTopics, camera_topics
from vizloc_ros.bags.pose_track import PoseTrack, read_track
from vizloc_ros.bags.reader import MessageSource, read_info, read_messages
from vizloc_ros.datasets.camera_info_yaml import read_camera_info
from vizloc_ros.datasets.image_messages import ImageDecoder
from vizloc_ros.datasets.lenses import rectifier
from vizloc_ros.datasets.parsing import format_timestamp
from vizloc_ros.datasets.record import Mounting, RawImage, Record
from vizloc_ros.errors import BagError, CameraError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.camera_info import camera_frame, camera_of_message, first_camera, frame_difference
from vizloc_ros.geometry.rectification import DistortedCamera, rectified_camera
from vizloc_ros.geometry.transform_tree import frame_name
from vizloc_ros.timing import NANOSECONDS

UNSTAMPED = "without a stamp (header.stamp is zero): the camera driver must fill it in"
REPEATED = "with the stamp of another image"
NO_MOUNTING = Mounting()


@dataclass(frozen=True)
class Calibrations:
    """Calibrations of a camera by the time from which they hold [ns]; mostly one."""

    stamps: list[int]
    cameras: list[DistortedCamera]

    def at(self, stamp_ns: int, size: tuple[int, int] | None = None) -> DistortedCamera:
        """Latest calibration at a time [ns]; before the first one, that.

        With an image size (width, height), those of this size alone count, if there are any.
        """
        fitting = [i for i, camera in enumerate(self.cameras) if size is None or _is_of_size(camera, size)]
        fitting = fitting or list(range(len(self.cameras)))
        before = [i for i in fitting if self.stamps[i] <= stamp_ns]
        camera = self.cameras[before[-1] if before else fitting[0]]
        return camera if size is None else camera.of_size(size)


@dataclass(frozen=True)
class ImageIndex:
    """Images of a topic.

    Attributes:
        bag_times: times in the bag of the usable images by stamp, in order of stamps [ns].
        sizes: sizes (width, height) of the raw ones by stamp [px].
        left_out: number of images that cannot be used by reason.
        frame: frame of the first image that has one.
    """

    bag_times: dict[int, int]
    sizes: dict[int, tuple[int, int]]
    left_out: Counter[str]
    frame: str

    @property
    def num_images(self) -> int:
        """Number of all images, usable or not."""
        return len(self.bag_times) + self.left_out.total()


@dataclass(frozen=True)
class BagCamera:
    """Camera of a bag.

    Attributes:
        bag: the bag.
        options: choices that it was opened with.
        topics: topics of the camera.
        calibrations: calibrations of the raw images.
        index: its images.
        frame: frame of the camera: that of the images, or of camera_info where they have none.
        notes: remarks for the user, such as frames that differ.
    """

    bag: Path
    options: BagOptions
    topics: CameraTopics
    calibrations: Calibrations
    index: ImageIndex
    frame: str
    notes: tuple[str, ...]

    def with_offset(self, seconds: float, note: str) -> BagCamera:
        """Camera with another offset of the clock of its poses [s], and a remark about it."""
        return replace(self, options=replace(self.options, time_offset=seconds), notes=(*self.notes, note))

    @property
    def first_calibration(self) -> DistortedCamera:
        """Calibration of the first image."""
        return self.calibrations.cameras[0]

    @cached_property
    def transforms(self) -> BagTransforms:
        """Static transforms of the bag."""
        return read_transforms(self.bag, read_info(self.bag))

    def frame_from_cam(self, frame: str) -> Rigid3d:
        """Pose of the camera's optical frame in a frame of the vehicle. Raises ``BagError`` if it is not known."""
        options = self.options
        if options.base_from_cam is not None and frame_name(frame) == frame_name(options.base_frame):
            return options.base_from_cam
        if options.base_from_cam is not None and self.frame:
            frame_from_base = self.transforms.all.lookup(frame, options.base_frame)
            if frame_from_base is not None:
                return frame_from_base * options.base_from_cam
        found = self.transforms.all.lookup(frame, self.frame) if self.frame else None
        if found is None:
            raise missing_transform(self.bag, frame, self.frame, self.transforms)
        return found

    @property
    def is_transform_heard(self) -> bool:
        """True if the nodes get the camera's pose on the vehicle from the ``/tf_static`` of the bag as it is."""
        own = self.transforms.own.lookup(self.options.base_frame, self.frame) if self.frame else None
        return own is not None and self.options.base_from_cam is None

    @cached_property
    def truth(self) -> PoseTrack:
        """Poses world_from_frame, of the frame that the track names."""
        info = read_info(self.bag)
        return read_track(self.bag, info, self.options, self.topics.image, self.frame, lambda: self.transforms)

    @cached_property
    def _truth_from_cam(self) -> Rigid3d:
        is_camera = not self.truth.frame or frame_name(self.truth.frame) == frame_name(self.frame)
        return Rigid3d() if is_camera else self.frame_from_cam(self.truth.frame)

    def world_from_cam(self, stamp_ns: int) -> Rigid3d | None:
        """Pose of the camera at the stamp of an image [ns]; None if it is not known. Raises ``BagError`` as above."""
        return self.pose_at(stamp_ns + round(self.options.time_offset * NANOSECONDS))

    def pose_at(self, stamp_ns: int) -> Rigid3d | None:
        """Pose of the camera at a time of the clock of the poses [ns]; None if it is not known."""
        pose = self.truth.trajectory.at(stamp_ns)
        return None if pose is None else pose * self._truth_from_cam

    def images(self) -> Iterator[tuple[int, Any]]:
        """Yield (stamp [ns], message) of each usable image, in the order of the bag."""
        for bag_time, message in read_messages(self.bag, self.topics.image):
            if self.index.bag_times.get(stamp := stamp_ns_of(message.header)) == bag_time:
                yield stamp, message

    @cached_property
    def _reader(self) -> ImageReader:
        return ImageReader(self.bag, self.topics.image)

    def rectified(self, stamp_ns: int, message: Any) -> tuple[UInt8, PinholeCamera]:
        """Gray image (H, W) of a message without distortion, and its camera.

        Raises:
            CameraError: the calibration is of another image size, or cannot be used.
            ImageError: the image cannot be decoded.
        """
        gray = self._reader.decoder.gray(message)
        camera = rectifier(self.calibrations.at(stamp_ns, (gray.shape[1], gray.shape[0])))
        return camera.rectify(gray), camera.rectified

    def records(self, mounting: Mounting = NO_MOUNTING, split: str = "bag") -> list[Record]:
        """Records of the usable images in order of time, named by their stamp; an image is read when it is asked for.

        Args:
            mounting: place of the camera on the vehicle; with a name of the camera, this is the folder of the names.
            split: name of the split.

        Raises:
            BagError: the trajectory cannot be read, or is of a frame whose pose to the camera is not known.
        """
        folder = f"{mounting.camera}/" if mounting.camera else ""
        records: list[Record] = []
        for stamp, bag_time in self.index.bag_times.items():
            lens = self.calibrations.at(stamp, self.index.sizes.get(stamp))
            raw = RawImage(lens, partial(self._reader.raw, stamp, bag_time)) if lens.is_distorted else None
            records.append(
                Record(
                    name=f"{folder}{format_timestamp(stamp)}",
                    timestamp_ns=stamp,
                    camera=rectified_camera(lens),
                    split=split,
                    world_from_cam=self.world_from_cam(stamp),
                    read_image=partial(self._reader.rectified, stamp, bag_time, self.calibrations),
                    mounting=mounting,
                    raw=raw,
                )
            )
        return records


class ImageReader:
    """Images of a topic one by one: those of a bag together may not fit into memory.

    Attributes:
        decoder: decoder of all of them.
    """

    def __init__(self, bag: Path, topic: str) -> None:
        self.decoder = ImageDecoder(topic)
        self._bag, self._topic, self._messages = bag, topic, MessageSource(bag, topic)

    def __reduce__(self) -> tuple[type[ImageReader], tuple[Path, str]]:
        return ImageReader, (self._bag, self._topic)  # another process opens the bag for itself

    def raw(self, stamp_ns: int, bag_time_ns: int) -> UInt8:
        """Gray image (H, W) as recorded. Raises ``BagError``, ``ImageError`` if it cannot be read."""
        for message in self._messages.at(bag_time_ns):
            if stamp_ns_of(message.header) == stamp_ns:
                return self.decoder.gray(message)
        raise BagError(f"{self._bag}: the image of {format_timestamp(stamp_ns)} is gone")

    def rectified(self, stamp_ns: int, bag_time_ns: int, calibrations: Calibrations) -> UInt8:
        """Gray image (H, W) without distortion. Raises as ``raw``, and ``CameraError`` if it is of another size."""
        gray = self.raw(stamp_ns, bag_time_ns)
        return rectifier(calibrations.at(stamp_ns, (gray.shape[1], gray.shape[0]))).rectify(gray)


def open_camera(bag: Path, options: BagOptions = DEFAULT_OPTIONS) -> BagCamera:
    """Find the camera of a bag, its calibration and its images.

    Raises:
        BagError: the bag has no camera, or several; or its calibration is missing or cannot be used.
        CameraError: the calibration file cannot be used.
    """
    topics = camera_topics(bag, options)
    index = _index_images(bag, topics.image)
    notes: list[str] = []
    if options.calibration is not None:
        camera = read_camera_info(options.calibration)
        rectified_camera(camera)
        calibrations, info_frame = Calibrations([0], [camera]), index.frame
    else:
        calibrations, info_frame = _read_calibrations(bag, topics.camera_info)
        if difference := frame_difference(index.frame, info_frame):
            notes.append(difference)
    frame = camera_frame(index.frame, info_frame)
    return BagCamera(bag, options, topics, calibrations, index, frame, tuple(notes))


def _index_images(bag: Path, topic: str) -> ImageIndex:
    bag_times: dict[int, int] = {}
    sizes: dict[int, tuple[int, int]] = {}
    left_out: Counter[str] = Counter()
    frame = ""
    for bag_time, message in read_messages(bag, topic):
        stamp = stamp_ns_of(message.header)
        frame = frame or message.header.frame_id
        if stamp < 0 or (stamp == 0 and bag_times):  # a recording may begin at 0
            left_out[UNSTAMPED] += 1
        elif stamp in bag_times:
            left_out[REPEATED] += 1
        else:
            bag_times[stamp] = bag_time
            if hasattr(message, "encoding"):
                sizes[stamp] = int(message.width), int(message.height)
    return ImageIndex(dict(sorted(bag_times.items())), sizes, left_out, frame)


def _read_calibrations(bag: Path, topic: str) -> tuple[Calibrations, str]:
    """Read the calibrations of a topic, and the frame of the first one."""
    try:
        first, info = first_camera(message for _, message in read_messages(bag, topic))
        rectified_camera(first)
    except CameraError as error:
        raise BagError(f"{bag}: {topic}: {error}") from error
    stamps, cameras = [stamp_ns_of(info.header)], [first]
    for _, message in read_messages(bag, topic):
        with suppress(CameraError):  # the nodes name it, and use the next one
            if (camera := camera_of_message(message)) != cameras[-1]:
                rectified_camera(camera)
                stamps.append(stamp_ns_of(message.header))
                cameras.append(camera)
    return Calibrations(stamps, cameras), info.header.frame_id


def _is_of_size(camera: DistortedCamera, size: tuple[int, int]) -> bool:
    return camera.of_size(size).pinhole.size == size
