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
from vizloc_ros.cli.config_file import read_options
from vizloc_ros.cli.map import build_and_print
from vizloc_ros.cli.progress import bar
from vizloc_ros.datasets.record import every as every_nth
from vizloc_ros.mapping.builder import BuildOptions
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
    from vizloc_ros.datasets.open import open_dataset
    from vizloc_ros.mapping.colmap_export import export_colmap

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
    """Write a map's landmarks and keyframes as PLY files for viewers.

    The keyframes, with their viewing directions as normals, are in a second file.
    """
    visual_map = VisualMap.open(map_path)
    keyframes = export_ply(visual_map, out, color)
    console.print(f"{out}: {visual_map.info.landmarks} landmarks, colored by {color.value}")
    console.print(f"{keyframes}: {visual_map.info.keyframes} keyframes")
