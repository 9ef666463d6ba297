"""The synthetic street with references for the tracker, and frames of its second lap."""

import shutil
from dataclasses import replace
from pathlib import Path

from pycolmap import Rigid3d

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.record import Record
from vizloc_ros.features.device import Device
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor, open_pyramid_extractor
from vizloc_ros.pixloc.reference_builder import add_references
from vizloc_ros.pixloc.tracking import Frame, Tracked

LONG_SIDE = 384


def small_extractor() -> PyramidExtractor:
    """The package's network on one core, for small images."""
    return open_pyramid_extractor(device=Device(threads=1), long_side=LONG_SIDE)


def with_references(source: Path, records: list[Record], folder: Path) -> Path:
    """A copy of a map, with the references of ``small_extractor``."""
    shutil.copytree(source, folder)
    add_references(folder, records, small_extractor())
    return folder


def frame_of(record: Record, visual_map: VisualMap, odom_from_cam: Rigid3d | None = None) -> Frame:
    """A record for the tracker."""
    correction = visual_map.info.intrinsics_correction(record.camera)
    return Frame.of_camera(record.read_image(), record.camera, record.timestamp_ns, correction, odom_from_cam)


def with_image(frame: Frame, image: UInt8, stamp_ns: int | None = None) -> Frame:
    """The frame of the only camera with another image."""
    (own,) = frame.images
    return replace(frame, images=(replace(own, image=image),), stamp_ns=stamp_ns or frame.stamp_ns)


def in_memory(record: Record) -> Record:
    """Record with its image rendered now, so that a test does not wait for it."""
    image = record.read_image()
    return replace(record, read_image=lambda: image)


def truth(record: Record) -> Rigid3d:
    assert record.world_from_cam is not None
    return record.world_from_cam


def is_right(tracked: Tracked, record: Record) -> bool:
    if tracked.map_from_cam is None:
        return False
    translation, rotation = pose_error(tracked.map_from_cam, truth(record))
    return translation < 0.25 and rotation < 1.0
