"""Progress bars for the command line."""

from collections.abc import Iterable

from rich.console import Console
from rich.progress import track

from vizloc_ros.parallel import Item

console = Console(stderr=True)


def bar(iterable: Iterable[Item], description: str, total: int) -> Iterable[Item]:
    """Show progress as a bar on the standard error output, or as one line if that is no terminal."""
    if not console.is_terminal:
        console.print(f"{description} ({total})", highlight=False)
        return iterable
    return track(iterable, description, total, console=console)
