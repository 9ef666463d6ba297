"""Choice of the poses of a bag: those that there are only one of; several are named, and the user chooses."""

from dataclasses import replace

from vizloc_ros.bags.bag_camera import BagCamera
from vizloc_ros.bags.bag_options import own_ground_truth
from vizloc_ros.bags.pose_track import pose_topics, tf_track
from vizloc_ros.bags.reader import TF_TYPE, read_info
from vizloc_ros.errors import BagError


def with_found_poses(camera: BagCamera) -> BagCamera:
    """Camera with the poses of its options, its own ground truth, or the only trajectory of the bag; else without.

    Raises:
        BagError: the bag has several trajectories; the text names them.
    """
    options = camera.options
    if options.poses is not None or options.truth_topic:
        return camera
    topics = usable_pose_topics(camera)
    if own_ground_truth(topics, camera.topics.image) in topics or not topics:
        return camera
    if len(topics) > 1:
        raise BagError(
            f"{camera.bag}: it has poses on {len(topics)} topics: choose one with --truth-topic, or none: "
            f"{', '.join(topics)}"
        )
    return replace(camera, options=replace(options, truth_topic=topics[0]))


def usable_pose_topics(camera: BagCamera) -> list[str]:
    """Topics with a trajectory: of two messages at least, and of transforms that move the vehicle or the camera."""
    info = read_info(camera.bag)
    usable: list[str] = []
    for topic in pose_topics(info):
        if info.topics[topic].type_name != TF_TYPE:
            if info.topics[topic].count > 1:
                usable.append(topic)
            continue
        try:
            tf_track(camera.bag, topic, camera.options, camera.frame, camera.transforms)
        except BagError:
            continue
        usable.append(topic)
    return usable
