"""Priors of the tracker's node: what callbacks store until the next image, and what the tracker is then given."""

from __future__ import annotations

import threading

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64
from vizloc_ros.errors import RosError
from vizloc_ros.geometry.covariance import move_to_base, position_and_rotation_std
from vizloc_ros.mapping.pose_guess import PoseGuess
from vizloc_ros.pixloc.initial_search import InitialSearch
from vizloc_ros.pixloc.motion import KnownPose
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.ros.diagnostics import Diagnostics, Level
from vizloc_ros.ros.messages import covariance_from_msg, pose_from_msg, stamp_to_ns
from vizloc_ros.ros.served_map import ServedMap

_MAX_PRIORS = 8
_HYPOTHESES = 8
_NOT_FOUND = (
    "initialpose: no image of the last ten seconds fits the map there: poses of all places are taken again. Is the "
    "pose within its covariance, and z the map's axis that points up?"
)


class TrackerPriors:
    """Poses of the localizer, guesses of a person and jumps of the clock, for the tracker. Thread-safe.

    Attributes:
        keyframe_poses: (K, 7) poses of the map's keyframes, once it is loaded.
    """

    def __init__(self, diagnostics: Diagnostics) -> None:
        self.keyframe_poses: Float64 = np.zeros((0, 7))
        self._diagnostics = diagnostics
        diagnostics.count("priors_used", 0)
        self._lock = threading.Lock()
        self._poses: list[PoseWithCovarianceStamped] = []
        self._guess: PoseGuess | None = None
        self._jumped = False
        self._stamp_ns = self._after_ns = -1  # of the last image; of the last one before the calibration changed
        self._search: InitialSearch | None = None  # the worker's

    def add(self, msg: PoseWithCovarianceStamped) -> None:
        """Add a pose of the localizer."""
        with self._lock:
            self._poses.append(msg)
            del self._poses[:-_MAX_PRIORS]

    def add_guess(self, guess: PoseGuess) -> None:
        """Add a guess of a person, which replaces the track."""
        with self._lock:
            self._guess = guess
            self._poses.clear()

    def jump(self) -> None:
        """Forget everything: the clock has jumped back."""
        with self._lock:
            self._jumped = True
            self._poses.clear()
            self._stamp_ns = self._after_ns = -1

    def forget_track(self) -> None:
        """Forget the track: poses of images before, as with another calibration, must not begin the next one."""
        with self._lock:
            self._jumped = True
            self._poses.clear()
            self._after_ns = self._stamp_ns

    def forget(self) -> None:
        """Forget the track and what a person has said."""
        self.forget_track()
        with self._lock:
            self._guess = None

    def give(self, tracker: Tracker, base_from_cam: Rigid3d, stamp_ns: int, served: ServedMap | None = None) -> bool:
        """Give the tracker what has come since the last image, in the worker. Return True if its track was dropped.

        Poses of images after the next one wait for these.

        Args:
            tracker: the tracker.
            base_from_cam: pose of the camera on the vehicle.
            stamp_ns: time of the next image.
            served: map of the map server, if it is known: poses in the map before are left out.
        """
        with self._lock:
            # The localizer may be ahead of the tracker: where the camera will be says little about where it is.
            later = [msg for msg in self._poses if stamp_to_ns(msg.header.stamp) > stamp_ns]
            poses = [msg for msg in self._poses if stamp_to_ns(msg.header.stamp) <= stamp_ns]
            self._poses = later
            guess, self._guess = self._guess, None
            jumped, self._jumped = self._jumped, False
            self._stamp_ns = stamp_ns
        dropped = jumped or guess is not None
        if dropped:
            tracker.reset()
            self._search = None
        if guess is not None and len(self.keyframe_poses):
            guess = guess.of_base(base_from_cam)
            hypotheses = guess.hypotheses(self.keyframe_poses, base_from_cam, _HYPOTHESES)
            self._search = InitialSearch(guess, hypotheses, stamp_ns)
        elif self._search is not None and self._search.is_over(tracker, stamp_ns):
            if not tracker.is_tracking:
                self._diagnostics.notice(_NOT_FOUND)
            self._search = None
        for msg in poses:
            if served is None or not served.is_of_map_before(stamp_to_ns(msg.header.stamp)):
                self._offer(tracker, msg, base_from_cam)
        if self._search is not None:
            self._search.offer_hypothesis(tracker, stamp_ns)
        return dropped

    def _offer(self, tracker: Tracker, msg: PoseWithCovarianceStamped, base_from_cam: Rigid3d) -> None:
        """Offer a pose of the localizer; while a guess is searched, it must be there."""
        try:
            map_from_base = pose_from_msg(msg.pose.pose)
            covariance = move_to_base(covariance_from_msg(msg), map_from_base, base_from_cam)
        except RosError as error:
            self._diagnostics.report(Level.WARN, f"a pose to start from cannot be used: {error}")
            return
        map_from_cam, std = map_from_base * base_from_cam, position_and_rotation_std(covariance)
        at_ns = stamp_to_ns(msg.header.stamp)
        if at_ns <= self._after_ns:
            return
        if self._search is None:
            used = tracker.offer_prior(map_from_cam, at_ns, *std, covariance=covariance)
        else:
            localization = KnownPose(map_from_cam, at_ns, None, *std)
            used = self._search.offer_localization(tracker, localization, base_from_cam.inverse())
        if used:
            self._diagnostics.count("priors_used")
