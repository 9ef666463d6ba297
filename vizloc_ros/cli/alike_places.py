"""Places of a map that look alike, as ``vizloc map`` computes and shows them."""

from pathlib import Path

from rich.console import Console

from vizloc_ros.cli.progress import bar
from vizloc_ros.localization.self_similarity import add_self_similarity, self_similarity
from vizloc_ros.mapping.self_similarity_report import BUILD_KEY, SelfSimilarity
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.work.stages import IN_MEMORY, Stages

console = Console()


def compare_places(map_path: Path, work: Stages = IN_MEMORY) -> None:
    """Compare the places of a new map, write the result into it, and show it; ``work`` is the place to compare them."""
    print_alike(add_self_similarity(map_path, bar, work))


def print_alike_of(visual_map: VisualMap, compare: bool = False) -> None:
    """Show which places of a map look alike, as it says itself; if it does not, ``compare`` them or say nothing."""
    known = visual_map.info.build.get(BUILD_KEY)
    if known is not None:
        print_alike(SelfSimilarity.model_validate(known))
    elif compare:
        print_alike(self_similarity(visual_map, bar))


def print_alike(found: SelfSimilarity) -> None:
    """Show how many keyframes have a double, and a warning of the stretches."""
    console.print(found.text, soft_wrap=True)
    for warning in found.warnings():
        console.print(f"warning: {warning}", style="bold yellow", soft_wrap=True)
