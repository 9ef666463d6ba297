"""``vizloc map``: build, from-images, add-pixloc, info, check, index, align."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from vizloc_ros.cli.alike_places import compare_places, print_alike_of
from vizloc_ros.cli.arguments import (
    ConfigOption,
    DatasetArgument,
    EveryOption,
    ExtractorConfigOption,
    ExtractorOption,
    LongSideOption,
    MapArgument,
    PixLocOption,
    ProviderOption,
    SeedOption,
    TrackerModelOption,
)
from vizloc_ros.cli.build_work import ProcessesOption, RayOption, WorkChoice, WorkOption, open_work
from vizloc_ros.cli.config_file import read_mapping, read_options
from vizloc_ros.cli.map_align import align, place_rows
from vizloc_ros.cli.progress import bar
from vizloc_ros.datasets.record import Record
from vizloc_ros.datasets.record import every as every_nth
from vizloc_ros.errors import ConfigError, MapError
from vizloc_ros.features.extractor import open_extractor
from vizloc_ros.localization.faiss_index import INDEX_FILE, write_index
from vizloc_ros.localization.global_search import EXACT_UP_TO
from vizloc_ros.mapping.build_report import BuildReport
from vizloc_ros.mapping.builder import BuildOptions, build_map
from vizloc_ros.mapping.check import map_problems, purpose
from vizloc_ros.mapping.drift_report import DriftReport
from vizloc_ros.mapping.georeference import Utm, Wgs84, parse_datum
from vizloc_ros.mapping.keyframe_choice import ChosenKeyframes, choose_keyframes
from vizloc_ros.mapping.level import level_note
from vizloc_ros.mapping.map_format import MapInfo
from vizloc_ros.mapping.map_writer import LEAST_PER_IMAGE, add_to_map, changing_map, replacing_map
from vizloc_ros.mapping.reference_arrays import array_files
from vizloc_ros.mapping.route_coverage import coverage_of_map
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.options import validated
from vizloc_ros.pixloc.tracking_options import LONG_SIDE
from vizloc_ros.readers import open_dataset
from vizloc_ros.wording import number_text, stages_text

app = typer.Typer(help="Build and inspect maps.", no_args_is_help=True)
console = Console()
DatumOption = Annotated[
    str, typer.Option(help="Place of the dataset's origin: LATITUDE,LONGITUDE,ALTITUDE or a UTM zone, e.g. 32N")
]
_MAX_SHOWN = 5
app.command()(align)


@app.command()
def build(
    dataset: DatasetArgument,
    out: Annotated[Path, typer.Option(help="Folder of the new map; an existing map is replaced after success")],
    split: Annotated[str, typer.Option(help="Split of the dataset to map")] = "map",
    every: EveryOption = 1,
    keyframe_distance: Annotated[
        float | None, typer.Option(help="Distance between keyframes, by motion and quality; 0: all images [m]", min=0)
    ] = None,
    extractor: ExtractorOption = "hfnet",
    extractor_config: ExtractorConfigOption = None,
    provider: ProviderOption = "cpu",
    config: ConfigOption = None,
    datum: DatumOption = "",
    refine_poses: Annotated[
        bool, typer.Option("--refine-poses", help="Correct poses that drift, as of an odometry, by the images")
    ] = False,
    level: Annotated[
        bool, typer.Option("--level", help="Turn the map's axes so that z points up, by the images")
    ] = False,
    map_from_world: Annotated[
        str, typer.Option(metavar="X,Y,Z,QX,QY,QZ,QW", help="Pose of the dataset's world in the map [m, quaternion]")
    ] = "",
    pixloc: PixLocOption = True,
    seed: SeedOption = 0,
    processes: ProcessesOption = None,
    ray: RayOption = "",
    work: WorkOption = None,
) -> None:
    """Build a map from posed images.

    After a kill at any moment, the same command goes on where it ended.
    """
    records = every_nth(open_dataset(dataset).records(split), every)
    options = read_options(config, BuildOptions, seed=seed)
    if keyframe_distance is not None:
        keyframes = options.keyframes.model_copy(update={"min_distance": keyframe_distance})
        options = options.model_copy(update={"keyframes": keyframes})
    if refine_poses:
        drift = options.refine_poses.model_copy(update={"enabled": True})
        options = options.model_copy(update={"refine_poses": drift})
    if level or map_from_world:
        frame = {"level": level or options.level, "map_from_world": _numbers("--map-from-world", map_from_world)}
        options = validated(BuildOptions, {**options.model_dump(), **frame}, "vizloc map build")
    choice = WorkChoice(processes, ray, work)
    build_and_print(
        records, dataset, out, options, extractor, extractor_config, provider, pixloc, parse_datum(datum), choice
    )


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(field) for field in text.split(",")) if text else ()
    except ValueError:
        raise ConfigError(f"{option} {text}: expected X,Y,Z,QX,QY,QZ,QW") from None


def build_and_print(
    records: Sequence[Record],
    dataset: str,
    out: Path,
    options: BuildOptions,
    extractor: str,
    extractor_config: Path | None,
    provider: str,
    pixloc: bool,
    datum: Wgs84 | Utm | None = None,
    choice: WorkChoice | None = None,
) -> None:
    """Build a map of posed records, add the tracker's reference features if ``pixloc``, and show the reports."""
    from vizloc_ros.features.device import Device
    from vizloc_ros.pixloc.extractors.pyramid_extractor import open_pyramid_extractor
    from vizloc_ros.pixloc.reference_builder import add_references

    chosen = choose_keyframes(records, options.keyframes, bar)
    print_choice(chosen, len(records))
    records = chosen.records
    device = Device(provider=provider, threads=1)  # images are processed in parallel
    opened = open_extractor(extractor, read_mapping(extractor_config), device=device)
    dense = open_pyramid_extractor(device=device) if pixloc else None
    with (
        replacing_map(out, len(records) * LEAST_PER_IMAGE) as new,
        open_work(choice or WorkChoice(), out, len(records), provider) as work,
    ):
        report = build_map(records, opened, new, dataset=dataset, options=options, datum=datum, work=work, progress=bar)
        print_build(report, out)
        if note := level_note(np.array(VisualMap.open(new).keyframe_poses)):
            console.print(note)
        compare_places(new, work)
        if dense is not None:
            add_references(new, records, dense, bar, work)
    print_size(out)


@app.command("add-pixloc")
def add_pixloc(
    map_path: MapArgument,
    dataset: Annotated[str, typer.Option(metavar="DATASET", help="The map's images; empty: as at the build")] = "",
    split: Annotated[str, typer.Option(help="Split of the dataset that was mapped")] = "map",
    model: TrackerModelOption = "",
    long_side: LongSideOption = LONG_SIDE,
    provider: ProviderOption = "cpu",
    compact: Annotated[
        int,
        typer.Option(metavar="N", help="At most N views of each landmark, no two alike, in 6 bits; 0: all", min=0),
    ] = 0,
) -> None:
    """Compute the tracker's reference features of a map.

    This is for a map without them, for another network, or to make them smaller.
    """
    from vizloc_ros.features.device import Device
    from vizloc_ros.pixloc.extractors.pyramid_extractor import open_pyramid_extractor
    from vizloc_ros.pixloc.reference_builder import add_references

    visual_map = VisualMap.open(map_path)
    dense = open_pyramid_extractor(model, Device(provider=provider, threads=1), long_side)
    records = open_dataset(dataset or visual_map.info.dataset).records(split)
    add_references(map_path, records, dense, bar, views=compact)
    print_size(map_path)


def print_choice(chosen: ChosenKeyframes, count: int) -> None:
    """Show which images of a drive are no keyframes, if there are such."""
    if chosen.left_out:
        reasons = ", ".join(f"{number} {reason}" for reason, number in chosen.left_out.most_common())
        console.print(f"{len(chosen.records)} of {count} images are keyframes; the others: {reasons}", soft_wrap=True)


def print_size(map_path: Path) -> None:
    """Show the size of a map, and which part of it the tracker's reference features are."""
    info = VisualMap.open(map_path).info
    references = sum(info.files[f"{name}.npy"].bytes for name in array_files(info))
    total, tracker = info.bytes / info.keyframes / 1e3, references / info.keyframes / 1e3
    parts = "without references for the tracker"
    if info.pixloc is not None:
        parts = f"{total - tracker:.0f} kB for the localizer, {tracker:.0f} kB for the tracker ({info.pixloc})"
    console.print(f"{map_path}: {total:.0f} kB per keyframe, {parts}", soft_wrap=True)


def print_build(report: BuildReport, out: Path) -> None:
    """Show the report of a build, weak keyframes and warnings."""
    table = Table(title=f"Map {out}", show_header=False)
    for label, value in (
        ("keyframes", f"{report.keyframes}"),
        ("landmarks", f"{report.landmarks}"),
        ("keyframes that see a landmark", f"{report.mean_track_length:.1f}"),
        ("reprojection error", f"{report.mean_reprojection_error_px:.2f} px"),
        ("calibration corrected by up to", f"{report.calibration_shift_px:.2f} px"),
        ("matches that agree with the poses", f"{report.pose_agreement:.0%}"),
        ("route that can be localized", _route_text(report)),
        ("median speed, median depth", f"{report.median_speed_mps:.2f} m/s, {report.median_depth_m:.1f} m"),
        ("time", stages_text(report.seconds)),
    ):
        table.add_row(label, value)
    console.print(table)
    if report.drift:
        _print_drift(report.drift)
    if weak := report.weak_keyframes:
        shown = ", ".join(weak[:_MAX_SHOWN]) + (" ..." if len(weak) > _MAX_SHOWN else "")
        console.print(f"{len(weak)} keyframes see too few landmarks to localize against: {shown}", style="yellow")
    for warning in report.warnings:
        console.print(f"warning: {warning}", style="bold yellow")


def _route_text(report: BuildReport) -> str:
    if report.localizable_share is None or report.route_m is None:
        return "-"
    return f"{report.localizable_share:.0%} of {report.route_m:.0f} m"


@app.command()
def info(map_path: MapArgument) -> None:
    """Show the content of a map and how it was built."""
    visual_map = VisualMap.open(map_path)
    described = visual_map.info
    table = Table(title=f"Map {map_path}", show_header=False)
    for label, value in (
        ("format version", described.format_version),
        ("created", f"{described.created} by vizloc_ros {described.vizloc_version}"),
        ("dataset", described.dataset),
        *session_rows(described),
        ("frame", described.frame),
        *place_rows(described.place),
        ("scale", described.scale),
        ("features", described.extractor.feature_id),
        ("tracker's reference features", str(described.pixloc or "none")),
        ("keyframes", described.keyframes),
        ("landmarks", described.landmarks),
        ("observations", described.observations),
        ("cameras", ", ".join(f"{c.width}x{c.height}, f {c.fx:.1f} px" for c in described.cameras)),
        ("size", f"{described.bytes / 1e6:.1f} MB"),
        ("index of the global descriptors", "yes" if INDEX_FILE in described.files else "no"),
    ):
        table.add_row(label, str(value))
    for key, value in described.build.items():
        if isinstance(value, int | float) and not hasattr(described, key):  # others are above
            table.add_row(f"build: {key}", number_text(value))
    console.print(table)
    if drift := described.build.get("drift"):
        _print_drift(DriftReport.model_validate(drift))
    _print_build_warnings(visual_map)
    print_alike_of(visual_map)


@app.command()
def check(map_path: MapArgument) -> None:
    """Verify every byte of a map, and show where it localizes.

    Also stretches of its route that look alike. The exit code is 1 if files are missing, corrupt or of another map.
    """
    if problems := map_problems(map_path, bar):
        raise MapError("\n".join(problems))
    visual_map = VisualMap.open(map_path)
    console.print(f"{map_path}: whole, for {purpose(visual_map.info)}", style="green", markup=False, soft_wrap=True)
    coverage = coverage_of_map(visual_map)
    console.print(coverage.text, soft_wrap=True)
    for warning in dict.fromkeys(visual_map.info.build.get("warnings", []) + coverage.warnings()):
        console.print(f"warning: {warning}", style="bold yellow", soft_wrap=True)
    print_alike_of(visual_map, compare=True)


@app.command()
def index(map_path: MapArgument, seed: SeedOption = 0) -> None:
    """Add an index (FAISS) to a large map, or rebuild it.

    The index is that of the global descriptors.
    """
    start = time.perf_counter()
    with changing_map(map_path) as copy:
        visual_map = VisualMap.open(copy)
        added = add_to_map(
            copy,
            [INDEX_FILE],
            lambda folder: write_index(visual_map.global_descriptors, folder / INDEX_FILE, seed=seed, progress=bar),
        )
    keyframes = visual_map.info.keyframes
    seconds = time.perf_counter() - start
    console.print(f"{map_path}: {keyframes} keyframes indexed in {seconds:.1f} s, {added / 1e6:.1f} MB")
    if keyframes <= EXACT_UP_TO:
        console.print(f"Maps of up to {EXACT_UP_TO} keyframes are searched exactly unless 'search' is faiss.")


def _print_drift(report: DriftReport) -> None:
    for line in report.lines:
        console.print(line, soft_wrap=True)


def session_rows(described: MapInfo) -> list[tuple[str, str]]:
    """Label and text of every session of a map; none for a map of a single one."""
    return [
        (f"session {number}", f"{session.keyframes} keyframes of {session.dataset}, added {session.added}")
        for number, session in enumerate(described.sessions, 1)
    ]


def _print_build_warnings(visual_map: VisualMap) -> None:
    for warning in visual_map.info.build.get("warnings", []):
        console.print(f"warning at build time: {warning}", style="bold yellow")
