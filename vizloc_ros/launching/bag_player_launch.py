"""Player of a bag for the nodes of a launch file: from when they are ready; the launch ends with the bag."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from launch import LaunchContext, LaunchDescriptionEntity
from launch.actions import EmitEvent, ExecuteProcess, LogInfo, RegisterEventHandler, TimerAction
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch_ros.actions import Node
from launch_ros.substitutions import ExecutableInPackage

from vizloc_ros.bags.opened import ros1_files
from vizloc_ros.bags.reader import read_info
from vizloc_ros.errors import BagError
from vizloc_ros.launching.namespaces import absolute_namespace
from vizloc_ros.launching.refusal import is_refused, refuse
from vizloc_ros.launching.rig_nodes import camera_names, node_names
from vizloc_ros.ros.node_options import topic_of

FINISH_S = 5.0  # for the nodes to finish the last image


def has_ros2_bag() -> bool:
    """Return true if ``ros2 bag play`` is there: ``ros2`` alone comes without it."""
    return shutil.which("ros2") is not None and all(map(find_spec, ("ros2bag", "rosbag2_py")))


def check_bag(context: LaunchContext, bag: str, delay: str) -> list[LaunchDescriptionEntity]:
    """Actions that end the launch if what is to be played cannot be; to be called before vizloc.launch.py."""
    try:
        is_time = float(delay) >= 0
    except ValueError:
        is_time = False
    if not is_time:
        return refuse(context, f"delay:={delay}: give the seconds before the first message, 0 or more")
    if not Path(bag).exists():
        return refuse(context, f"there is no bag {bag}: name the folder of one with bag:=")
    return []


def image_topics_in(bag: str, image_topic: str) -> list[str]:
    """Topic of that name among those of a bag, or that of its compressed images; both if both are there."""
    try:
        topics = read_info(Path(bag)).topics
    except BagError:
        return []  # the player says what is wrong with it
    return [topic for topic in (image_topic, f"{image_topic}/compressed") if topic in topics]


def play_action(bag: str, rate: str, delay: str, images: Sequence[str], with_ros2_bag: bool) -> ExecuteProcess:
    """Player, at whose end the launch ends too.

    Args:
        bag: folder or file.
        rate: seconds of the bag in a second.
        delay: seconds before the first message.
        images: topics of the bag that may be what the nodes localize.
        with_ros2_bag: plays with ``ros2 bag play`` if that is there, else and bags of ROS 1 with ``vizloc bag play``.
    """
    options = ["--rate", rate, *(["--delay", delay] if float(delay) else [])]  # ros2 bag refuses a delay of 0
    if with_ros2_bag and has_ros2_bag() and not ros1_files(Path(bag)):
        command = ["ros2", "bag", "play", bag, *options, "--clock"]
    else:
        wait = ["--wait", images[0]] if len(images) == 1 else []  # of two, one has no subscriber
        command = [ExecutableInPackage("vizloc", "vizloc_ros"), "bag", "play", bag, *options, *wait]
    return ExecuteProcess(cmd=command, name="player", output="screen", on_exit=_end)


def play_when_ready(
    context: LaunchContext, bag: str, rate: str, delay: str, with_ros2_bag: bool
) -> list[LaunchDescriptionEntity]:
    """Actions that play a bag once, as soon as the nodes have loaded what they need, and end the launch with it.

    Args:
        context: of the launch, after ``check_bag`` and vizloc.launch.py.
        bag: folder or file.
        rate: seconds of the bag in a second.
        delay: seconds from when the nodes are ready, and have found the player, to the first message. ``ros2 bag play``
            cannot tell the latter, which takes up to three seconds.
        with_ros2_bag: plays with ``ros2 bag play`` if that is there, else always with ``vizloc bag play``.
    """
    if is_refused(context):
        return []
    namespace = absolute_namespace(context, context.launch_configurations["namespace"])
    cameras = camera_names(context.launch_configurations.get("cameras", ""))
    image_topic = topic_of(cameras[0] if cameras else "", context.launch_configurations["image_topic"])
    images = image_topics_in(bag, image_topic if image_topic.startswith("/") else f"{namespace}/{image_topic}")
    player = play_action(bag, rate, delay, images, with_ros2_bag)

    def play(event: ProcessExited, context: LaunchContext) -> list[LaunchDescriptionEntity] | None:
        if context.is_shutdown:
            return None
        if event.returncode != 0:
            return refuse(context, "the nodes are not ready, so the bag is not played: see above for what they said")
        return [player]

    def watch(event: ProcessExited, context: LaunchContext) -> list[LaunchDescriptionEntity] | None:
        is_node = isinstance(event.action, Node) and event.action.node_package == "vizloc_ros"
        if is_node and not context.is_shutdown and player.process_details is None:
            return refuse(
                context, f"{event.process_name} has ended, so the bag is not played: see above for what it said"
            )
        return None

    nodes = node_names(cameras, tracking=context.launch_configurations["tracking"] == "true")
    wait = [sys.executable, "-m", "vizloc_ros.launching.ready", *(f"{namespace}/{name}" for name in nodes)]
    return [
        RegisterEventHandler(OnProcessExit(on_exit=watch)),
        ExecuteProcess(cmd=wait, name="ready", output="screen", on_exit=play),
    ]


def _end(event: ProcessExited, context: LaunchContext) -> list[LaunchDescriptionEntity] | None:
    if context.is_shutdown:
        return None
    if event.returncode != 0:
        return refuse(context, f"the bag was not played to its end (exit code {event.returncode}): see above")
    return [
        LogInfo(msg=f"the bag has ended; so does the launch, in {FINISH_S:g} s"),
        TimerAction(period=FINISH_S, actions=[EmitEvent(event=Shutdown(reason="the bag has ended"))]),
    ]
