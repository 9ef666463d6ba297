"""Input of the tracker: images of the cameras, joined by instant and decoded, with their poses on the vehicle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pycolmap import Rigid3d
from std_msgs.msg import Header

from vizloc_ros.arrays import UInt8
from vizloc_ros.errors import VizlocError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.ros.extrinsics import CameraExtrinsics
from vizloc_ros.ros.image_input import ImageInput
from vizloc_ros.ros.instant_input import InstantInput
from vizloc_ros.ros.messages import stamp_to_ns
from vizloc_ros.ros.node_options import TrackerNodeOptions
from vizloc_ros.ros.pipeline_node import PipelineNode
from vizloc_ros.ros.rig_join import Instant
from vizloc_ros.timing import Stopwatch

LATE = "no image in time"


@dataclass(frozen=True)
class MountedImage:
    """Image of a camera of the vehicle.

    Attributes:
        name: name of the camera; empty for the only one.
        header: header of the image.
        image: (H, W) gray image without distortion.
        camera: camera of this image.
        base_from_cam: pose of the camera on the vehicle.
    """

    name: str
    header: Header
    image: UInt8
    camera: PinholeCamera
    base_from_cam: Rigid3d


class TrackerInput:
    """Images of the tracker's node, of one camera without a name or of the cameras of a rig.

    An ``Instant`` of messages goes to the node's worker, which gives it to ``images``.

    Attributes:
        cameras: names of the cameras; an empty one for the only one.
        extrinsics: poses of the cameras on the vehicle.
    """

    def __init__(
        self,
        node: PipelineNode,
        options: TrackerNodeOptions,
        on_jump: Callable[[], None],
        on_change: Callable[[], None],
    ) -> None:
        """Subscribe the node.

        Args:
            node: the node.
            options: its options.
            on_jump: called when the time has jumped back, before the image is dropped.
            on_change: called when a camera_info differs from those before.
        """
        self.cameras = options.cameras or ("",)
        self.extrinsics = CameraExtrinsics(
            node, options.base_frame, options.fixed_base_from_cam, moving=options.moving_mount
        )
        self._instants = InstantInput(node, self.cameras, options.camera_tolerance, options.camera_wait)
        self._base_from_rig: Rigid3d | None = None

        def jump() -> None:
            self._instants.reset()
            on_jump()

        # image -> ImageInput -> InstantInput -> worker; it drops the image when the clock has jumped back
        self._images = {
            camera: ImageInput(
                node,
                options.image_transport,
                options.silence_timeout,
                options.max_image_age,
                partial(self._receive, camera),
                jump,
                camera=camera,
                on_change=on_change,
                withhold_frozen=options.withhold_frozen,
                stable_messages=options.camera_info_stable,
                max_pixels=options.max_image_pixels,
            )
            for camera in self.cameras
        }

    def images(self, instant: Instant, stopwatch: Stopwatch) -> tuple[list[MountedImage], dict[str, str]]:
        """Images of an instant, in the order of the cameras, and the reason for each camera that has none.

        Raises ``VizlocError`` if that is all of them: that of the first camera.
        """
        images: list[MountedImage] = []
        errors: dict[str, VizlocError] = {}
        for camera, msg in instant.items.items():
            try:
                image, pinhole = self._images[camera].decode_and_rectify(msg, stopwatch, "tracker")
                base_from_cam = self.extrinsics.base_from_cam(msg.header.frame_id, stamp_to_ns(msg.header.stamp))
            except VizlocError as error:
                errors[camera] = error
            else:
                images.append(MountedImage(camera, msg.header, image, pinhole, base_from_cam))
        if not images:
            raise next(iter(errors.values()))
        problems = {camera: str(error) for camera, error in errors.items()}
        return images, {**dict.fromkeys(instant.missing, LATE), **problems}

    def base_from_rig(self, images: Sequence[MountedImage]) -> Rigid3d:
        """Pose on the vehicle of the frame that is tracked: that of the camera.

        Of several cameras, it is where the first one was at first, whether it still has images or not.
        """
        if len(self.cameras) == 1:
            return images[0].base_from_cam
        self._base_from_rig = self._base_from_rig or images[0].base_from_cam
        return self._base_from_rig

    def _receive(self, camera: str, msg: Any) -> None:
        self._instants.add(camera, stamp_to_ns(msg.header.stamp), msg)
