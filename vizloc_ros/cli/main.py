"""Command ``vizloc``: exit code 0 for success, 1 for an error in the input, 2 for wrong usage.

After Ctrl-C it is 130, after SIGTERM 143.
"""

import sys

import typer
from rich.console import Console

from vizloc_ros import __version__
from vizloc_ros.cli import bag, evaluate, export, map_exchange, map_sessions, map_upkeep, train
from vizloc_ros.cli import map as map_commands
from vizloc_ros.cli.benchmark import benchmark
from vizloc_ros.cli.demo import demo
from vizloc_ros.cli.localize import localize
from vizloc_ros.cli.map_from_images import from_images
from vizloc_ros.cli.replay import replay
from vizloc_ros.cli.stopping import Stoppable
from vizloc_ros.cli.track import track
from vizloc_ros.cli.view import view
from vizloc_ros.errors import VizlocError

app = typer.Typer(
    help="Visual localization: build maps, localize images in them, replay bags through the ROS 2 nodes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich's columns cut the names of options at 80 characters
)
map_commands.app.add_typer(map_exchange.app)
map_commands.app.add_typer(map_upkeep.app)
map_commands.app.add_typer(map_sessions.app)
map_commands.app.command("from-images")(from_images)
app.add_typer(map_commands.app, name="map")
app.add_typer(bag.app, name="bag")
app.add_typer(evaluate.app, name="evaluate")
app.add_typer(train.app, name="train")
app.add_typer(export.app, name="export")
app.command()(localize)
app.command()(track)
app.command()(replay)
app.command()(demo)
app.command()(benchmark)
app.command()(view)


@app.command()
def version() -> None:
    """Print the version."""
    Console().print(__version__, highlight=False)


def main() -> None:
    """Run the command of the command line."""
    with Stoppable() as stop:
        try:
            app(prog_name="vizloc")
        except VizlocError as error:
            _print_error(error, stop)
            sys.exit(error.exit_code)
        except OSError as error:  # a file that cannot be read or written; the text names it
            _print_error(error, stop)
            sys.exit(1)


def _print_error(error: Exception, stop: Stoppable) -> None:
    if stop.number:
        return  # an error of what was cut off
    Console(stderr=True).print(f"error: {error}", style="bold red", highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
