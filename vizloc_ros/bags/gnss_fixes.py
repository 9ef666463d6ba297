"""Fixes of a GNSS receiver, of messages and in a bag."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vizloc_ros.bags.bag_messages import stamp_ns_of
from vizloc_ros.bags.reader import FIX_TYPE, read_info, read_messages
from vizloc_ros.datasets.record import GnssFix
from vizloc_ros.errors import BagError

_NO_FIX = -1  # status of NavSatStatus


def only_fix_topic(bag: Path, topic: str = "") -> str:
    """Topic of the fixes: the given one, or the only one. Raises ``BagError`` if there is no such topic, or several."""
    topics = read_info(bag).topics_of(FIX_TYPE)
    if (topic and topic not in topics) or not topics:
        there_are = ", ".join(topics) or "none"
        raise BagError(f"{bag}: no fixes on {topic or 'any topic'}; topics of NavSatFix: {there_are}")
    if not topic and len(topics) > 1:
        raise BagError(f"{bag}: several topics have fixes: {', '.join(topics)}; choose one with --topic")
    return topic or topics[0]


def fix_of_message(message: Any) -> GnssFix | None:
    """Fix of a NavSatFix; None if it has no position. The altitude may be missing: NaN."""
    latitude, longitude = float(message.latitude), float(message.longitude)
    if int(message.status.status) <= _NO_FIX or not (abs(latitude) <= 90 and abs(longitude) <= 180):
        return None
    variances = np.reshape(np.asarray(message.position_covariance, np.float64), (3, 3)).diagonal()
    known = message.position_covariance_type > 0 and bool(np.all(variances > 0))
    east, north, up = (float(value) for value in np.sqrt(variances)) if known else (0.0, 0.0, 0.0)
    std_m = (east, north, up) if known else None
    return GnssFix(stamp_ns_of(message.header), latitude, longitude, float(message.altitude), std_m)


def read_fixes(bag: Path, topic: str) -> list[GnssFix]:
    """Usable fixes of a topic in order of time: those with a position, and with an altitude if any of them has one.

    Without any altitude, all altitudes are 0. Raises ``BagError`` if the bag cannot be read.
    """
    fixes: dict[int, GnssFix] = {}
    for _, message in read_messages(bag, topic):
        if (fix := fix_of_message(message)) is not None:
            fixes[fix.timestamp_ns] = fix
    ordered = [fixes[stamp] for stamp in sorted(fixes)]
    whole = [fix for fix in ordered if np.isfinite(fix.altitude)]
    return whole or [replace(fix, altitude=0.0) for fix in ordered]
