"""``vizloc export``: ONNX files of trained networks, for the nodes."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vizloc_ros.cli.train import require_torch
from vizloc_ros.errors import ConfigError
from vizloc_ros.files import require_file

app = typer.Typer(help="Export trained networks (pip install 'vizloc_ros[train]').", no_args_is_help=True)


@app.command()
def hfnet(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Folder of `vizloc train hfnet`, a checkpoint in it, or EdgePoint2; of several, the mean is exported",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The .onnx file to write", dir_okay=False)],
    size: Annotated[str, typer.Option(metavar="WIDTHxHEIGHT", help="Fixed size of the image; empty: any")] = "",
    max_keypoints: Annotated[int, typer.Option(help="Maximum number of keypoints of the file", min=1)] = 2048,
    half: Annotated[bool, typer.Option(help="Store weights in 16 bit")] = True,
) -> None:
    """Export HF-Net to ONNX.

    From an EdgePoint2 file (ONNX), it is the network before its distillation. Of several runs the mean of the weights
    is exported, with the global head of the first. They must have started from the same weights.
    """
    fixed_size = _size(size)
    require_file(out)
    require_torch()
    from vizloc_ros.features.hfnet.hfnet_export import export_onnx
    from vizloc_ros.training.checkpoint import load_mean_network

    network, details = load_mean_network([run / "checkpoint.pt" if run.is_dir() else run for run in runs])
    export_onnx(network, out, size=fixed_size, half=half, max_keypoints=max_keypoints, metadata=details)
    Console().print(f"written to {out} ({out.stat().st_size / 1e6:.1f} MB)", highlight=False)


@app.command()
def pixloc(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="Folder of `vizloc train pixloc`, a checkpoint in it, a .safetensors file, or EdgePoint2",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The .onnx, or .safetensors, file to write", dir_okay=False)],
    size: Annotated[str, typer.Option(metavar="WIDTHxHEIGHT", help="Fixed size of the image; empty: any")] = "",
    half: Annotated[bool, typer.Option(help="Store weights in 16 bit")] = True,
) -> None:
    """Export PixLoc's network to ONNX.

    From an EdgePoint2 file (ONNX), it is the network before end-to-end training.
    """
    fixed_size = _size(size)
    require_file(out)
    require_torch()
    from vizloc_ros.pixloc.network.network_store import save_network
    from vizloc_ros.pixloc.network.pixloc_export import export_onnx
    from vizloc_ros.training.pixloc.trained import open_trained

    trained = open_trained(source / "checkpoint.pt" if source.is_dir() else source)
    if out.suffix == ".safetensors":
        save_network(trained.network, trained.loss, out, trained.metadata)
    else:
        export_onnx(trained.network, out, loss=trained.loss, half=half, size=fixed_size, metadata=trained.metadata)
    Console().print(f"written to {out} ({out.stat().st_size / 1e6:.1f} MB)", highlight=False)


def _size(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise ConfigError(f"--size {text!r} is not WIDTHxHEIGHT, e.g. 640x480")
    return int(width), int(height)
