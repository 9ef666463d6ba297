"""Recording of a view: the file that rerun's viewer opens, with its entities and the layout of its panels."""

from pathlib import Path

import rerun as rr
import rerun.blueprint as rrb

from vizloc_ros.parallel import Progress, silent
from vizloc_ros.view.image_entities import CAMERA, IMAGE, ImageLog
from vizloc_ros.view.map_entities import log_map
from vizloc_ros.view.trajectory_entities import log_trajectories
from vizloc_ros.view.viewed import Viewed

APPLICATION = "vizloc"


def write_recording(viewed: Viewed, path: Path, progress: Progress = silent) -> tuple[str, ...]:
    """Write a recording for rerun's viewer.

    Args:
        viewed: what is to be seen.
        path: the file, ``.rrd``; missing folders are made.
        progress: progress display.

    Returns:
        Remarks about what is left out.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.open("wb").close()  # rerun would only log that it cannot be written
    recording = rr.RecordingStream(APPLICATION)
    recording.save(path)
    recording.send_recording_name(viewed.name)
    recording.send_blueprint(_layout(viewed))
    if viewed.visual_map is not None:
        log_map(recording, viewed.visual_map)
    log_trajectories(recording, viewed.images)
    images = ImageLog(recording, viewed)
    images.log_all(progress)
    recording.disconnect()
    return (*viewed.notes, *images.notes)


def _layout(viewed: Viewed) -> rrb.Blueprint:
    """Panels: the map, and for images beside it the image, its status, plots over time and the log."""
    is_posed = any(image.estimate or image.truth for image in viewed.images)
    contents = ["$origin/**"] if is_posed else ["$origin/**", f"- {CAMERA}/**"]  # it has no place in the map
    scene = rrb.Spatial3DView(origin="world", contents=contents, name="map and trajectories")
    collapsed = rrb.BlueprintPanel(state="collapsed"), rrb.SelectionPanel(state="collapsed")
    if not viewed.images:
        return rrb.Blueprint(scene, *collapsed, rrb.TimePanel(state="hidden"))
    plots = rrb.Tabs(
        rrb.TimeSeriesView(origin="plots/error", name="error"),
        rrb.TimeSeriesView(origin="plots/matches", name="matches"),
        rrb.TimeSeriesView(origin="plots/residual", name="residual"),
        rrb.TextLogView(origin="log", name="log"),
    )
    column = rrb.Vertical(
        rrb.Spatial2DView(origin=IMAGE, name="image"),
        rrb.TextDocumentView(origin="status", name="status"),
        plots,
        row_shares=[5, 2, 4],
    )
    views = rrb.Horizontal(scene, column, column_shares=[3, 2])
    return rrb.Blueprint(views, *collapsed, rrb.TimePanel(state="collapsed"))
