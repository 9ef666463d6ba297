"""Images in a recording, on a time line: camera, matches with residuals, status, plots of errors, log."""

import cv2
import numpy as np
import rerun as rr
from pycolmap import Rigid3d

from vizloc_ros.arrays import Float32, Float64, evenly
from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import VizlocError
from vizloc_ros.evaluation.image_results import ImageMatches, ImageResult
from vizloc_ros.evaluation.retrieval_recall import VisibleLandmarks
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import array_of, pose_error, transform_points
from vizloc_ros.parallel import Progress, silent
from vizloc_ros.view.map_entities import colormapped, frustum_depth
from vizloc_ros.view.viewed import Viewed

CAMERA = "world/camera"
IMAGE = f"{CAMERA}/image"
_MAX_IMAGES = 500  # with their pixels; poses and plots have all
_MAX_PROJECTIONS = 400
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 85)
_POINT = rr.Radius.ui_points(2.5)
_GREEN, _YELLOW, _RED = (16, 185, 129), (250, 204, 21), (220, 38, 38)
_FIRST_CALENDAR_STAMP = 10**17  # ns, 1973: smaller stamps count from the start of a recording


class ImageLog:
    """Images of a view, logged one after another.

    Attributes:
        notes: remarks about what is left out.
    """

    def __init__(self, recording: rr.RecordingStream, viewed: Viewed) -> None:
        self._recording, self._viewed = recording, viewed
        self._map = viewed.visual_map
        self._visible = None if self._map is None else VisibleLandmarks(self._map)
        poses = [pose for image in viewed.images if (pose := image.estimate or image.truth) is not None]
        self._depth = 2 * frustum_depth(np.array([pose.translation for pose in poses]).reshape(-1, 3))
        self._last_pose = poses[0] if poses else None
        self._last_status = ""
        self._drawn: set[str] = set()
        self.notes: list[str] = []

    def log_all(self, progress: Progress = silent) -> None:
        """Log all images, and of so many the pixels that the recording stays small."""
        images = self._viewed.images
        readable = [i for i, image in enumerate(images) if image.name in self._viewed.records]
        with_pixels = {readable[i] for i in evenly(len(readable), min(len(readable), _MAX_IMAGES))} if readable else {}
        if len(with_pixels) < len(readable):
            self.notes.append(f"{len(with_pixels)} of {len(readable)} images are shown; poses and plots have all")
        if images:
            self._log_styles()
        if not images:
            return
        for i, image in progress(list(enumerate(images)), "recording", len(images)):
            self._set_time(i, image.stamp_ns)
            self._log_status(image)
            record = self._viewed.records.get(image.name)
            if record is not None:
                self._log_camera(image, record.camera)
            if record is not None and i in with_pixels:
                self._log_image(image, record)

    def _set_time(self, index: int, stamp_ns: int) -> None:
        self._recording.set_time("image", sequence=index)
        if stamp_ns >= _FIRST_CALENDAR_STAMP:
            self._recording.set_time("time", timestamp=np.datetime64(stamp_ns, "ns"))
        else:
            self._recording.set_time("time", duration=np.timedelta64(stamp_ns, "ns"))

    def _log_styles(self) -> None:
        """Names and colors of the plots."""
        for path, name, color in (
            ("plots/error/translation", "translation error [m]", _RED),
            ("plots/error/rotation", "rotation error [deg]", _YELLOW),
            ("plots/matches/inliers", "inliers", _GREEN),
            ("plots/matches/outliers", "outliers", _RED),
            ("plots/residual/median", "median residual of the inliers [px]", _YELLOW),
        ):
            self._recording.log(path, rr.SeriesLines(names=name, colors=color), static=True)

    def _log_status(self, image: ImageResult) -> None:
        """Log the text about an image, its errors, and a line of the log if its status is a new one."""
        lines = [f"**{image.name}**" + ("" if image.estimate is not None else ", no pose")]
        if image.estimate is not None and image.truth is not None:
            translation, rotation = pose_error(image.estimate, image.truth)
            self._recording.log("plots/error/translation", rr.Scalars(translation))
            self._recording.log("plots/error/rotation", rr.Scalars(rotation))
            lines.append(f"error {translation:.3f} m, {rotation:.3f} deg")
        matches = image.matches
        if len(matches.pixels):
            inliers, outliers = len(matches.inliers.pixels), len(matches.outliers)
            self._recording.log("plots/matches/inliers", rr.Scalars(inliers))
            self._recording.log("plots/matches/outliers", rr.Scalars(outliers))
            lines.append(f"{inliers} of {inliers + outliers} matches are inliers")
        status = status_of(image)
        if status:
            lines.append(status)
        if status and status != self._last_status:
            level = rr.TextLogLevel.INFO if image.estimate is not None else rr.TextLogLevel.WARN
            self._recording.log("log", rr.TextLog(f"{image.name}: {status}", level=level))
        self._last_status = status
        self._recording.log("status", rr.TextDocument("\n\n".join(lines), media_type=rr.MediaType.MARKDOWN))

    def _log_camera(self, image: ImageResult, camera: PinholeCamera) -> None:
        """Log the frustum of the camera at the estimate, else at the ground truth, else where it was last."""
        pose = image.estimate or image.truth or self._last_pose
        if pose is None:
            return
        self._last_pose = pose
        values = array_of(pose)
        self._recording.log(CAMERA, rr.Transform3D(translation=values[:3], quaternion=values[3:]))
        self._recording.log(
            IMAGE,
            rr.Pinhole(
                image_from_camera=camera.matrix,
                resolution=camera.size,
                camera_xyz=rr.ViewCoordinates.RDF,
                image_plane_distance=self._depth,
            ),
        )

    def _log_image(self, image: ImageResult, record: Record) -> None:
        """Log the pixels, and the matches or else the landmarks that the camera sees at its pose."""
        try:
            pixels = record.read_image()
        except VizlocError as error:
            self.notes.append(f"without the image {image.name}: {error}")
            return
        encoded = cv2.imencode(".jpg", pixels, _JPEG)[1].tobytes()
        self._recording.log(IMAGE, rr.EncodedImage(contents=encoded, media_type="image/jpeg"))
        before, self._drawn = self._drawn, set()
        pose = image.estimate or image.truth
        if len(image.matches.pixels):
            self._log_matches(image.matches, image.estimate, record.camera)
        elif pose is not None:
            self._log_projections(pose, record.camera)
        for entity in before - self._drawn:  # of the image before
            self._recording.log(entity, rr.Clear(recursive=False))

    def _draw(self, name: str, drawing: rr.Points2D | rr.LineStrips2D) -> None:
        """Log something that is drawn into the image."""
        entity = f"{IMAGE}/{name}"
        self._recording.log(entity, drawing)
        self._drawn.add(entity)

    def _log_matches(self, matches: ImageMatches, pose: Rigid3d | None, camera: PinholeCamera) -> None:
        inliers = matches.inliers
        self._draw("outliers", rr.Points2D(matches.outliers, colors=_RED, radii=_POINT))
        self._draw("inliers", rr.Points2D(inliers.pixels, colors=_GREEN, radii=_POINT))
        if self._map is None or pose is None or not len(inliers.pixels):
            return
        ends = self._projected(pose, self._map.landmark_positions[inliers.landmarks], camera)
        lines = np.stack([inliers.pixels.astype(np.float64), ends], axis=1)
        self._draw("residuals", rr.LineStrips2D(lines, colors=_YELLOW))
        residuals = np.linalg.norm(lines[:, 0] - lines[:, 1], axis=1)
        self._recording.log("plots/residual/median", rr.Scalars(float(np.median(residuals))))

    def _log_projections(self, pose: Rigid3d, camera: PinholeCamera) -> None:
        """Log the landmarks that keyframes see from a similar place: those near the camera red, those far away blue."""
        if self._map is None or self._visible is None:
            return
        visible = self._visible.seen_from(pose, camera)
        if not len(visible):
            return
        positions = self._map.landmark_positions[visible[evenly(len(visible), min(len(visible), _MAX_PROJECTIONS))]]
        distances = np.linalg.norm(positions - pose.translation, axis=1)
        levels = 1 - np.argsort(np.argsort(distances)) / len(distances)
        pixels, colors = self._projected(pose, positions, camera), colormapped(levels, cv2.COLORMAP_TURBO)
        self._draw("landmarks", rr.Points2D(pixels, colors=colors, radii=_POINT))

    def _projected(self, map_from_cam: Rigid3d, positions: Float32, camera: PinholeCamera) -> Float64:
        """Pixels (N, 2) of the real camera, whose calibration the map corrects."""
        pixels, _ = camera.project(transform_points(map_from_cam.inverse(), positions.astype(np.float64)))
        if self._map is None:
            return pixels
        return pixels + self._map.info.intrinsics_correction(camera).shift(pixels, camera)


def status_of(image: ImageResult) -> str:
    """Text of the state of the tracker and of the reason for having no pose; empty if nothing is known."""
    return ": ".join(text for text in (image.state, image.reason) if text)
