"""``vizloc view``: a result, a map or a bag in rerun's viewer; needs the extra ``vizloc_ros[view]``."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

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
from vizloc_ros.errors import InputError

if TYPE_CHECKING:
    from vizloc_ros.view.viewed import Viewed

RECORDING = "view.rrd"
ViewOption = Annotated[
    bool, typer.Option("--view", help="Show the result in rerun's viewer at the end (docs/viewer.md)")
]


def view(
    path: Annotated[
        Path, typer.Argument(metavar="RESULT|MAP|BAG", help="--out of localize, track, replay or demo; a map; a bag")
    ],
    map_path: Annotated[
        Path | None, typer.Option("--map", metavar="MAP", help="The map's folder; by default that of the result")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE.rrd", help="Write the recording only", dir_okay=False)
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace an existing recording")] = False,
    web: Annotated[bool, typer.Option("--web", help="Serve the viewer's page for a browser on this machine")] = False,
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
) -> None:
    """Show a result, map or bag in rerun's viewer, without ROS.

    It shows landmarks, trajectories, and images with their matches (docs/viewer.md).
    """
    require_rerun()
    from vizloc_ros.view.viewed import Kind, kind_of, open_viewed

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
    is_own = kind_of(path) is Kind.RESULT and save is None  # a result's recording, as its other files, is made again
    file = save or (path / RECORDING if is_own else Path(RECORDING))
    if file.exists() and not (is_own or overwrite):
        raise InputError(f"{file}: exists already: take another file with --save, or --overwrite")
    again = ["vizloc", "view", str(path), *(["--map", str(map_path)] if map_path else []), "--web"]
    _show(open_viewed(path, map_path, options), file, again, web=web, open_viewer=save is None)


def show_result(out: Path) -> None:
    """Write ``view.rrd`` into the folder of a result, and open it where there is a display."""
    require_rerun()
    from vizloc_ros.view.viewed import open_viewed

    again = ["vizloc", "view", str(out), "--web"]
    _show(open_viewed(out), out / RECORDING, again, web=False, open_viewer=True)


def require_rerun() -> None:
    """Raise ``InputError`` if rerun is not installed."""
    try:
        import rerun  # noqa: F401
    except ImportError as error:
        raise InputError(f"the viewer needs rerun ({error}): pip install 'vizloc_ros[view]', or rerun-sdk") from None


def _show(viewed: "Viewed", file: Path, again: Sequence[str], *, web: bool, open_viewer: bool) -> None:
    """Write the recording, and open it or say how that is done, or with which command in a browser."""
    from vizloc_ros.view.recording import write_recording
    from vizloc_ros.view.viewer import PAGE, has_display, open_window, serve_page

    console = Console()
    for note in write_recording(viewed, file, bar):
        console.print(Text(note, style="yellow"))
    size = file.stat().st_size / 1e6
    console.print(Text(f"written to {file} ({size:.1f} MB)"), soft_wrap=True)
    if web:
        console.print(Text(f"until Ctrl-C, a browser on this machine shows it: {PAGE}"), soft_wrap=True)
        serve_page(file)
    elif open_viewer and has_display():
        open_window(file)
    else:
        shown, page = shlex.join(["rerun", str(file)]), shlex.join(again)
        text = f"open it on a machine with a display: {shown}; or in a browser: {page}"
        console.print(Text(text), soft_wrap=True)
