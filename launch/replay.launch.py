"""Localizes in a recorded bag, in the bag's own time; takes all arguments of vizloc.launch.py too."""

import shutil
from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.substitutions import ExecutableInPackage


def generate_launch_description() -> LaunchDescription:
    play = ["bag", "play", LaunchConfiguration("bag"), "--rate", LaunchConfiguration("rate")]
    if shutil.which("ros2"):
        player = ["ros2", *play, "--clock"]
    else:
        player = [ExecutableInPackage("vizloc", "vizloc_ros"), *play]
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", description="rosbag2 folder with images, camera_info and /tf_static"),
            DeclareLaunchArgument("rate", default_value="1.0", description="Speed of the replay, 1.0 is real time"),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(Path(__file__).resolve().with_name("vizloc.launch.py"))),
                launch_arguments={"use_sim_time": "true"}.items(),
            ),
            ExecuteProcess(cmd=player, output="screen"),
        ]
    )
