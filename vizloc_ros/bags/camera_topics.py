"""Choice of the topics of one camera in a bag: its images and its calibration.

A camera is what one image topic shows, raw or compressed. Depth images, masks and our own debug images are none.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vizloc_ros.bags.bag_options import BagOptions
from vizloc_ros.bags.reader import IMAGE_TYPES, BagInfo, read_info, read_messages
from vizloc_ros.datasets.camera_info_yaml import read_camera_info
from vizloc_ros.datasets.image_messages import gray_from_compressed, is_depth
from vizloc_ros.errors import BagError, CameraError, ImageError
from vizloc_ros.geometry.camera_info import camera_of_message

CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
_COMPRESSED = "/compressed"
_NO_CAMERA_WORDS = ("confidence", "mask", "segmentation", "debug", "costmap")
_OTHER_IMAGES = ("theora_image_transport", "ffmpeg_image_transport", "foxglove_msgs", "stereo_msgs")


@dataclass(frozen=True)
class CameraTopics:
    """Topics of one camera.

    Attributes:
        image: topic of the images.
        is_compressed: whether they are ``sensor_msgs/CompressedImage``.
        camera_info: topic of the calibration; empty if it comes from a file.
    """

    image: str
    is_compressed: bool
    camera_info: str


def camera_topics(bag: Path, options: BagOptions) -> CameraTopics:
    """Choose the topics of one camera: those of the options, else those of the only camera that fits.

    Raises:
        BagError: there is none, or a choice is needed; the text lists the candidates and the option.
    """
    info = read_info(bag)
    image = _chosen_image(bag, info, options)
    is_compressed = info.topics[image].type_name == IMAGE_TYPES[1]
    if options.calibration is not None:
        return CameraTopics(image, is_compressed, "")
    return CameraTopics(image, is_compressed, _chosen_camera_info(bag, info, image, options.camera_info_topic))


def image_candidates(bag: Path, info: BagInfo | None = None) -> list[str]:
    """Image topics of a bag that may be a camera's, one for each camera; raw ones rather than equally many compressed.

    Raises:
        BagError: the bag cannot be read.
    """
    info = info or read_info(bag)
    images = [topic for topic in info.topics_of(*IMAGE_TYPES) if not _is_no_camera(bag, topic)]
    cameras: dict[str, str] = {}
    for topic in sorted(images):  # a raw topic comes before its compressed one
        name = topic.removesuffix(_COMPRESSED)
        if name not in cameras or info.topics[topic].count > info.topics[cameras[name]].count:
            cameras[name] = topic
    namespaces = {_namespace(name) for name in cameras if "rect" not in _last(name)}
    # image_proc's rectified images of the same camera: camera_info is that of the raw ones.
    return [topic for name, topic in cameras.items() if "rect" not in _last(name) or _namespace(name) not in namespaces]


def own_camera_info(topics: Collection[str], image: str) -> str:
    """Topic of the camera_info that belongs to an image topic by its name; empty if there is none."""
    name = image.removesuffix(_COMPRESSED)
    beside = f"{_namespace(name)}/camera_info"
    return next((topic for topic in (beside, f"{name}/camera_info", f"{name}_info") if topic in topics), "")


def _chosen_image(bag: Path, info: BagInfo, options: BagOptions) -> str:
    if options.image_topic:
        return _given_image(bag, info, options.image_topic)
    candidates = image_candidates(bag, info)
    infos = info.topics_of(CAMERA_INFO)
    fitting = candidates
    if options.calibration is not None:
        size = read_camera_info(options.calibration).pinhole.size
        fitting = [topic for topic in candidates if _image_size(bag, topic) in (size, None)]
    elif options.camera_info_topic:
        fitting = [topic for topic in candidates if own_camera_info([options.camera_info_topic], topic)]
    elif len(candidates) > 1:
        fitting = [topic for topic in candidates if own_camera_info(infos, topic)]
    fitting = fitting or candidates
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise BagError(f"{bag}: there is no camera's image in it{_what_there_is(bag, info)}")
    raise BagError(
        f"{bag}: it has images of {len(fitting)} cameras: choose one with --image-topic: {', '.join(fitting)}; "
        f"all of them are the dataset 'bag:{bag}?image_topic={','.join(fitting)}'"
    )


def _given_image(bag: Path, info: BagInfo, topic: str) -> str:
    for name in (topic, f"{topic}{_COMPRESSED}"):
        if name in info.topics and info.topics[name].count:
            if info.topics[name].type_name not in IMAGE_TYPES:
                raise BagError(
                    f"{bag}: --image-topic {topic} has the type {info.topics[name].type_name}; expected one of "
                    f"{', '.join(IMAGE_TYPES)}"
                )
            return name
    there_are = ", ".join(image_candidates(bag, info)) or "none"
    empty = "has no message" if topic in info.topics else "is not in it"
    raise BagError(f"{bag}: --image-topic {topic} {empty}; image topics: {there_are}")


def _chosen_camera_info(bag: Path, info: BagInfo, image: str, given: str) -> str:
    infos = info.topics_of(CAMERA_INFO)
    if given:
        if given not in infos:
            there_are = ", ".join(infos) or "none"
            raise BagError(f"{bag}: --camera-info-topic {given} has no camera_info; there are: {there_are}")
        return given
    if own := own_camera_info(infos, image):
        return own
    name = image.removesuffix(_COMPRESSED)
    where = f"{_namespace(name)}/camera_info"
    if not infos:
        raise BagError(
            f"{bag}: {image} needs its calibration on {where}, but the bag has no camera_info: record it, or give the "
            "YAML file of camera_calibration with --calibration"
        )
    first = _first(bag, image)
    fitting = [topic for topic in infos if _fits(bag, topic, _size_of(first))]
    if len(fitting) > 1:
        frame = first.header.frame_id.lstrip("/")
        fitting = [topic for topic in fitting if _first(bag, topic).header.frame_id.lstrip("/") == frame] or fitting
    if len(fitting) == 1:
        return fitting[0]
    raise BagError(
        f"{bag}: {image} needs its calibration on {where}; choose one with --camera-info-topic: "
        f"{', '.join(fitting or infos)}; or give a YAML file with --calibration"
    )


def _fits(bag: Path, info_topic: str, size: tuple[int, int] | None) -> bool:
    """Return true if a camera_info is that of images of a size [px]; one that cannot be read, by width and height."""
    info = _first(bag, info_topic)
    try:
        camera = camera_of_message(info)
    except CameraError:
        return size in (None, (info.width, info.height))
    return size is None or camera.of_size(size).pinhole.size == size


def _is_no_camera(bag: Path, topic: str) -> bool:
    """Return true if an image topic is known to show something else than a camera sees."""
    if any(word in part for part in topic.lower().split("/") for word in _NO_CAMERA_WORDS):
        return True
    first = _first(bag, topic)
    if first is None:
        return True
    # The name alone counts, too: depth images are also recorded as pictures of 8 bits.
    return is_depth(topic, first.encoding if hasattr(first, "encoding") else first.format) or is_depth(topic, "16UC1")


def _what_there_is(bag: Path, info: BagInfo) -> str:
    """End of the message that no image topic can be used: the topics that come near."""
    images: Sequence[str] = info.topics_of(*IMAGE_TYPES)
    if images:
        return f"; its image topics show something else: {', '.join(images)} (--image-topic takes one all the same)"
    packets = [
        f"{name} ({topic.type_name})"
        for name, topic in info.topics.items()
        if topic.type_name.startswith(_OTHER_IMAGES)
    ]
    if packets:
        return f": {', '.join(packets)} cannot be read; convert it with: ros2 run image_transport republish"
    return f"; topics: {', '.join(info.topics)}"


def _image_size(bag: Path, topic: str) -> tuple[int, int] | None:
    first = _first(bag, topic)
    return None if first is None else _size_of(first)


def _size_of(message: Any) -> tuple[int, int] | None:
    """Width and height of an image message [px]; None if it cannot be decoded."""
    if hasattr(message, "encoding"):
        return int(message.width), int(message.height)
    try:
        height, width = gray_from_compressed(message).shape
    except ImageError:
        return None
    return width, height


def _first(bag: Path, topic: str) -> Any:
    messages: Iterable[tuple[int, Any]] = read_messages(bag, topic)
    return next((message for _, message in messages), None)


def _namespace(topic: str) -> str:
    return topic.rpartition("/")[0]


def _last(topic: str) -> str:
    return topic.rpartition("/")[2]
