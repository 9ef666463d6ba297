"""Replay the bag of `make demo` to the nodes, with RViz; takes all arguments of vizloc.launch.py too."""

from pathlib import Path

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration

from vizloc_ros.launching.bag_player_launch import check_bag, play_when_ready
from vizloc_ros.launching.rviz import rviz_executable


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            DeclareLaunchArgument("map_path", default_value="demo_output/map", description="Map that the demo built"),
            DeclareLaunchArgument("bag", default_value="demo_output/bag", description="Bag that the demo wrote"),
            DeclareLaunchArgument(
                "delay", default_value="5.0", description="Seconds from when the nodes are ready to the first message"
            ),
            DeclareLaunchArgument(
                "rviz",
                default_value="true" if rviz_executable() else "false",
                choices=["true", "false"],
                description="Show map and poses in RViz; by default where RViz is installed",
            ),
            OpaqueFunction(function=check),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(Path(__file__).resolve().with_name("vizloc.launch.py"))),
                launch_arguments={
                    "use_sim_time": "true",
                    "image_topic": "/camera/image",
                    "camera_info_topic": "/camera/camera_info",
                }.items(),
            ),
            OpaqueFunction(function=play),
        ]
    )


def check(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    bag, delay = (LaunchConfiguration(name).perform(context) for name in ("bag", "delay"))
    return check_bag(context, bag, delay)


def play(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    bag, delay = (LaunchConfiguration(name).perform(context) for name in ("bag", "delay"))
    return play_when_ready(context, bag, "1.0", delay, with_ros2_bag=False)
