"""``vizloc map align``: place of a map in other coordinates, or on the earth."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from vizloc_ros.cli.arguments import MapArgument, SeedOption
from vizloc_ros.errors import BagError, ConfigError
from vizloc_ros.mapping.georeference import Georeference, parse_datum
from vizloc_ros.mapping.map_alignment import (
    KnownPositions,
    MapAlignment,
    align_positions,
    aligned_with_earth,
    aligned_with_world,
    local_positions,
    points_of_keyframes,
    positions_of_keyframes,
    read_positions,
    set_georeference,
)
from vizloc_ros.mapping.map_writer import changing_map
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.wording import numbers_text

_BAG = "bag:"
DatumOption = Annotated[
    str, typer.Option(help="Place of the positions' origin: LATITUDE,LONGITUDE,ALTITUDE or a UTM zone, e.g. 32N")
]


def align(
    map_path: MapArgument,
    gnss: Annotated[
        str,
        typer.Option(metavar="SOURCE", help="Lines 'NAME or SECONDS latitude longitude altitude', or bag:PATH"),
    ] = "",
    to: Annotated[Path | None, typer.Option(help="Lines 'NAME or SECONDS x y z' [m]", dir_okay=False)] = None,
    topic: Annotated[str, typer.Option(help="Topic of NavSatFix in a bag; empty: the only one")] = "",
    datum: DatumOption = "",
    antenna: Annotated[
        str, typer.Option(metavar="X,Y,Z", help="Position of the antenna in the camera's optical frame [m]")
    ] = "0,0,0",
    max_error: Annotated[
        float, typer.Option(help="Distance up to which a position counts as right [m]", min=1e-6)
    ] = 5.0,
    similarity: Annotated[
        bool, typer.Option("--similarity", help="Estimate the map's scale, too, and change it")
    ] = False,
    seed: SeedOption = 0,
) -> None:
    """Align a map with known positions of its keyframes.

    With --gnss, the map gets its place on the earth. With --to, poses are from then on written in the file's
    coordinates, and ground truth must be in them.
    """
    if bool(gnss) == (to is not None):
        raise ConfigError("vizloc map align: give either --gnss or --to")
    if topic and not gnss.startswith(_BAG):
        raise ConfigError(f"--topic {topic}: is for --gnss {_BAG}PATH")
    if datum and gnss:
        raise ConfigError(f"--datum {datum}: is for --to; positions of --gnss are on the earth already")
    place, lever = parse_datum(datum), _antenna(antenna)
    with changing_map(map_path) as copy:
        visual_map = VisualMap.open(copy)
        known = _known_positions(visual_map, to or Path(gnss.removeprefix(_BAG)), gnss.startswith(_BAG), topic)
        earth_from_local = None
        if gnss:
            known, earth_from_local = local_positions(known)
        keyframes, positions = positions_of_keyframes(visual_map, known)
        points = points_of_keyframes(visual_map, keyframes, lever)
        found = align_positions(points, positions, known.source, max_error=max_error, similarity=similarity, seed=seed)
        old = visual_map.info.place
        if earth_from_local is None:
            new = aligned_with_world(old, found, place)
        else:
            new = aligned_with_earth(old, found, earth_from_local)
        set_georeference(visual_map, new, found.scale)
    _print_alignment(map_path, found, new)


def _known_positions(visual_map: VisualMap, path: Path, is_bag: bool, topic: str) -> KnownPositions:
    if not is_bag:
        return read_positions(path, visual_map.keyframe_names)
    from vizloc_ros.bags.gnss_fixes import only_fix_topic, read_fixes

    chosen = only_fix_topic(path, topic)
    fixes = read_fixes(path, chosen)
    if not fixes:
        raise BagError(f"{path}: {chosen} has no message of a receiver with a fix")
    return KnownPositions.by_time(str(path), {f.timestamp_ns: (f.latitude, f.longitude, f.altitude) for f in fixes})


def _antenna(text: str) -> tuple[float, float, float]:
    try:
        x, y, z = (float(field) for field in text.split(","))
    except ValueError:
        raise ConfigError(f"--antenna {text}: expected X,Y,Z in meters") from None
    return x, y, z


def _print_alignment(map_path: Path, found: MapAlignment, new: Georeference) -> None:
    """Show the residuals and the new georeference."""
    console, used = Console(), found.residuals[found.agreeing]
    table = Table(title=f"Map {map_path}", show_header=False)
    for label, value in (
        ("positions that agree", f"{len(used)} of {len(found.residuals)}"),
        ("residual", f"median {np.median(used):.3f} m, 95 % {np.quantile(used, 0.95):.3f} m, max {used.max():.3f} m"),
        ("rotation", f"uncertain by {found.rotation_std_deg:.2g} deg"),
        ("scale", f"{found.scale:.6g}"),
        *place_rows(new),
    ):
        table.add_row(label, value)
    console.print(table)


def place_rows(place: Georeference) -> list[tuple[str, str]]:
    """Labels and texts of a map's place in its dataset and on the earth, as far as there is something to say."""
    rows = []
    if place.is_moved:
        *origin, qx, qy, qz, qw = place.world_from_map
        turned = "" if qw == 1 else f", quaternion {numbers_text((qx, qy, qz, qw))}"
        rows.append(("origin in the dataset", f"{', '.join(f'{value:.3f}' for value in origin)} m{turned}"))
    if place.datum is not None:
        rows.append(("origin on the earth", place.datum.text))
    return rows
