"""Launch of hfnet, visual_map_server, localizer and pixloc_tracker, a process each or all in one."""

from pathlib import Path

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from vizloc_ros.ros.dds_profile import ensure_profile

CONFIG = Path(__file__).resolve().parents[1] / "config"
NODES = ("hfnet", "visual_map_server", "localizer", "pixloc_tracker")
# Arguments that are parameters of nodes; each node takes those it declares.
PARAMETERS = ("map_path", "extractor", "provider", "image_transport", "map_frame", "base_frame")


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            DeclareLaunchArgument("map_path", default_value="", description="Map folder; empty: as in params_file"),
            DeclareLaunchArgument(
                "extractor", default_value="", description="Extractor the map must have been built with; empty: any"
            ),
            DeclareLaunchArgument(
                "provider",
                default_value="",
                choices=["", "cpu", "cuda", "tensorrt"],
                description="What the network runs on; empty: as in params_file",
            ),
            DeclareLaunchArgument("image_topic", default_value="image", description="sensor_msgs/Image to localize"),
            DeclareLaunchArgument("camera_info_topic", default_value="camera_info", description="Its calibration"),
            DeclareLaunchArgument(
                "image_transport",
                default_value="",
                choices=["", "raw", "compressed"],
                description="How images arrive; compressed reads image_topic/compressed; empty: as in params_file",
            ),
            DeclareLaunchArgument(
                "map_frame", default_value="", description="Frame of the map, empty: as in params_file"
            ),
            DeclareLaunchArgument(
                "base_frame", default_value="", description="Frame whose pose is published; empty: as in params_file"
            ),
            DeclareLaunchArgument(
                "params_file", default_value=str(CONFIG / "vizloc.yaml"), description="Parameters of all nodes"
            ),
            DeclareLaunchArgument(
                "tracking",
                default_value="true",
                choices=["true", "false"],
                description="Start the tracker; it needs a map with references (vizloc map add-pixloc)",
            ),
            DeclareLaunchArgument("namespace", default_value="", description="Namespace of nodes and relative topics"),
            DeclareLaunchArgument(
                "composed",
                default_value="false",
                choices=["true", "false"],
                description="All nodes in one process instead of one each",
            ),
            DeclareLaunchArgument(
                "reach",
                default_value="localhost",
                choices=["localhost", "network"],
                description="Fast DDS profile: nodes on this host only, or on several hosts",
            ),
            DeclareLaunchArgument(
                "use_sim_time",
                default_value="false",
                choices=["true", "false"],
                description="Take the time from /clock, as for replayed bags",
            ),
            DeclareLaunchArgument(
                "rviz", default_value="false", choices=["true", "false"], description="Show map and poses in RViz"
            ),
            DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal"),
            OpaqueFunction(function=start),
        ]
    )


def start(context: LaunchContext) -> list[Node]:
    """The processes for the values the arguments have now."""

    def value(argument: str) -> str:
        return LaunchConfiguration(argument).perform(context)

    ensure_profile(value("reach"))  # the processes inherit it, RViz and a bag player included
    use_sim_time = {"use_sim_time": value("use_sim_time") == "true"}
    given = {name: ParameterValue(value(name), value_type=str) for name in PARAMETERS if value(name)}  # not "007" as 7
    common = {
        "package": "vizloc_ros",
        "namespace": value("namespace"),
        "parameters": [value("params_file"), use_sim_time | given],
        "remappings": [
            ("image", value("image_topic")),
            ("image/compressed", f"{value('image_topic')}/compressed"),
            ("camera_info", value("camera_info_topic")),
        ],
        "ros_arguments": ["--log-level", value("log_level")],
        "output": "screen",
    }
    tracking = value("tracking") == "true"
    if value("composed") == "true":
        without = [] if tracking else ["--without-tracker"]
        processes = [Node(executable="vizloc_node", arguments=without, **common)]  # a name would rename all nodes in it
    else:
        names = [name for name in NODES if tracking or name != "pixloc_tracker"]
        processes = [Node(executable=name, name=name, **common) for name in names]
    if value("rviz") == "true":
        processes.append(
            Node(
                package="rviz2",
                executable="rviz2",
                namespace=value("namespace"),
                parameters=[use_sim_time],
                remappings=[("image", value("image_topic"))],
                arguments=["-d", str(CONFIG / "vizloc.rviz")],
            )
        )
    return processes
