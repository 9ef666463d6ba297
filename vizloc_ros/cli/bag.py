"""``vizloc bag``: write, play, info, to-folder."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.text import Text

from vizloc_ros.cli.arguments import BagArgument, DatasetArgument, DegradeOption, EveryOption, RateOption, SeedOption
from vizloc_ros.cli.bag_choices import (
    BaseFrameOption,
    BaseFromCamOption,
    CalibrationOption,
    CameraInfoTopicOption,
    ImageTopicOption,
    ImuTopicOption,
    MapFrameOption,
    MaxGapOption,
    PosesOption,
    TimeOffsetOption,
    TruthFrameOption,
    TruthTopicOption,
    bag_options,
    print_camera,
)
from vizloc_ros.cli.progress import bar
from vizloc_ros.datasets.corruptions import Degradation
from vizloc_ros.datasets.record import every as every_nth
from vizloc_ros.datasets.record import fixes_of
from vizloc_ros.errors import ConfigError
from vizloc_ros.readers import open_dataset

app = typer.Typer(help="Write, play and read rosbags.", no_args_is_help=True)
console = Console()
_COMPRESSIONS: dict[str, Literal["png", "jpeg"] | None] = {"": None, "png": "png", "jpeg": "jpeg"}


@app.command()
def write(
    dataset: DatasetArgument,
    out: Annotated[Path, typer.Option(help="Folder of the new bag")],
    split: Annotated[str, typer.Option(help="Split of the dataset to write")] = "query",
    every: EveryOption = 1,
    degrade: DegradeOption = "",
    compressed: Annotated[str, typer.Option(help="png or jpeg: write compressed images")] = "",
    overwrite: Annotated[bool, typer.Option(help="Replace an existing bag")] = False,
    seed: SeedOption = 0,
) -> None:
    """Write a dataset as a rosbag2.

    The bag has images as recorded, camera_info, /tf_static and, where known, ground-truth poses and GNSS fixes.
    """
    from vizloc_ros.bags.writer import write_bag
    from vizloc_ros.bags.written_topics import notes_on

    if compressed not in _COMPRESSIONS:
        raise ConfigError(f"--compressed {compressed}: give png or jpeg")
    source = open_dataset(dataset)
    records = every_nth(source.records(split), every)
    degradation = Degradation.parse(degrade) if degrade else None
    write_bag(
        records,
        out,
        degradation=degradation,
        seed=seed,
        compressed=_COMPRESSIONS[compressed],
        fixes=fixes_of(source, split),
        overwrite="any" if overwrite else "nothing",
        progress=bar,
    )
    console.print(f"{len(records)} images written to {out}")
    for note in notes_on(records):
        console.print(Text(note, style="yellow"))


@app.command()
def play(
    bag: BagArgument,
    rate: RateOption = 1.0,
    loop: Annotated[bool, typer.Option(help="Start over at the end until Ctrl-C")] = False,
    start_offset: Annotated[float, typer.Option(help="Duration to leave out at the start [s]", min=0)] = 0.0,
    delay: Annotated[float, typer.Option(help="Time before the first message [s]", min=0)] = 0.0,
    wait: Annotated[list[str] | None, typer.Option(metavar="TOPIC", help="Wait for a subscriber of this topic")] = None,
) -> None:
    """Play a bag with /clock, on machines without `ros2 bag`."""
    import rclpy
    from rclpy.executors import ExternalShutdownException

    from vizloc_ros.replay.player import BagPlayer
    from vizloc_ros.ros.dds_profile import ensure_profile
    from vizloc_ros.ros.runner import ros

    ensure_profile()
    try:
        with ros([]):
            player = BagPlayer(
                rclpy.create_node("bag_player"), bag, rate=rate, loop=loop, start_offset_s=start_offset, delay_s=delay
            )
            for topic, kind in player.skipped.items():
                console.print(f"{topic} is not played: {kind} is not installed", style="yellow")
            player.wait_for_subscribers(dict.fromkeys(wait or [], 1), timeout_s=60.0)
            played = player.play()
    except (KeyboardInterrupt, ExternalShutdownException):
        return
    console.print(f"{played.published.total()} messages published, {played.refused} refused by the middleware")


@app.command()
def info(bag: BagArgument) -> None:
    """List the topics of a bag, and what each can be used for."""
    from vizloc_ros.bags.topic_uses import topic_uses

    for use in topic_uses(bag):  # no table: the names of topics and types are as wide as a terminal
        rate = "" if use.rate is None else f", {use.rate:.1f} Hz"
        console.print(Text.assemble((use.topic, "bold"), f": {use.use}" if use.use else ""), soft_wrap=True)
        console.print(Text(f"    {use.count} of {use.type_name}{rate}"), soft_wrap=True)


@app.command()
def to_folder(
    bag: BagArgument,
    out: Annotated[Path, typer.Option(help="The posed folder; other splits in it are kept", file_okay=False)],
    split: Annotated[str, typer.Option(help="Name of the split")] = "map",
    every: EveryOption = 1,
    image_topic: ImageTopicOption = "",
    camera_info_topic: CameraInfoTopicOption = "",
    calibration: CalibrationOption = None,
    base_frame: BaseFrameOption = "base_link",
    base_from_cam: BaseFromCamOption = "",
    truth_topic: TruthTopicOption = "",
    truth_frame: TruthFrameOption = "",
    max_gap: MaxGapOption = 0.5,
    poses: PosesOption = None,
    map_frame: MapFrameOption = "",
    imu_topic: ImuTopicOption = "",
    time_offset: TimeOffsetOption = 0.0,
    overwrite: Annotated[bool, typer.Option(help="Replace the split if it exists")] = False,
) -> None:
    """Write images and poses of a bag as a posed folder.

    The images are rectified. `vizloc map build folder:DIR` takes the folder.
    """
    from vizloc_ros.bags.bag_camera import open_camera
    from vizloc_ros.bags.folder_writer import write_folder
    from vizloc_ros.bags.pose_choice import with_found_poses
    from vizloc_ros.bags.reader import FIX_TYPE, POSE_TYPES, TF_TYPE

    options = bag_options(
        image_topic,
        camera_info_topic,
        calibration,
        base_frame,
        base_from_cam,
        truth_topic,
        truth_frame,
        max_gap,
        poses,
        map_frame,
        imu_topic,
        time_offset,
    )
    camera = with_found_poses(open_camera(bag, options))
    print_camera(console, camera)
    written = write_folder(camera, out, split=split, every=every, overwrite=overwrite, progress=bar)
    console.print(f"{written.written} images written to {out}, split {split}")
    for reason, count in written.left_out.most_common():
        console.print(Text(f"{count:6d}  left out: {reason}"))
    if not written.posed:
        kinds = ", ".join(kind.rpartition("/")[2] for kind in (*POSE_TYPES, TF_TYPE, FIX_TYPE))
        console.print(Text(f"without poses: no topic has any ({kinds})", style="yellow"))
