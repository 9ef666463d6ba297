"""Localize in a recorded bag, in the bag's own time; takes all arguments of vizloc.launch.py too."""

from pathlib import Path

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

from vizloc_ros.launching.bag_player_launch import check_bag, play_when_ready


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", description="rosbag2 folder with images, camera_info and /tf_static"),
            DeclareLaunchArgument("rate", default_value="1.0", description="Speed of the replay, 1.0 is real time"),
            DeclareLaunchArgument(
                "delay", default_value="5.0", description="Seconds from when the nodes are ready to the first message"
            ),
            OpaqueFunction(function=check),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(Path(__file__).resolve().with_name("vizloc.launch.py"))),
                launch_arguments={"use_sim_time": "true"}.items(),
            ),
            OpaqueFunction(function=play),
        ]
    )


def check(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    bag, delay = (LaunchConfiguration(name).perform(context) for name in ("bag", "delay"))
    return check_bag(context, bag, delay)


def play(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    bag, rate, delay = (LaunchConfiguration(name).perform(context) for name in ("bag", "rate", "delay"))
    return play_when_ready(context, bag, rate, delay, with_ros2_bag=True)
