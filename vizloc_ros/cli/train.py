"""``vizloc train``: trains the package's networks; needs the extra ``vizloc_ros[train]``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vizloc_ros.cli.options_file import read_options
from vizloc_ros.cli.progress import bar
from vizloc_ros.errors import ConfigError

app = typer.Typer(help="Train networks (pip install 'vizloc_ros[train]').", no_args_is_help=True)


@app.command()
def hfnet(
    config: Annotated[Path, typer.Option(help="YAML file of the run (docs/training.md)", dir_okay=False)],
    out: Annotated[Path, typer.Option(help="Folder for checkpoint and log", file_okay=False)],
    resume: Annotated[bool, typer.Option("--resume", help="Go on at the checkpoint in --out")] = False,
    until: Annotated[int | None, typer.Option(help="Stop at this step; --resume goes on", min=1)] = None,
    threads: Annotated[int, typer.Option(help="CPU threads; 0: all cores", min=0)] = 0,
) -> None:
    """Distil HF-Net from a teacher."""
    require_torch()
    import torch

    from vizloc_ros.training.hfnet import HfNetTrainer
    from vizloc_ros.training.hfnet_config import HfNetTraining

    if threads:
        torch.set_num_threads(threads)
    trainer = HfNetTrainer(read_options(config, HfNetTraining), out)
    if resume:
        trainer.resume()
    elif trainer.checkpoint.exists():
        raise ConfigError(f"{trainer.checkpoint}: there is a run already: give --resume, or another --out")
    console = Console()

    def report(step: int, losses: Mapping[str, float]) -> None:
        shown = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
        console.print(f"step {step}/{trainer.config.steps}  {shown}", highlight=False)

    trainer.run(until, report)
    console.print(f"written to {out}")


@app.command("hfnet-global")
def global_head(
    config: Annotated[Path, typer.Option(help="YAML file of the run (docs/training.md)", dir_okay=False)],
    out: Annotated[Path, typer.Option(help="Folder for checkpoint and log", file_okay=False)],
    resume: Annotated[bool, typer.Option("--resume", help="Go on at the latest state in --out")] = False,
    until: Annotated[int | None, typer.Option(help="Stop at this step; --resume goes on", min=1)] = None,
    threads: Annotated[int, typer.Option(help="CPU threads; 0: all cores", min=0)] = 0,
) -> None:
    """Train the global head of a distilled HF-Net on whole images."""
    require_torch()
    import torch

    from vizloc_ros.training.global_config import GlobalTraining
    from vizloc_ros.training.global_head import GlobalHeadTrainer

    if threads:
        torch.set_num_threads(threads)
    trainer = GlobalHeadTrainer(read_options(config, GlobalTraining), out, bar)
    if resume:
        trainer.resume()
    elif trainer.latest.exists():
        raise ConfigError(f"{trainer.latest}: there is a run already: give --resume, or another --out")
    console = Console()

    def report(step: int, values: Mapping[str, float]) -> None:
        shown = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
        console.print(f"step {step}/{trainer.config.steps}  {shown}", highlight=False)

    trainer.run(until, report)
    best = ", ".join(f"{name} {value:.4f}" for name, value in trainer.best.items())
    console.print(f"written to {out}, best on held-out places: {best}", highlight=False)


def require_torch() -> None:
    """Says what to install. Raises ``ConfigError`` without PyTorch."""
    try:
        import torch  # noqa: F401
    except ImportError:
        raise ConfigError("training and export need PyTorch: pip install 'vizloc_ros[train]'") from None
