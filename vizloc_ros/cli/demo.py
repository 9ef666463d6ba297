"""``vizloc demo``: map lap one, write a bag of lap two, replay it through the nodes, evaluate the published poses."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vizloc_ros.cli.arguments import (
    DATASET_HELP,
    ExtractorConfigOption,
    ExtractorOption,
    ProviderOption,
    RateOption,
    SeedOption,
    StagesOption,
    command_line,
)
from vizloc_ros.cli.config_file import read_mapping
from vizloc_ros.cli.map import print_build, print_size
from vizloc_ros.cli.progress import bar
from vizloc_ros.cli.replay import INTERRUPTED, print_domain, print_replay
from vizloc_ros.cli.view import ViewOption, require_rerun, show_result
from vizloc_ros.evaluation.report import require_result_folder
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.mapping.builder import BuildOptions, build_map
from vizloc_ros.mapping.map_writer import LEAST_PER_IMAGE, replacing_map
from vizloc_ros.pixloc.extractors.pyramid_extractor import open_pyramid_extractor
from vizloc_ros.pixloc.reference_builder import add_references
from vizloc_ros.readers import open_dataset


def demo(
    out: Annotated[Path, typer.Option(help="Folder for map, bag, report", file_okay=False)] = Path("demo_output"),
    dataset: Annotated[
        str, typer.Option(metavar="DATASET", help=f"{DATASET_HELP}; with splits map and query")
    ] = "synthetic:",
    extractor: ExtractorOption = "hfnet",
    extractor_config: ExtractorConfigOption = None,
    provider: ProviderOption = "cpu",
    rate: RateOption = 1.0,
    composed: Annotated[bool, typer.Option(help="All nodes in one process instead of one each")] = False,
    tracking: Annotated[bool, typer.Option(help="With the tracker; without it, the localizer alone")] = True,
    stages: StagesOption = False,
    view: ViewOption = False,
    seed: SeedOption = 0,
) -> None:
    """Build a map, replay a drive through the nodes, evaluate it.

    The map is built from the split `map`, the drive is the split `query`.
    """
    from vizloc_ros.bags.writer import require_replaceable_bag, write_bag
    from vizloc_ros.features.device import Device
    from vizloc_ros.replay.bag_replay import private_domain
    from vizloc_ros.replay.replay_report import evaluate_replay

    if view:
        require_rerun()
    device = Device(provider=provider, threads=1)
    opened = open_extractor(extractor, read_mapping(extractor_config), device=device)
    require_result_folder(out)
    require_replaceable_bag(out / "bag", "own")
    console, domain = Console(), private_domain()
    source = open_dataset(dataset)
    map_records, query_records = source.records("map"), source.records("query")
    map_path, bag = out / "map", out / "bag"
    console.rule("1. Map")
    with replacing_map(map_path, len(map_records) * LEAST_PER_IMAGE) as new:
        report = build_map(
            map_records,
            opened,
            new,
            dataset=dataset,
            options=BuildOptions(seed=seed),
            progress=bar,
        )
        print_build(report, map_path)
        if tracking:
            add_references(new, map_records, open_pyramid_extractor(device=device), bar)
    print_size(map_path)
    console.rule("2. Bag")
    write_bag(query_records, bag, overwrite="own", progress=bar)
    console.rule(f"3. Replay through the nodes at {rate:g} times real time")
    details = {"dataset": dataset, "extractor": extractor, "command": command_line(), "seed": seed}
    result = evaluate_replay(
        bag,
        map_path,
        out,
        rate=rate,
        provider=provider,
        composed=composed,
        domain_id=domain,
        details=details,
        on_checked=lambda _: print_domain(console, domain),
    )
    print_replay(console, result, stages)
    console.print(f"report and figures: {out}/report.json, trajectory.png, errors.png, overlay.png")
    if result["interrupted"]:
        raise typer.Exit(INTERRUPTED)
    if view:
        show_result(out)
    if not result["num_poses"]:
        raise typer.Exit(1)
