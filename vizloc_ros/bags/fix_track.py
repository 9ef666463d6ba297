"""GNSS fixes of a bag."""

from pathlib import Path

import numpy as np

from vizloc_ros.bags.bag_messages import stamp_ns_of
from vizloc_ros.bags.reader import read_info, read_messages
from vizloc_ros.datasets.record import GnssFix
from vizloc_ros.errors import BagError

FIX_TYPE = "sensor_msgs/msg/NavSatFix"
_NO_FIX = -1  # status of NavSatStatus


def read_fixes(path: Path, topic: str = "") -> list[GnssFix]:
    """Fixes of a bag in the order of the bag, without messages of a receiver that had none.

    Args:
        path: the bag.
        topic: topic of ``sensor_msgs/NavSatFix``; empty for the only one.

    Raises:
        BagError: the bag cannot be read, has no such topic or, without a name, several, or there is no fix on it.
    """
    topics = read_info(path).topics_of(FIX_TYPE)
    if (topic and topic not in topics) or not topics:
        raise BagError(
            f"{path}: no fixes on {topic or 'any topic'}; topics of NavSatFix: {', '.join(topics) or 'none'}"
        )
    if not topic and len(topics) > 1:
        raise BagError(f"{path}: several topics have fixes: {', '.join(topics)}; choose one with --topic")
    fixes = []
    for _, message in read_messages(path, topic or topics[0]):
        position = (float(message.latitude), float(message.longitude), float(message.altitude))
        if int(message.status.status) <= _NO_FIX or not np.isfinite(position).all():
            continue
        fixes.append(GnssFix(stamp_ns_of(message.header), *position))
    if not fixes:
        raise BagError(f"{path}: {topic or topics[0]} has no message of a receiver with a fix")
    return fixes
