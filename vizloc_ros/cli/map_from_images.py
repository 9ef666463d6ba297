"""``vizloc map from-images``: a map of images without poses."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from vizloc_ros.cli.alike_places import compare_places
from vizloc_ros.cli.arguments import (
    ConfigOption,
    DatasetArgument,
    EveryOption,
    ExtractorConfigOption,
    ExtractorOption,
    ProviderOption,
    SeedOption,
)
from vizloc_ros.cli.build_work import ProcessesOption, RayOption, WorkChoice, WorkOption, open_work
from vizloc_ros.cli.config_file import read_mapping, read_options
from vizloc_ros.cli.progress import bar
from vizloc_ros.mapping.sfm_report import SfmReport
from vizloc_ros.wording import stages_text

console = Console()
PICTURE = "trajectory.png"


def from_images(
    dataset: DatasetArgument,
    out: Annotated[Path, typer.Option(help="Folder of the new map; an existing map is replaced after success")],
    split: Annotated[str, typer.Option(help="Split to map; empty: map, or all if that is missing or empty")] = "",
    every: EveryOption = 1,
    scale_from: Annotated[
        str,
        typer.Option(
            metavar="SOURCE", help="poses, odometry, gnss, camera-height:METERS, LENGTH:IMAGE_A,IMAGE_B; empty: unknown"
        ),
    ] = "",
    extractor: ExtractorOption = "hfnet",
    extractor_config: ExtractorConfigOption = None,
    provider: ProviderOption = "cpu",
    config: ConfigOption = None,
    pixloc: Annotated[bool, typer.Option(help="Also compute the tracker's reference features")] = True,
    seed: SeedOption = 0,
    processes: ProcessesOption = None,
    ray: RayOption = "",
    work: WorkOption = None,
) -> None:
    """Build a map from images without poses.

    Poses, and intrinsics that are not known, come from structure from motion.
    """
    from vizloc_ros.cli.map import print_build, print_size
    from vizloc_ros.datasets.record import every as every_nth
    from vizloc_ros.datasets.record import fixes_of, pictures_of
    from vizloc_ros.evaluation.report import draw_map
    from vizloc_ros.features.device import Device
    from vizloc_ros.features.extractor import open_extractor
    from vizloc_ros.mapping.map_writer import LEAST_PER_IMAGE, add_to_map, replacing_map
    from vizloc_ros.mapping.metric_scale import ScaleSource
    from vizloc_ros.mapping.unposed_build import UnposedBuildOptions, build_from_images
    from vizloc_ros.mapping.visual_map import VisualMap
    from vizloc_ros.pixloc.extractors.pyramid_extractor import open_pyramid_extractor
    from vizloc_ros.pixloc.reference_builder import add_references
    from vizloc_ros.readers import open_dataset

    source = ScaleSource.parse(scale_from)
    opened = open_dataset(dataset)
    if not split:  # the split map of a bag has the images with a pose
        split = "map" if "map" in opened.splits and pictures_of(opened, "map") else "all"
    records = every_nth(pictures_of(opened, split), every)
    options = read_options(config, UnposedBuildOptions)
    options = options.model_copy(update={"build": options.build.model_copy(update={"seed": seed})})
    device = Device(provider=provider, threads=1)  # images are processed in parallel
    features = open_extractor(extractor, read_mapping(extractor_config), device=device)
    dense = open_pyramid_extractor(device=device) if pixloc else None
    with (
        replacing_map(out, len(records) * LEAST_PER_IMAGE) as new,
        open_work(WorkChoice(processes, ray, work), out, len(records), provider) as stages,
    ):
        built = build_from_images(
            records,
            features,
            new,
            home=out,
            dataset=dataset,
            scale=source,
            fixes=fixes_of(opened, split) if source.kind == "gnss" else (),
            options=options,
            work=stages,
            progress=bar,
        )
        if built.report.sfm is not None:
            print_sfm(built.report.sfm, out)
        print_build(built.report, out)
        compare_places(new, stages)
        add_to_map(new, [PICTURE], lambda folder: draw_map(folder / PICTURE, VisualMap.open(new)))
        console.print(f"map from above, which shows whether the model is folded: {out / PICTURE}", soft_wrap=True)
        for path in built.calibrations:
            console.print(f"calibration, for images of the same camera: {path}")
        if dense is not None:
            add_references(new, built.records, dense, bar, stages)
    print_size(out)


def print_sfm(report: SfmReport, out: Path) -> None:
    """Show how many images were registered, the intrinsics, and the scale."""
    table = Table(title=f"Structure from motion of {out}", show_header=False)
    table.add_row("images registered", f"{report.registered} of {report.images}")
    if report.other_models:
        table.add_row("images of other models", ", ".join(map(str, report.other_models)))
    table.add_row("pairs that match", f"{report.verified_pairs} of {report.pairs}")
    table.add_row("reprojection error", f"{report.reprojection_error_px:.2f} px")
    for camera in report.cameras:
        focal = f"f {camera.focal_px:.1f}" + (f" ± {camera.focal_std_px:.1f}" if camera.focal_std_px else "") + " px"
        radial = f", k1 {camera.radial:+.4f}" if camera.radial else ""
        began = "known" if camera.origin == "known" else f"refined, first {camera.origin}"
        table.add_row(f"camera {camera.width}x{camera.height}", f"{focal}{radial} ({began})")
    deviation = f", deviation {report.scale_deviation:.2g}" if report.scale_deviation is not None else ""
    table.add_row("scale", f"{report.scale} (from {report.scale_source}{deviation})")
    table.add_row("time", stages_text(report.seconds))
    console.print(table)
