"""Poses on ``initialpose``, such as RViz's: a guess where the vehicle is, in the frame of the map."""

from __future__ import annotations

import time
from collections.abc import Callable

from geometry_msgs.msg import PoseWithCovarianceStamped

from vizloc_ros.errors import RosError
from vizloc_ros.geometry.transform_tree import frame_name
from vizloc_ros.mapping.pose_guess import PoseGuess
from vizloc_ros.ros.messages import covariance_from_msg, pose_from_msg
from vizloc_ros.ros.pipeline_node import PipelineNode
from vizloc_ros.ros.qos import POSE
from vizloc_ros.ros.subscriptions import subscribe_to_either
from vizloc_ros.wording import name_text

_SECONDS = 5.0  # of real time


def subscribe_to_initial_pose(
    node: PipelineNode, map_frame: Callable[[], str], on_guess: Callable[[PoseGuess], None]
) -> None:
    """Subscribe to ``initialpose``. One that cannot be used, or is in another frame than the map's, is reported.

    Its stamp is ignored: a person means the present.

    Args:
        node: the node.
        map_frame: source of the name of the map's frame; empty while it is not known, and then any is taken.
        on_guess: receiver of the others.
    """

    def on_pose(msg: PoseWithCovarianceStamped) -> None:
        try:
            guess = guess_from_msg(msg, map_frame())
        except RosError as error:
            node.diagnostics.notice(f"initialpose: {error}")
            node.get_logger().warning(f"initialpose: {error}")
            return
        node.get_logger().info("an initial pose was given")
        on_guess(guess)

    subscribe_to_either(node, PoseWithCovarianceStamped, "initialpose", on_pose, POSE)


class GuessWatch:
    """Latest guess on ``initialpose``, for the seconds in which it says where to look; any thread may ask."""

    def __init__(self, node: PipelineNode, map_frame: Callable[[], str]) -> None:
        """Subscribe, see ``subscribe_to_initial_pose``."""
        self._heard: tuple[PoseGuess, float] | None = None
        subscribe_to_initial_pose(node, map_frame, self._on_guess)

    @property
    def current(self) -> PoseGuess | None:
        """Guess of the last seconds; None without one."""
        if (heard := self._heard) is None:
            return None
        guess, at = heard
        age = time.monotonic() - at
        return guess.after(age) if age < _SECONDS else None

    def forget(self) -> None:
        """Forget the guess: it is one in another map."""
        self._heard = None

    def _on_guess(self, guess: PoseGuess) -> None:
        self._heard = guess, time.monotonic()


def guess_from_msg(msg: PoseWithCovarianceStamped, map_frame: str) -> PoseGuess:
    """Guess of a message; one without a ``frame_id`` is in the map.

    Raises:
        RosError: it is in another frame, is not finite, or its quaternion is not of norm 1.
    """
    frame = frame_name(msg.header.frame_id)
    if frame and map_frame and frame != frame_name(map_frame):
        raise RosError(
            f"refused: it is in the frame {name_text(frame)}, and the map is in {name_text(map_frame)}: set RViz's "
            f"fixed frame to {name_text(map_frame)}"
        )
    return PoseGuess(pose_from_msg(msg.pose.pose), covariance_from_msg(msg))
