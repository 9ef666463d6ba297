"""``vizloc map``: import-colmap, import-hloc, export-colmap, export: maps from and for other programs."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from vizloc_ros.cli.arguments import MapArgument
from vizloc_ros.cli.progress import bar
from vizloc_ros.mapping.ply import Coloring, export_ply
from vizloc_ros.mapping.visual_map import VisualMap

app = typer.Typer()
console = Console()

MapImagesOption = Annotated[
    str, typer.Option(metavar="DATASET", help="The map's images, if they have moved; empty: as at the build")
]
MapSplitOption = Annotated[str, typer.Option(help="Split of the dataset that was mapped")]


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
