"""``vizloc map``: merge and extend: several sessions in one map."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vizloc_ros.cli.alike_places import compare_places
from vizloc_ros.cli.arguments import (
    ConfigOption,
    DatasetArgument,
    EveryOption,
    LongSideOption,
    MapArgument,
    PixLocOption,
    ProviderOption,
    SeedOption,
    TrackerModelOption,
)
from vizloc_ros.cli.config_file import read_options
from vizloc_ros.cli.map import print_build, print_choice
from vizloc_ros.cli.progress import bar
from vizloc_ros.localization.faiss_index import INDEX_FILE
from vizloc_ros.mapping.builder import BuildOptions
from vizloc_ros.mapping.map_merge import MergeReport, known_transform, merge_maps, require_same_features
from vizloc_ros.mapping.map_writer import replacing_map
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.pixloc.tracking_options import LONG_SIDE

app = typer.Typer()
console = Console()
_MAX_SHOWN = 5

OutOption = Annotated[
    Path, typer.Option(help="Folder of the resulting map; an existing map is replaced after success", file_okay=False)
]


@app.command()
def merge(
    map_path: MapArgument,
    other: Annotated[Path, typer.Argument(metavar="OTHER", help="Map to add to it, of the same features")],
    out: OutOption,
    align: Annotated[
        bool, typer.Option("--align", help="The maps are not in one frame: align OTHER by matches with MAP")
    ] = False,
) -> None:
    """Merge two maps into one.

    Frame, georeference and scale are those of MAP.
    """
    from vizloc_ros.localization.session_alignment import align_by_matches

    with replacing_map(out) as new:
        first, second = VisualMap.open(map_path), VisualMap.open(other)
        require_same_features(first, second)
        known = None if align else known_transform(first.info, second.info)
        alignment = align_by_matches(first, second, known, bar)
        seen = f"{alignment.agreeing} of {alignment.tried} keyframes of {other} agree with matches in {map_path}"
        moved = "" if known is not None else f"; aligned by them, scale {alignment.first_from_second.scale:.4f}"
        console.print(seen + moved, soft_wrap=True)
        report = merge_maps(first, second, alignment.first_from_second, new, bar)
        print_merge(report, out, first)
        compare_places(new)


@app.command()
def extend(
    map_path: MapArgument,
    dataset: DatasetArgument,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the resulting map; by default, MAP is replaced", file_okay=False)
    ] = None,
    split: Annotated[str, typer.Option(help="Split of the dataset to add")] = "map",
    every: EveryOption = 1,
    localize: Annotated[
        bool, typer.Option("--localize", help="Ignore poses: localize the images in MAP, add those that are found")
    ] = False,
    config: ConfigOption = None,
    provider: ProviderOption = "cpu",
    pixloc: PixLocOption = True,
    model: TrackerModelOption = "",
    long_side: LongSideOption = LONG_SIDE,
    seed: SeedOption = 0,
) -> None:
    """Add a further session of images to a map.

    Poses are in the world of the map. Images without a pose are localized in the map first.
    """
    from vizloc_ros.datasets.record import every as every_nth
    from vizloc_ros.evaluation.map_extension import extend_map, posed_in_map
    from vizloc_ros.features.device import Device
    from vizloc_ros.mapping.keyframe_choice import choose_keyframes
    from vizloc_ros.pixloc.extractors.pyramid_extractor import open_pyramid_extractor
    from vizloc_ros.readers import open_dataset

    out = out or map_path
    with replacing_map(out) as new:
        device = Device(provider=provider, threads=1)
        visual_map = VisualMap.open(map_path, device)
        options = read_options(config, BuildOptions, seed=seed)
        tracker = open_pyramid_extractor(model, device, long_side) if pixloc and visual_map.info.pixloc else None
        if tracker is not None:
            visual_map.require_references(tracker.model_id)
        records = every_nth(open_dataset(dataset).records(split), every)
        session = posed_in_map(visual_map, records, localize, bar)
        if left_out := session.left_out:
            shown = ", ".join(left_out[:_MAX_SHOWN]) + (" ..." if len(left_out) > _MAX_SHOWN else "")
            found = f"{session.localized} of {session.localized + len(left_out)} images were localized"
            text = f"{found}; {len(left_out)} were not, and are left out: {shown}"
            console.print(text, style="yellow", soft_wrap=True)
        chosen = choose_keyframes(session.records, options.keyframes, bar)
        print_choice(chosen, len(session.records))
        built, merged = extend_map(
            visual_map,
            session.with_records(chosen.records),
            new,
            dataset=dataset,
            options=options,
            tracker=tracker,
            progress=bar,
        )
        print_build(built, Path(f"{out} (session)"))
        print_merge(merged, out, visual_map)
        compare_places(new)


def print_merge(report: MergeReport, out: Path, before: VisualMap) -> None:
    """Show what came into a map, and what the result lacks.

    Args:
        report: figures of the merge.
        out: folder of the result.
        before: map to which the keyframes were added.
    """
    console.print(
        f"{out}: {report.keyframes} keyframes added to {before.info.keyframes}: {report.new_places} of new places, "
        f"{report.known_places} of known ones (appearance sessions); {report.linked} are linked by {report.joined} "
        "common landmarks",
        soft_wrap=True,
    )
    if report.doubles:
        console.print(f"{report.doubles} keyframes were left out: the same images are in {before.folder} already")
    if report.keyframes and not report.linked:
        console.print("no landmark is common: the two are joined by their coordinates alone", style="yellow")
    if report.no_references:
        console.print(
            f"the result has no references for the tracker: {report.no_references}. Run 'vizloc map add-pixloc' on "
            "each map before",
            style="yellow",
            soft_wrap=True,
        )
    if INDEX_FILE in before.info.files:
        console.print(f"the index is of the map before: make one with 'vizloc map index {out}'", style="yellow")
