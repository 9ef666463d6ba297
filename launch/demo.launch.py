"""Replays the bag of `make demo` to the nodes, with RViz; takes all arguments of vizloc.launch.py too."""

import shutil
from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.substitutions import ExecutableInPackage


def generate_launch_description() -> LaunchDescription:
    player, bag = ExecutableInPackage("vizloc", "vizloc_ros"), LaunchConfiguration("bag")
    return LaunchDescription(
        [
            DeclareLaunchArgument("map_path", default_value="demo_output/map", description="Map that the demo built"),
            DeclareLaunchArgument("bag", default_value="demo_output/bag", description="Bag that the demo wrote"),
            DeclareLaunchArgument(
                "rviz",
                default_value=str(shutil.which("rviz2") is not None).lower(),
                choices=["true", "false"],
                description="Show map and poses in RViz; by default where RViz is installed",
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(Path(__file__).resolve().with_name("vizloc.launch.py"))),
                launch_arguments={
                    "use_sim_time": "true",
                    "image_topic": "/camera/image",
                    "camera_info_topic": "/camera/camera_info",
                }.items(),
            ),
            ExecuteProcess(cmd=[player, "bag", "play", bag, "--wait", "/camera/image"], output="screen"),
        ]
    )
