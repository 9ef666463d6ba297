"""``vizloc map``: import-colmap, import-hloc, export-colmap, export: maps from and for other programs."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vizloc_ros.cli.arguments import (
    ConfigOption,
    EveryOption,
    ExtractorConfigOption,
    ExtractorOption,
    MapArgument,
    PixLocOption,
    ProviderOption,
    SeedOption,
)
from vizloc_ros.cli.config_file import read_mapping, read_options
from vizloc_ros.cli.map import build_and_print, print_size
from vizloc_ros.cli.progress import bar
from vizloc_ros.datasets.record import every as every_nth
from vizloc_ros.files import require_file
from vizloc_ros.mapping.builder import BuildOptions
from vizloc_ros.mapping.map_writer import replacing_map
from vizloc_ros.mapping.ply import Coloring, export_ply
from vizloc_ros.mapping.visual_map import VisualMap

app = typer.Typer()
console = Console()

OutMapOption = Annotated[
    Path, typer.Option(help="Folder of the new map; an existing map is replaced after success", file_okay=False)
]
ScaleOption = Annotated[float, typer.Option(help="Meters per unit of the model", min=0)]
MapImagesOption = Annotated[
    str, typer.Option(metavar="DATASET", help="The map's images, if they have moved; empty: as at the build")
]
MapSplitOption = Annotated[str, typer.Option(help="Split of the dataset that was mapped")]


@app.command("import-colmap")
def import_colmap(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of the COLMAP model", file_okay=False)],
    images: Annotated[Path, typer.Option(help="Folder of the model's images", file_okay=False)],
    out: OutMapOption,
    scale: ScaleOption = 1.0,
    names: Annotated[
        Path | None, typer.Option("--list", metavar="FILE", help="Images to map, one name a line; by default all")
    ] = None,
    every: EveryOption = 1,
    extractor: ExtractorOption = "hfnet",
    extractor_config: ExtractorConfigOption = None,
    provider: ProviderOption = "cpu",
    config: ConfigOption = None,
    pixloc: PixLocOption = True,
    seed: SeedOption = 0,
) -> None:
    """Build a map from a COLMAP model and its images.

    Cameras and poses are those of the model. Features and landmarks are new.
    """
    from vizloc_ros.datasets.colmap import colmap_specification, open_colmap

    spec = colmap_specification(model, images=images, scale=scale, **({"map": names} if names else {}))
    dataset = open_colmap(spec)
    records = every_nth(dataset.records("map" if names else "all"), every)
    options = read_options(config, BuildOptions, seed=seed)
    build_and_print(records, dataset.name, out, options, extractor, extractor_config, provider, pixloc)


@app.command("import-hloc")
def import_hloc(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of hloc's outputs", file_okay=False)],
    out: OutMapOption,
    extractor: Annotated[
        str, typer.Option(help="Extractor of these features: PATH.onnx, hfnet or rootsift; empty: not at hand")
    ] = "",
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of the images, to compare the extractor and for --pixloc", file_okay=False),
    ] = None,
    sfm: Annotated[Path | None, typer.Option(help="Folder of the model, if DIR has several", file_okay=False)] = None,
    features: Annotated[Path | None, typer.Option(metavar="FILE.h5", help="Local features, likewise")] = None,
    global_features: Annotated[
        Path | None, typer.Option("--global", metavar="FILE.h5", help="Global descriptors, likewise")
    ] = None,
    scale: ScaleOption = 1.0,
    extractor_config: ExtractorConfigOption = None,
    provider: ProviderOption = "cpu",
    pixloc: PixLocOption = True,
    seed: SeedOption = 0,
) -> None:
    """Make a map of hloc's features and its model.

    Queries are localized with --extractor, which must make the same features.
    """
    from vizloc_ros.datasets.hloc_features import HlocFiles
    from vizloc_ros.features.device import Device
    from vizloc_ros.features.extractor import open_extractor
    from vizloc_ros.mapping.hloc_import import import_hloc
    from vizloc_ros.pixloc.extractors.pyramid_extractor import open_pyramid_extractor
    from vizloc_ros.pixloc.reference_builder import add_references
    from vizloc_ros.readers import open_dataset

    device = Device(provider=provider)
    files = HlocFiles.find(folder, sfm, features, global_features)
    opened = open_extractor(extractor, read_mapping(extractor_config), device=device) if extractor else None
    with replacing_map(out) as new:
        report = import_hloc(files, new, extractor=opened, images=images, scale=scale, seed=seed, progress=bar)
        visual_map = VisualMap.open(new)
        if pixloc and images is not None:
            records = open_dataset(visual_map.info.dataset).records("all")
            add_references(new, records, open_pyramid_extractor(device=device), bar)
    console.print(
        f"{out}: {report['keyframes']} keyframes, {report['landmarks']} landmarks, reprojection error "
        f"{report['mean_reprojection_error_px']:.2f} px"
    )
    for warning in report["warnings"]:
        console.print(f"warning: {warning}", style="bold yellow")
    if opened is None:
        text = f"queries need the same features ({visual_map.info.extractor.name}): name their network with --extractor"
        console.print(text, style="yellow", soft_wrap=True)
    elif images is None:
        console.print("the extractor was not compared with the features: name the images with --images", style="yellow")
    if pixloc and images is not None:
        print_size(out)


@app.command("export-colmap")
def export_colmap(
    map_path: MapArgument,
    out: Annotated[Path, typer.Option(help="Folder of the model; it must be new", file_okay=False)],
    text: Annotated[bool, typer.Option(help="Write COLMAP's text format")] = False,
    images: Annotated[bool, typer.Option(help="Also write the rectified images, and color the points")] = False,
    dataset: MapImagesOption = "",
    split: MapSplitOption = "map",
) -> None:
    """Write a map as a COLMAP model.

    The model has cameras, names of the images, poses, observations and points.
    """
    from vizloc_ros.mapping.colmap_export import export_colmap
    from vizloc_ros.readers import open_dataset

    visual_map = VisualMap.open(map_path)
    records = open_dataset(dataset or visual_map.info.dataset).records(split) if images else None
    model = export_colmap(visual_map, out, text=text, records=records, progress=bar)
    console.print(
        f"{out}: {model.num_images()} images, {model.num_points3D()} points, {model.compute_num_observations()} "
        f"observations, reprojection error {model.compute_mean_reprojection_error():.2f} px"
    )


@app.command("export")
def export(
    map_path: MapArgument,
    out: Annotated[Path, typer.Option(metavar="FILE.ply", help="File of the landmarks", dir_okay=False)],
    color: Annotated[Coloring, typer.Option(help="Meaning of the colors")] = Coloring.HEIGHT,
) -> None:
    """Write landmarks and keyframes as PLY files for viewers.

    The keyframes, with their viewing directions as normals, are in a second file.
    """
    require_file(out)
    visual_map = VisualMap.open(map_path)
    keyframes = export_ply(visual_map, out, color)
    console.print(f"{out}: {visual_map.info.landmarks} landmarks, colored by {color.value}")
    console.print(f"{keyframes}: {visual_map.info.keyframes} keyframes")
