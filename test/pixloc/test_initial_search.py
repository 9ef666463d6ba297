"""Search around a guess: the hypotheses that the tracker starts from, and the localizations that end it."""

import numpy as np
import pytest
from pixloc_helpers import is_right, truth
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.datasets.record import Record
from vizloc_ros.geometry.poses import BODY_FROM_OPTICAL
from vizloc_ros.mapping.pose_guess import PoseGuess
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.pixloc.initial_search import InitialSearch
from vizloc_ros.pixloc.motion import KnownPose
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.pixloc.tracking import Frame

pytestmark = pytest.mark.e2e
MOUNT = Rigid3d(BODY_FROM_OPTICAL.rotation, np.zeros(3))  # the vehicle is where its camera is
RVIZ = np.diag([0.25, 0.25, 0, 0, 0, 0.0685])
WIDE = np.diag([4.0, 4.0, 0, 0, 0, 0.3])

Drive = list[tuple[Record, Frame]]


def guess_of(record: Record, right: float, degrees: float, covariance: np.ndarray) -> PoseGuess:
    """RViz's arrow beside the vehicle, on the ground of the map."""
    x, y, _ = (truth(record) * MOUNT.inverse()).translation
    heading = np.arctan2(*truth(record).rotation.matrix()[1::-1, 2])
    turned = Rigid3d(Rotation3d(np.array([0, 0, heading + np.radians(degrees)])), np.zeros(3))
    side = Rigid3d(Rotation3d(np.array([0, 0, heading])), np.array([x, y, 0.0])) * np.array([0.0, -right, 0.0])
    return PoseGuess(Rigid3d(turned.rotation, side), covariance)


def localized(map_from_cam: Rigid3d, frame: Frame) -> KnownPose:
    return KnownPose(map_from_cam, frame.stamp_ns, position_std=0.02, rotation_std=0.001)


def search_of(guess: PoseGuess, visual_map: VisualMap, stamp_ns: int) -> InitialSearch:
    return InitialSearch(guess, guess.hypotheses(np.array(visual_map.keyframe_poses), MOUNT, 8), stamp_ns)


def test_a_narrow_guess_needs_no_localization(careful: Tracker, tracked_map: VisualMap, drive: Drive) -> None:
    record, frame = drive[3]
    search = search_of(guess_of(record, 0.5, 5, RVIZ), tracked_map, frame.stamp_ns)
    search.offer_hypothesis(careful, frame.stamp_ns)
    assert is_right(careful.track(frame), record)
    assert search.is_over(careful, frame.stamp_ns)


def test_from_a_wide_guess_the_track_waits_for_a_localization(
    careful: Tracker, tracked_map: VisualMap, drive: Drive
) -> None:
    """The mapped drive is among the hypotheses; its alignment is right, but nobody has confirmed it."""
    search = search_of(guess_of(drive[3][0], 2.0, 45, WIDE), tracked_map, drive[3][1].stamp_ns)
    left = drive[3:]
    while not careful.follows:
        record, frame = left.pop(0)
        search.offer_hypothesis(careful, frame.stamp_ns)
        tracked = careful.track(frame)
        assert tracked.map_from_cam is None
    assert "1 of 2 localizations agree" in tracked.reason
    assert search.offer_localization(careful, localized(truth(record), frame), MOUNT.inverse())
    record, frame = left.pop(0)
    search.offer_hypothesis(careful, frame.stamp_ns)
    assert is_right(careful.track(frame), record)


def test_a_localization_elsewhere_is_not_taken(careful: Tracker, tracked_map: VisualMap, drive: Drive) -> None:
    record, frame = drive[3]
    search = search_of(guess_of(record, 0.0, 0, RVIZ), tracked_map, frame.stamp_ns)
    elsewhere = Rigid3d(Rotation3d(), np.array([20.0, 0, 0])) * truth(record)
    assert not search.offer_localization(careful, localized(elsewhere, frame), MOUNT.inverse())
    assert not careful.follows


def test_a_guess_is_forgotten_after_ten_seconds(careful: Tracker, tracked_map: VisualMap, drive: Drive) -> None:
    _, frame = drive[3]
    search = search_of(guess_of(drive[3][0], 0.0, 0, RVIZ), tracked_map, frame.stamp_ns)
    assert not search.is_over(careful, frame.stamp_ns + 9_000_000_000)
    assert search.is_over(careful, frame.stamp_ns + 11_000_000_000)
