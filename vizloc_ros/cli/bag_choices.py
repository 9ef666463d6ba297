"""Options of the commands that read a bag: which camera, and what stands in for topics that it lacks."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from vizloc_ros.bags.bag_camera import BagCamera
from vizloc_ros.bags.bag_options import BagOptions, parse_base_from_cam

ImageTopicOption = Annotated[
    str, typer.Option(metavar="TOPIC", help="Topic of the images, raw or compressed; empty: the only camera's")
]
CameraInfoTopicOption = Annotated[
    str, typer.Option(metavar="TOPIC", help="Topic of the calibration; empty: the one that fits the images")
]
CalibrationOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="YAML file of camera_calibration, instead of camera_info", dir_okay=False),
]
BaseFrameOption = Annotated[str, typer.Option(metavar="FRAME", help="Frame of the vehicle")]
BaseFromCamOption = Annotated[
    str,
    typer.Option(
        metavar="POSE",
        help="Camera's optical frame in the base frame, instead of /tf_static: 'x y z qx qy qz qw' [m]",
    ),
]
TruthTopicOption = Annotated[
    str,
    typer.Option(
        metavar="TOPIC",
        help="Topic of the trajectory: poses, /tf or GNSS fixes; empty: /ground_truth/pose, if it is there",
    ),
]
TruthFrameOption = Annotated[
    str,
    typer.Option(
        metavar="FRAME",
        help="Frame whose pose the trajectory is; empty: the camera for /ground_truth/pose, else the child frame of "
        "an Odometry, else the base frame",
    ),
]
MaxGapOption = Annotated[float, typer.Option(help="Largest time between the two poses around an image [s]", min=0.0)]
PosesOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Trajectory from a file (TUM or CSV), instead of a topic", dir_okay=False),
]
MapFrameOption = Annotated[
    str, typer.Option(metavar="FRAME", help="Frame of the poses on /tf; empty: map, odom, or the topmost")
]
ImuTopicOption = Annotated[
    str,
    typer.Option(
        metavar="TOPIC", help="Imu with the rotations of GNSS positions; empty: the only one; none: the motion's"
    ),
]
TimeOffsetOption = Annotated[float, typer.Option(help="Time by which poses are stamped later than images [s]")]


def bag_options(
    image_topic: str,
    camera_info_topic: str,
    calibration: Path | None,
    base_frame: str,
    base_from_cam: str,
    truth_topic: str,
    truth_frame: str,
    max_gap: float,
    poses: Path | None,
    map_frame: str,
    imu_topic: str,
    time_offset: float,
) -> BagOptions:
    """Choices of the command line. Raises ``ConfigError`` for a ``--base-from-cam`` that is no pose."""
    return BagOptions(
        image_topic=image_topic,
        camera_info_topic=camera_info_topic,
        calibration=calibration,
        base_frame=base_frame,
        base_from_cam=parse_base_from_cam(base_from_cam),
        truth_topic=truth_topic,
        truth_frame=truth_frame,
        max_gap=max_gap,
        poses=poses,
        map_frame=map_frame,
        imu_topic=imu_topic,
        time_offset=time_offset,
    )


def print_camera(console: Console, camera: BagCamera) -> None:
    """Show what was chosen in the bag, and remarks about it."""
    calibration = camera.options.calibration or camera.topics.camera_info
    console.print(Text(f"camera: {camera.topics.image}, calibration: {calibration}"))
    console.print(Text(f"poses: {camera.truth.description or 'none'}"))
    for note in (*camera.notes, *camera.truth.notes):
        console.print(Text(note, style="yellow"))
