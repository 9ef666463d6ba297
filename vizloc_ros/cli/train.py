"""``vizloc train``: training of the package's networks; needs the extra ``vizloc_ros[train]``."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from vizloc_ros.cli.config_file import read_options
from vizloc_ros.cli.progress import bar
from vizloc_ros.errors import InputError

if TYPE_CHECKING:
    from vizloc_ros.training.training_run import TrainingRun

app = typer.Typer(help="Train networks (pip install 'vizloc_ros[train]').", no_args_is_help=True)
console = Console()

ConfigOption = Annotated[Path, typer.Option(help="YAML file of the run (docs/training.md)", dir_okay=False)]
OutOption = Annotated[Path, typer.Option(help="Folder for checkpoint and log", file_okay=False)]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Continue the run in --out from its last saved state")]
UntilOption = Annotated[int | None, typer.Option(help="Stop at this step; --resume continues", min=1)]
ThreadsOption = Annotated[int, typer.Option(help="CPU threads; 0: all cores", min=0)]


@app.command()
def hfnet(
    config: ConfigOption,
    out: OutOption,
    resume: ResumeOption = False,
    until: UntilOption = None,
    threads: ThreadsOption = 0,
) -> None:
    """Distill HF-Net from a teacher."""
    require_torch(threads)
    from vizloc_ros.training.distillation.distillation_options import HfNetTraining
    from vizloc_ros.training.distillation.hfnet_trainer import HfNetTrainer

    options = read_options(config, HfNetTraining)
    _run(HfNetTrainer(options, out, resume=resume, threads=threads, progress=bar), until)
    console.print(f"written to {out}")


@app.command("hfnet-global")
def global_head(
    config: ConfigOption,
    out: OutOption,
    resume: ResumeOption = False,
    until: UntilOption = None,
    threads: ThreadsOption = 0,
) -> None:
    """Train the global head of a distilled HF-Net.

    It is trained on whole images.
    """
    require_torch(threads)
    from vizloc_ros.training.global_head.global_head_options import GlobalTraining
    from vizloc_ros.training.global_head.global_head_trainer import GlobalHeadTrainer

    options = read_options(config, GlobalTraining)
    trainer = GlobalHeadTrainer(options, out, resume=resume, threads=threads, progress=bar)
    _run(trainer, until)
    console.print(f"written to {out}, best on held-out places: {_shown(trainer.best, ', ')}", highlight=False)


@app.command("hfnet-vocabulary")
def vocabulary(config: ConfigOption, out: OutOption, threads: ThreadsOption = 0) -> None:
    """Learn the global head on EdgePoint2's encoder.

    It is a vocabulary and the whitening of VLAD.
    """
    require_torch(threads)
    from vizloc_ros.training.vocabulary import VocabularyTraining, learn_vocabulary

    learn_vocabulary(read_options(config, VocabularyTraining), out, bar)
    console.print(f"written to {out}")


@app.command()
def pixloc(
    config: ConfigOption,
    out: OutOption,
    resume: ResumeOption = False,
    until: UntilOption = None,
    threads: ThreadsOption = 0,
    overfit: Annotated[
        bool, typer.Option("--overfit", help="Learn only one unchanged batch, as a check: its loss must vanish")
    ] = False,
) -> None:
    """Train PixLoc end to end, from pixels to pose."""
    require_torch(threads)
    from vizloc_ros.training.pixloc.pixloc_trainer import PixLocTrainer
    from vizloc_ros.training.pixloc.pixloc_training_options import PixLocTraining

    options = read_options(config, PixLocTraining)
    trainer = PixLocTrainer(options, out, resume=resume, overfit=overfit, progress=bar)
    _run(trainer, until)
    console.print(f"written to {out}, best ratio of held-out pairs: {trainer.best:.3f}", highlight=False)


def require_torch(threads: int = 0) -> None:
    """Set PyTorch's threads, 0 for all cores. Raises ``InputError`` if PyTorch is not installed."""
    try:
        import torch
    except ImportError:
        raise InputError("training and export need PyTorch: pip install 'vizloc_ros[train]'") from None
    if threads:
        torch.set_num_threads(threads)


def _run(trainer: "TrainingRun[Any]", until: int | None) -> None:
    """Train, and show the values of some steps."""

    def report(step: int, values: Mapping[str, float]) -> None:
        console.print(f"step {step}/{trainer.steps}  {_shown(values, '  ')}", highlight=False)

    trainer.run(until, report)


def _shown(values: Mapping[str, float], separator: str) -> str:
    return separator.join(f"{name} {value:.4f}" for name, value in values.items())
