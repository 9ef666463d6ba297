"""Arguments and options of several commands."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from vizloc_ros.bags.bag_options import FASTEST_RATE, SLOWEST_RATE

DATASET_HELP = "reader:PATH, e.g. folder:/data/route, kitti:/data/sequences/00 or synthetic:"

DatasetArgument = Annotated[str, typer.Argument(metavar="DATASET", help=DATASET_HELP)]
MapArgument = Annotated[Path, typer.Argument(metavar="MAP", help="A map's folder")]
BagArgument = Annotated[Path, typer.Argument(metavar="BAG", help="A rosbag2 folder or file, or a .bag file of ROS 1")]
EveryOption = Annotated[int, typer.Option(help="Keep every N-th image of the split", min=1)]
SeedOption = Annotated[int, typer.Option(help="Seed of all random numbers", min=0)]
DegradeOption = Annotated[
    str, typer.Option(metavar="KIND:LEVEL", help="night, blur, noise, occlusion, exposure or roll, levels 1 to 5")
]
ExtractorOption = Annotated[str, typer.Option(help="Feature extractor: hfnet, rootsift or PATH.onnx")]
ExtractorConfigOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="YAML file of the extractor's options (docs/map_build.md)")
]
TrackerModelOption = Annotated[
    str, typer.Option(help="The tracker's network, written by `vizloc export pixloc`; empty: the package's")
]
LongSideOption = Annotated[int, typer.Option(help="Maximum longer side of its images [px]", min=64)]
RateOption = Annotated[float, typer.Option(help="Speed of playback; 1: real time", min=SLOWEST_RATE, max=FASTEST_RATE)]
PixLocOption = Annotated[bool, typer.Option(help="Also compute the tracker's reference features")]
ProviderOption = Annotated[str, typer.Option(help="Device of the network: cpu, cuda or tensorrt")]
ConfigOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="YAML file of options (docs/map_build.md, docs/evaluation.md)")
]
StagesOption = Annotated[bool, typer.Option(help="Show all figures of the report, such as the times of each stage")]
RollOption = Annotated[
    str,
    typer.Option(help="Roll of the camera: none, clockwise, upside_down, counterclockwise; auto: whichever localizes"),
]


def command_line() -> str:
    """Command line of this process, for reports."""
    return shlex.join(["vizloc", *sys.argv[1:]])
