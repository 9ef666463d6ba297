"""Launch of hfnet, visual_map_server, localizer and pixloc_tracker, a process each or all in one."""

from pathlib import Path

import launch.logging
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from vizloc_ros.errors import VizlocError
from vizloc_ros.launching.namespaces import absolute_namespace
from vizloc_ros.launching.node_values import NodeValues, node_values
from vizloc_ros.launching.parameter_files import Value, write_parameters
from vizloc_ros.launching.refusal import is_refused, refuse
from vizloc_ros.launching.restarts import RESTART_DELAY_S, Restarts
from vizloc_ros.launching.rig_nodes import camera_names, node_names, remappings_of
from vizloc_ros.launching.rviz import how_to_install_rviz, rviz_executable
from vizloc_ros.ros.dds_profile import ensure_profile

CONFIG = Path(__file__).resolve().parents[1] / "config"
# Arguments that are parameters of nodes; each node takes those it declares.
PARAMETERS = ("map_path", "extractor", "provider", "image_transport", "map_frame", "base_frame")
TF_OF_NAMESPACE = [("/tf", "tf"), ("/tf_static", "tf_static")]


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
            DeclareLaunchArgument(
                "cameras",
                default_value="",
                description="Namespaces of several cameras, such as front,rear: each has an hfnet and its topics in it",
            ),
            DeclareLaunchArgument("image_topic", default_value="image", description="sensor_msgs/Image to localize"),
            DeclareLaunchArgument("camera_info_topic", default_value="camera_info", description="Its calibration"),
            DeclareLaunchArgument(
                "odom_topic", default_value="odom", description="nav_msgs/Odometry, for parameter use_odometry"
            ),
            DeclareLaunchArgument(
                "imu_topic", default_value="imu", description="sensor_msgs/Imu, for parameter use_imu"
            ),
            DeclareLaunchArgument(
                "fix_topic", default_value="fix", description="sensor_msgs/NavSatFix, for maps with a datum"
            ),
            DeclareLaunchArgument(
                "image_transport",
                default_value="",
                choices=["", "raw", "compressed"],
                description="How images arrive; compressed reads image_topic/compressed; empty: as in params_file",
            ),
            DeclareLaunchArgument(
                "map_frame", default_value="", description="Frame of the map; empty: as in params_file"
            ),
            DeclareLaunchArgument(
                "base_frame", default_value="", description="Frame whose pose is published; empty: as in params_file"
            ),
            DeclareLaunchArgument(
                "params_file",
                default_value="",
                description="Parameters that differ from config/vizloc.yaml of the package; empty: none do",
            ),
            DeclareLaunchArgument(
                "tracking",
                default_value="true",
                choices=["true", "false"],
                description="Start the tracker; it needs a map with reference features (vizloc map add-pixloc)",
            ),
            DeclareLaunchArgument("namespace", default_value="", description="Namespace of nodes and relative topics"),
            DeclareLaunchArgument(
                "namespaced_tf",
                default_value="false",
                choices=["true", "false"],
                description="tf and tf_static of the namespace instead of /tf and /tf_static, as nav2 with many robots",
            ),
            DeclareLaunchArgument(
                "composed",
                default_value="false",
                choices=["true", "false"],
                description="All nodes in one process instead of one each",
            ),
            DeclareLaunchArgument(
                "respawn",
                default_value="true",
                choices=["true", "false"],
                description="Start a node again 2 s after it ends by itself; after three restarts in a row that each "
                "lasted less than 30 s it is given up",
            ),
            DeclareLaunchArgument(
                "dds_profile",
                default_value="network",
                choices=["network", "localhost"],
                description="network: other hosts see the nodes (ROS_AUTOMATIC_DISCOVERY_RANGE and ROS_LOCALHOST_ONLY "
                "are honoured); localhost: this host only",
            ),
            DeclareLaunchArgument(
                "use_sim_time",
                default_value="",
                choices=["", "true", "false"],
                description="Take the time from /clock, as for replayed bags; empty: as in params_file",
            ),
            DeclareLaunchArgument(
                "use_lifecycle_manager",
                default_value="false",
                choices=["true", "false"],
                description="Leave configuring and activating the nodes to a lifecycle manager",
            ),
            DeclareLaunchArgument(
                "rviz", default_value="false", choices=["true", "false"], description="Show map and poses in RViz"
            ),
            DeclareLaunchArgument("log_level", default_value="info", description="debug, info, warn, error or fatal"),
            OpaqueFunction(function=start),
        ]
    )


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Processes for the values the arguments have now; none if one of them cannot be had."""

    def value(argument: str) -> str:
        return LaunchConfiguration(argument).perform(context)

    if is_refused(context):
        return []
    namespace = absolute_namespace(context, value("namespace"))
    given = {name: Value.of(value(name)) for name in PARAMETERS if value(name)}
    if value("use_sim_time"):
        given["use_sim_time"] = Value.of(value("use_sim_time") == "true")
    if value("use_lifecycle_manager") == "true":
        given["autostart"] = Value.of(False)
    user_file = Path(value("params_file")) if value("params_file") else None
    tf = TF_OF_NAMESPACE if value("namespaced_tf") == "true" else []
    topics = [
        ("image", value("image_topic")),
        ("image/compressed", f"{value('image_topic')}/compressed"),
        ("camera_info", value("camera_info_topic")),
        ("odom", value("odom_topic")),
        ("imu", value("imu_topic")),
        ("fix", value("fix_topic")),
        *tf,
    ]
    try:
        cameras = camera_names(value("cameras"))
        if cameras and value("composed") == "true":
            return refuse(context, "composed:=true is for one camera: leave it out with cameras:=")
        names = node_names(cameras, tracking=value("tracking") == "true")
        remappings = {name: remappings_of(name, cameras, topics, namespace) for name in names}
        if value("rviz") == "true" and not rviz_executable():
            return refuse(context, f"rviz:=true, but {how_to_install_rviz()}")
        values = node_values(names, namespace, CONFIG / "vizloc.yaml", user_file, given, cameras)
        if not values.text("visual_map_server", "map_path"):
            return refuse(
                context, "map_path is not given: name the folder that `vizloc map build` wrote with map_path:="
            )
        said = ensure_profile(value("dds_profile"))  # the processes inherit it, RViz and a bag player included
    except VizlocError as error:
        return refuse(context, str(error))
    for note in values.notes:
        launch.logging.get_logger("vizloc").warning(note)
    # Beside launch's log: what the nodes were given can be read there later.
    parameters = Path(launch.logging.launch_config.log_dir, f"vizloc_parameters{namespace.replace('/', '_')}.yaml")
    write_parameters(parameters, {f"{namespace}/{name}": values.by_node[name] for name in names})
    common = {
        "package": "vizloc_ros",
        "parameters": [str(parameters)],
        "ros_arguments": ["--log-level", value("log_level")],
        "output": "screen",
    }
    if value("respawn") == "true":
        common |= {"respawn": True, "respawn_delay": RESTART_DELAY_S}

    def node(topics, camera="", **options) -> Node:
        around = "/".join(filter(None, (value("namespace"), camera)))
        on_exit = Restarts() if value("respawn") == "true" else None
        return Node(**common, **options, namespace=around, remappings=topics, on_exit=on_exit)

    if value("composed") == "true":  # without a name, which would rename all nodes in it
        without = [] if value("tracking") == "true" else ["--without-tracker"]
        processes = [node(topics, executable="vizloc_node", arguments=without)]
    else:
        parts = [(name, *name.rpartition("/")[::2]) for name in names]
        processes = [node(remappings[full], camera, executable=name, name=name) for full, camera, name in parts]
    if value("rviz") == "true":
        shown = dict(remappings["visual_map_server"])["image"]
        processes.append(rviz(value("namespace"), [("image", shown), *tf], values))
    return [LogInfo(msg=line) for line in (said, f"parameters of the nodes: {parameters}") if line] + processes


def rviz(namespace: str, remappings: list[tuple[str, str]], values: NodeValues) -> Node:
    return Node(
        executable=rviz_executable(),
        namespace=namespace,
        parameters=[{"use_sim_time": values.use_sim_time}],
        remappings=remappings,
        arguments=["-d", str(CONFIG / "vizloc.rviz"), "-f", values.map_frame],
    )
