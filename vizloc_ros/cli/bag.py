"""``vizloc bag``: write, play."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from vizloc_ros.cli.arguments import BagArgument, DatasetArgument, DegradeOption, EveryOption, SeedOption
from vizloc_ros.cli.progress import bar
from vizloc_ros.datasets.corruptions import Degradation
from vizloc_ros.datasets.open import open_dataset
from vizloc_ros.datasets.record import every as every_nth
from vizloc_ros.errors import ConfigError

app = typer.Typer(help="Write and play rosbags.", no_args_is_help=True)
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
    """Write a dataset as a rosbag2 with images, camera_info, /tf_static and, where known, the ground-truth poses."""
    from vizloc_ros.bags.writer import write_bag

    if compressed not in _COMPRESSIONS:
        raise ConfigError(f"--compressed {compressed}: give png or jpeg")
    records = every_nth(open_dataset(dataset).records(split), every)
    degradation = Degradation.parse(degrade) if degrade else None
    write_bag(
        records,
        out,
        degradation=degradation,
        seed=seed,
        compressed=_COMPRESSIONS[compressed],
        overwrite=overwrite,
        progress=bar,
    )
    console.print(f"{len(records)} images written to {out}")


@app.command()
def play(
    bag: BagArgument,
    rate: Annotated[float, typer.Option(help="Speed of playback; 1: real time")] = 1.0,
    loop: Annotated[bool, typer.Option(help="Start over at the end until Ctrl-C")] = False,
    start_offset: Annotated[float, typer.Option(help="Duration to leave out at the start \\[s]")] = 0.0,
    delay: Annotated[float, typer.Option(help="Time before the first message \\[s]")] = 0.0,
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
