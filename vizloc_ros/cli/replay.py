"""``vizloc replay``: a bag, localized in a map by the ROS 2 nodes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vizloc_ros.cli.arguments import (
    LongSideOption,
    MapArgument,
    ProviderOption,
    RateOption,
    StagesOption,
    TrackerModelOption,
    command_line,
)
from vizloc_ros.cli.bag_choices import (
    BaseFrameOption,
    BaseFromCamOption,
    CalibrationOption,
    CameraInfoTopicOption,
    ImageTopicOption,
    ImuTopicOption,
    MapFrameOption,
    MaxGapOption,
    PosesOption,
    TimeOffsetOption,
    TruthFrameOption,
    TruthTopicOption,
    bag_options,
)
from vizloc_ros.cli.progress import bar
from vizloc_ros.cli.view import ViewOption, require_rerun, show_result
from vizloc_ros.errors import DatasetError
from vizloc_ros.evaluation.report import report_table, require_result_folder
from vizloc_ros.pixloc.tracking_options import LONG_SIDE


def replay(
    source: Annotated[str, typer.Argument(metavar="BAG|DATASET", help="A rosbag as in `bag info`, or a dataset")],
    map_path: MapArgument,
    out: Annotated[Path, typer.Option(help="Folder for poses, report.json and figures", file_okay=False)],
    split: Annotated[str, typer.Option(help="Split of a dataset to replay, written as OUT/bag")] = "query",
    rate: RateOption = 1.0,
    model: TrackerModelOption = "",
    long_side: LongSideOption = LONG_SIDE,
    provider: ProviderOption = "cpu",
    composed: Annotated[bool, typer.Option(help="All nodes in one process instead of one each")] = False,
    image_topic: ImageTopicOption = "",
    camera_info_topic: CameraInfoTopicOption = "",
    calibration: CalibrationOption = None,
    base_frame: BaseFrameOption = "base_link",
    base_from_cam: BaseFromCamOption = "",
    truth_topic: TruthTopicOption = "",
    truth_frame: TruthFrameOption = "",
    max_gap: MaxGapOption = 0.5,
    poses: PosesOption = None,
    map_frame: MapFrameOption = "",
    imu_topic: ImuTopicOption = "",
    time_offset: TimeOffsetOption = 0.0,
    stages: StagesOption = False,
    view: ViewOption = False,
) -> None:
    """Replay a bag or dataset through the nodes, evaluate the poses.

    The exit code is 1 if no pose is published. Ctrl-C ends the playback; the images until then are evaluated, and the
    exit code is 130.
    """
    from vizloc_ros.replay.bag_replay import private_domain
    from vizloc_ros.replay.replay_report import evaluate_replay

    if view:
        require_rerun()
    options = bag_options(
        image_topic,
        camera_info_topic,
        calibration,
        base_frame,
        base_from_cam,
        truth_topic,
        truth_frame,
        max_gap,
        poses,
        map_frame,
        imu_topic,
        time_offset,
    )
    console, domain = Console(), private_domain()

    def show_start(tracking: bool) -> None:
        if not tracking:
            text = f"{map_path} has no reference features: the tracker does not run, the localizer is evaluated"
            console.print(Text(f"{text}. To add them: vizloc map add-pixloc {map_path}", "yellow"), soft_wrap=True)
        print_domain(console, domain)

    report = evaluate_replay(
        _bag(console, source, split, map_path, out, image_topic),
        map_path,
        out,
        rate=rate,
        provider=provider,
        model=model,
        long_side=long_side,
        composed=composed,
        domain_id=domain,
        options=options,
        details={"command": command_line()},
        on_checked=show_start,
    )
    print_replay(console, report, stages)
    console.print(Text(f"written to {out}"), soft_wrap=True)
    if report["interrupted"]:
        raise typer.Exit(INTERRUPTED)
    if view:
        show_result(out)
    if not report["num_poses"]:
        raise typer.Exit(1)
    watch = f"to see the poses in RViz, start {_rviz(domain)}, and repeat this command with ROS_DOMAIN_ID={domain}"
    console.print(Text(watch), soft_wrap=True)


def _bag(console: Console, source: str, split: str, map_path: Path, out: Path, image_topic: str) -> Path:
    """Path of a bag, which is written first if the source is a dataset. Raises ``DatasetError`` for several cameras."""
    from vizloc_ros.readers import READERS

    if Path(source).exists() or source.partition(":")[0] not in READERS:
        return Path(source)
    from vizloc_ros.bags.writer import write_bag
    from vizloc_ros.bags.written_topics import notes_on, topics_of_cameras
    from vizloc_ros.datasets.record import fixes_of
    from vizloc_ros.mapping.visual_map import VisualMap
    from vizloc_ros.readers import open_dataset

    VisualMap.open(map_path)  # before the long work
    dataset = open_dataset(source)
    records = dataset.records(split)
    cameras = list(dict.fromkeys(record.mounting.camera for record in records))
    if len(cameras) > 1 and not image_topic:
        raise DatasetError(
            f"{source}: the split {split!r} has images of {len(cameras)} cameras: choose one with ?camera="
            f"{cameras[0]}, or with --image-topic: {', '.join(t.image for t in topics_of_cameras(records).values())}"
        )
    require_result_folder(out)
    write_bag(records, out / "bag", fixes=fixes_of(dataset, split), overwrite="own", progress=bar)
    for note in notes_on(records):
        console.print(Text(note, style="yellow"))
    return out / "bag"


def print_domain(console: Console, domain: int) -> None:
    """Show where the nodes of a replay can be watched."""
    console.print(Text(f"on ROS domain {domain}; to watch it: {_rviz(domain)}"), soft_wrap=True)


def _rviz(domain: int) -> str:
    """Command that shows map and poses of a replay."""
    from vizloc_ros.ros.dds_profile import shipped_config

    return f"ROS_DOMAIN_ID={domain} rviz2 -d {shipped_config('vizloc.rviz')}"


_NOT_SHOWN = ("interrupted", "reasons", "warnings", "notes", "truth")
_REASONS_SHOWN = 8
INTERRUPTED = 130  # exit code, as of shells
_RIGHT = "0.5m_5deg"


def print_replay(console: Console, report: Mapping[str, Any], stages: bool) -> None:
    """Show the result of a replay, the reasons for which images have no pose, and a remedy for dropped ones.

    Args:
        console: console to print to.
        report: the report.
        stages: show all of the report's figures, too.
    """
    if report["truth"]:
        console.print(Text(f"ground truth: {report['truth']}"))
    for note in report["notes"]:
        console.print(Text(note, style="yellow"))
    if report["interrupted"]:
        text = f"interrupted {report['interrupted']}: all figures are of the images that were played"
        console.print(Text(text, style="bold yellow"))
    console.print(_summary(report))
    if stages:
        shown = {key: value for key, value in report.items() if key not in _NOT_SHOWN}
        console.print(report_table(shown))
    _print_reasons(console, report)
    if report["dropped"] and report["processed_hz"]:
        arriving = report["processed_hz"] * report["num_images"] / max(report["num_processed"], 1)
        console.print(
            f"{report['dropped']} of {report['num_images']} images were dropped: this machine processes "
            f"{report['processed_hz']:.1f} of {arriving:.1f} images a second and takes the newest ones; recall counts "
            "the dropped ones as wrong, recall of processed does not. A slower --rate processes all of them."
        )


def _summary(report: Mapping[str, Any]) -> Table:
    """Table of the four figures that tell how well a replay went."""
    images, poses = report["num_images"], report["num_poses"]
    right, error = f"{poses} of {images} with a pose; no ground truth", "-"
    if report["recall"]:
        right = f"{100 * report['recall'][_RIGHT]:.1f} % of {images} within 0.5 m, 5 deg"
        if report["median_translation_m"] is not None:
            error = f"{report['median_translation_m']:.3f} m, {report['median_rotation_deg']:.3f} deg"
    rate = "-" if report["processed_hz"] is None else f"{report['processed_hz']:.1f} images a second"
    latency = report["latency_ms"]
    table = Table(title="Result", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    for row in (
        ("images right", right),
        ("median error", error),
        ("rate", f"{rate}, {report['dropped']} dropped"),
        ("latency", "-" if latency is None else f"{latency['p50']:.0f} ms, 99 % within {latency['p99']:.0f} ms"),
    ):
        table.add_row(*map(Text, row))
    return table


def _print_reasons(console: Console, report: Mapping[str, Any]) -> None:
    """Show the reasons, most frequent first; all that the nodes said if there is no pose at all."""
    reasons: Mapping[str, int] = report["reasons"]
    no_pose = not report["num_poses"]
    if no_pose:
        console.print(Text(f"None of {report['num_images']} images got a pose.", style="bold red"))
    if reasons:
        console.print("Reasons for images without a pose, by what the nodes said, and number of images:")
    for reason, count in list(reasons.items())[:_REASONS_SHOWN]:
        console.print(Text(f"{count:6d}  {reason}"))
    if len(reasons) > _REASONS_SHOWN:
        console.print(f"        and {len(reasons) - _REASONS_SHOWN} more in report.json")
    if no_pose:
        for warning in report["warnings"]:
            console.print(Text(f"        {warning}"))
        if not reasons and not report["warnings"]:
            console.print("No node gave a reason: see nodes.log.")
