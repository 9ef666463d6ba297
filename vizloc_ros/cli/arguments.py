"""Arguments that several commands share."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

DATASET_HELP = "reader:PATH, e.g. folder:/data/route, kitti:/data/sequences/00 or synthetic:"

DatasetArgument = Annotated[str, typer.Argument(metavar="DATASET", help=DATASET_HELP)]
MapArgument = Annotated[Path, typer.Argument(metavar="MAP", help="A map's folder")]
BagArgument = Annotated[Path, typer.Argument(metavar="BAG", help="A rosbag2 folder")]
EveryOption = Annotated[int, typer.Option(help="Keep every N-th image of the split", min=1)]
SeedOption = Annotated[int, typer.Option(help="Seed of everything random", min=0)]
DegradeOption = Annotated[
    str, typer.Option(metavar="KIND:LEVEL", help="night, blur, noise, occlusion or exposure, levels 1 to 5")
]
ExtractorOption = Annotated[str, typer.Option(help="Feature extractor: hfnet, rootsift or PATH.onnx")]
ExtractorConfigOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="YAML file of the extractor's settings (docs/your_own_route.md)")
]
TrackerModelOption = Annotated[
    str, typer.Option(help="The tracker's network, that `vizloc export pixloc` wrote; empty: the package's")
]
LongSideOption = Annotated[int, typer.Option(help="Its images' longer side is shrunk to this \\[px]", min=64)]
ProviderOption = Annotated[str, typer.Option(help="What the network runs on: cpu, cuda or tensorrt")]
ConfigOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="YAML file of options (docs/your_own_route.md, docs/evaluation.md)")
]


def command_line() -> str:
    """What was typed, for reports."""
    return shlex.join(["vizloc", *sys.argv[1:]])
