"""Nodes of a vehicle with several cameras in a launch file: an hfnet in the namespace of each, one of all others."""

from __future__ import annotations

from collections.abc import Sequence

from vizloc_ros.errors import ConfigError
from vizloc_ros.options import validated
from vizloc_ros.ros.node_options import HFNET, LOCALIZING, SHARED_TOPICS, TRACKER, LocalizerOptions, topic_of

IMAGES = ("image", "image/compressed", "camera_info")
_TF = ("/tf", "/tf_static")


def camera_names(argument: str) -> tuple[str, ...]:
    """Names of cameras in a launch argument, separated by commas; none for one camera without a namespace.

    Raises ``ConfigError`` for one that is no namespace.
    """
    names = tuple(name.strip() for name in argument.split(",")) if argument.strip() else ()
    return validated(LocalizerOptions, {"cameras": names}, "argument").cameras


def node_names(cameras: Sequence[str], *, tracking: bool) -> list[str]:
    """Names of the nodes, those of hfnet with the namespace of their camera."""
    others = [node for node in LOCALIZING if node != HFNET]
    return [*(topic_of(camera, HFNET) for camera in cameras or ("",)), *others, *([TRACKER] if tracking else [])]


def remappings_of(
    node: str, cameras: Sequence[str], given: Sequence[tuple[str, str]], namespace: str
) -> list[tuple[str, str]]:
    """Topics of a node.

    An hfnet of a camera takes the images in the namespace of that, and shares the map and the tracker's state with the
    nodes around. The tracker takes the images of all cameras. Those of the other nodes, for RViz, are the first one's.

    Args:
        node: name of the node, with the namespace of its camera.
        cameras: names of the cameras.
        given: topics that are given, for one camera or within the namespace of each.
        namespace: namespace of the nodes, absolute.

    Raises:
        ConfigError: there are several cameras, and an absolute topic of images.
    """
    if not cameras:
        return list(given)
    for name, topic in given:
        if name in IMAGES and topic.startswith("/"):
            raise ConfigError(
                f"{topic} is one topic for {len(cameras)} cameras: give a name within the namespace of each, such as "
                f"image_topic:={topic.rpartition('/')[2]} for /{cameras[0]}/{topic.rpartition('/')[2]}"
            )
    camera, _, _ = node.rpartition("/")
    if camera:
        around = {name: f"{namespace}/{topic}" for name, topic in given if name in _TF}
        shared = [(topic, f"{namespace}/{topic}") for topic in SHARED_TOPICS]
        return [*((name, around.get(name, topic)) for name, topic in given), *shared]
    images, others = [each for each in given if each[0] in IMAGES], [each for each in given if each[0] not in IMAGES]
    if node != TRACKER:
        return [*others, *((name, topic_of(cameras[0], topic)) for name, topic in images)]
    return [*others, *((topic_of(one, name), topic_of(one, topic)) for one in cameras for name, topic in images)]
