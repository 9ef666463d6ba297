"""Priors that the tracker's node is given: those of images that it has had, and later ones when it has them."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from geometry_msgs.msg import PoseWithCovarianceStamped
from pycolmap import Rigid3d
from ros_helpers import ros_nodes

from vizloc_ros.nodes.tracker_priors import TrackerPriors
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.ros.diagnostics import Diagnostics
from vizloc_ros.ros.messages import header_of, pose_with_covariance_to_msg

pytestmark = pytest.mark.ros
PERIOD = 100_000_000  # ns


class OfferedStamps(Tracker):
    """Tracker that notes the stamps of the priors that it is offered, as numbers of images."""

    def __init__(self) -> None:
        self.stamps: list[int] = []

    def offer_prior(self, map_from_cam: Rigid3d, stamp_ns: int, *std: float, **how: Any) -> bool:
        self.stamps.append(stamp_ns // PERIOD)
        return True

    def reset(self) -> None:
        self.stamps.clear()


@pytest.fixture(scope="module")
def diagnostics() -> Iterator[Diagnostics]:
    with ros_nodes("pixloc_tracker") as (node,):
        yield Diagnostics(node, "tracking", period_s=3600.0, monotonic=time.monotonic)


def localization(image: int) -> PoseWithCovarianceStamped:
    return pose_with_covariance_to_msg(Rigid3d(), 1e-4 * np.eye(6), header_of(image * PERIOD, "map"))


def test_the_pose_of_a_later_image_waits_for_it(diagnostics: Diagnostics) -> None:
    """The tracker is slower than the localizer for a while: it must not begin where the camera will be."""
    priors, tracker = TrackerPriors(diagnostics), OfferedStamps()
    for image in (3, 4, 6):
        priors.add(localization(image))
    offered = []
    for image in (3, 5, 6):
        tracker.stamps.clear()
        priors.give(tracker, Rigid3d(), image * PERIOD)
        offered.append(list(tracker.stamps))
    assert offered == [[3], [4], [6]]


def test_poses_that_wait_are_forgotten_with_the_clock(diagnostics: Diagnostics) -> None:
    priors, tracker = TrackerPriors(diagnostics), OfferedStamps()
    priors.add(localization(6))
    priors.give(tracker, Rigid3d(), 5 * PERIOD)
    priors.jump()
    priors.give(tracker, Rigid3d(), 7 * PERIOD)
    assert tracker.stamps == []
